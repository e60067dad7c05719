import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
import uvicorn

from oneiro.breaker import CircuitBreaker
from oneiro.engine.app import create_engine
from oneiro.engine.settings import EngineSettings
from oneiro.platform.elevenlabs import ElevenLabsPlatform
from oneiro.platform.port import AgentSpec

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
KEY = "sk_test_of_nobody"

Connect = Callable[..., ElevenLabsPlatform]


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """Serve an ASGI app on a free loopback port; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="auto", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 - uvicorn sets a flag and offers no event.
        await asyncio.sleep(0)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def serve() -> Callable[[Any], AbstractAsyncContextManager[str]]:
    return serving


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes platforms and closes them."""
    async with AsyncExitStack() as stack:

        def make(base_url: str, **options: Any) -> ElevenLabsPlatform:
            platform = ElevenLabsPlatform(
                options.pop("api_key", KEY),
                base_url=base_url,
                conversations=options.pop("conversations", CircuitBreaker("conversations")),
                provisioning=options.pop("provisioning", CircuitBreaker("agents")),
                clock=lambda: NOON,
                **options,
            )
            stack.push_async_callback(platform.close)
            return platform

        yield make


@pytest.fixture
async def engine_url() -> AsyncIterator[str]:
    async with serving(create_engine(EngineSettings(api_keys=frozenset({KEY})))) as url:
        yield url


@pytest.fixture
def spec() -> AgentSpec:
    return AgentSpec(
        name="Carl 3 en",
        tag="oneiro-3fa85f64",
        system_prompt="You are Carl. You listen to dreams.\n{{dream_context}}",
        language="en",
        model="gpt-4o",
        temperature=0.7,
        max_tokens=250,
        voice_id="21m00Tcm4TlvDq8ikWAM",
        stability=0.85,
        similarity_boost=0.75,
        speed=0.85,
        max_seconds=3600,
        silence_seconds=120,
        retention_days=7,
    )


@pytest.fixture
def german(spec: AgentSpec) -> AgentSpec:
    return replace(spec, language="de", tag="oneiro-de")
