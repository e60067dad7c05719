"""The engine as an ASGI application, `create_engine(EngineSettings())`, and `running` or `served` to serve it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from oneiro.engine import (
    agent_routes,
    catalogue,
    conversation_routes,
    fault_routes,
    problems,
    protocol,
    signed_routes,
    socket_routes,
    voice_routes,
)
from oneiro.engine.gate import Gate
from oneiro.engine.settings import EngineSettings, LlmEndpoint
from oneiro.engine.state import Engine

__all__ = ["EngineSettings", "LlmEndpoint", "create_engine", "running", "served"]


def create_engine(settings: EngineSettings) -> FastAPI:
    """A new engine with nothing in it; it forgets everything when its process ends.

    Raises ValueError for a speed of 0 or less.
    """
    engine = Engine(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.close()

    app = FastAPI(
        title="Oneiro engine",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # The framework's own telemetry would hold what was sent.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.engine = engine
    app.add_middleware(Gate, engine=engine)
    problems.install(app)
    for routes in (agent_routes, signed_routes, conversation_routes, voice_routes, socket_routes, fault_routes):
        app.include_router(routes.router)
    app.add_api_route("/v1/convai/llm/list", _list_llms)
    return app


async def _list_llms() -> dict[str, Any]:
    """The models that an agent may name."""
    return catalogue.llm_list()


class _Server(uvicorn.Server):
    """A server that says when it is ready and leaves signals to the program around it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@asynccontextmanager
async def running(settings: EngineSettings, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve a new engine beside other work in the same loop; gives its base URL. Port 0 takes a free one.

    Raises OSError when the address cannot be bound.
    """
    async with served(create_engine(settings), host, port) as url:
        yield url


@asynccontextmanager
async def served(app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """Serve this engine, as `running` does."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=protocol.MOST_FRAME,
        ws_per_message_deflate=False,  # On loopback it costs more than it saves.
        log_config=None,
        log_level="warning",  # Below it uvicorn names addresses, and with them signatures.
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await server.ready.wait()
        yield f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()
