"""The engine as an ASGI application: `create_engine(EngineSettings())`, or `await serve(...)`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, Header, Request

from oneiro.engine import (
    agent_routes,
    catalogue,
    conversation_routes,
    problems,
    protocol,
    signed_routes,
    socket_routes,
    voice_routes,
)
from oneiro.engine.problems import Refusal
from oneiro.engine.settings import EngineSettings, LlmEndpoint
from oneiro.engine.state import Engine, EngineOf

__all__ = ["EngineSettings", "LlmEndpoint", "create_engine", "serve"]
MOST_BODY = 2 * 1024 * 1024
"""Bytes of a request's body."""


async def admit(request: Request, engine: EngineOf, xi_api_key: Annotated[str | None, Header()] = None) -> None:
    """Every keyed request passes here first; a fault of HTTP would be put in at this place."""
    if not engine.accepts(xi_api_key):
        raise Refusal(401, "invalid_api_key", "Invalid API key", "authentication_error")
    length = request.headers.get("content-length", "0")
    if "chunked" in request.headers.get("transfer-encoding", "") or int(length) > MOST_BODY:
        raise Refusal(413, "request_too_large", f"A body has at most {MOST_BODY} bytes and names its length.")


def create_engine(settings: EngineSettings) -> FastAPI:
    """A new engine with nothing in it; it forgets everything when its process ends.

    Raises ValueError for a speed of 0 or less.
    """
    engine = Engine(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await engine.close()

    app = FastAPI(title="Oneiro engine", lifespan=lifespan)
    app.state.engine = engine
    problems.install(app)
    keyed = [Depends(admit)]
    for router in (agent_routes, signed_routes, conversation_routes, voice_routes):
        app.include_router(router.router, dependencies=keyed)
    app.include_router(_models, dependencies=keyed)
    app.include_router(conversation_routes.public)
    app.include_router(socket_routes.router)
    return app


_models = APIRouter(prefix="/v1/convai/llm")


@_models.get("/list")
async def list_llms() -> dict[str, Any]:
    """The models that an agent may name."""
    return catalogue.llm_list()


async def serve(settings: EngineSettings, host: str = "127.0.0.1", port: int = 8401) -> None:
    """Run an engine until the process is told to stop (SIGINT, SIGTERM) or the task is cancelled."""
    config = uvicorn.Config(
        create_engine(settings),
        host=host,
        port=port,
        ws="websockets-sansio",
        ws_max_size=protocol.MOST_FRAME,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    try:
        await server.serve()
    except asyncio.CancelledError:
        server.should_exit = True
        raise
