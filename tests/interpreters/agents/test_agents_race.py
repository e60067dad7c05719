"""Two replicas race the first starts of an interpreter: real processes, real sockets, one agent."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.interpreters.agents.conftest import Engine
from tests.platform.conftest import serving

from oneiro.auth import issue_token
from oneiro.engine.app import create_engine
from oneiro.engine.settings import EngineSettings
from oneiro.interpreters.models import Release

SECRET = "a secret of at least thirty-two bytes"
STARTS = 100
UNDER_WAY = 20
"""So many have begun, half of them at each replica, before the one agent is let through."""


class Held:
    """Holds the making of agents at the engine until a gate opens."""

    def __init__(self, app: ASGIApp, gate: asyncio.Event) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/v1/convai/agents/create":
            await self._gate.wait()
        await self._app(scope, receive, send)


@asynccontextmanager
async def replica(database_url: str, engine_url: str, key: str, home: Path) -> AsyncIterator[str]:
    """`oneiro serve` as a process of its own; gives its address."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL", "TMPDIR"}}
    settings = {
        "HOME": str(home),
        "ONEIRO_DATABASE_URL": database_url,
        "ONEIRO_JWT_SECRET": SECRET,
        "ELEVENLABS_API_KEY": key,
        "ONEIRO_ELEVENLABS_BASE_URL": engine_url,
        "ONEIRO_MAX_CONCURRENT_CALLS": str(2 * STARTS),
    }
    command = [sys.executable, "-m", "oneiro", "serve", "--port", "0", "--no-worker"]
    process = await asyncio.create_subprocess_exec(
        *command, env=kept | settings, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            line = (await process.stdout.readline()).decode()
        assert "listens on" in line, line
        yield line.split()[-1]
    finally:
        process.terminate()
        await process.communicate()


async def test_two_replicas_that_race_a_hundred_first_starts_make_exactly_one_agent(
    release: Release, rows: Any, service_url: str, tmp_path: Path
) -> None:
    app, gate = create_engine(EngineSettings(api_keys=frozenset({Engine.key}))), asyncio.Event()
    app.add_middleware(Held, gate=gate)
    dreamers = [uuid4() for _ in range(STARTS)]
    async with AsyncExitStack() as stack:
        engine = Engine(await stack.enter_async_context(serving(app)))
        urls = await asyncio.gather(
            *(stack.enter_async_context(replica(service_url, engine.url, engine.key, tmp_path)) for _ in range(2))
        )
        client = await stack.enter_async_context(
            httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=STARTS))
        )

        async def start(number: int) -> httpx.Response:
            token = issue_token(
                SECRET, user_id=dreamers[number], operator=False, ttl=timedelta(hours=1), now=datetime.now(UTC)
            )
            return await client.post(
                f"{urls[number % 2]}/v1/conversations",
                json={"interpreter_id": release.interpreter_id, "text_only": True},
                headers={"Authorization": f"Bearer {token}"},
            )

        async def open_when_both_race() -> None:
            """Let the agent be made once both replicas have starts under way that wait for it."""
            while True:
                begun = {row["user_id"] for row in await rows("SELECT user_id FROM conversations")}
                if all(len(begun.intersection(dreamers[each::2])) >= UNDER_WAY // 2 for each in range(2)):
                    break
                await asyncio.sleep(0.02)
            assert await engine.agents() == []
            gate.set()

        opening = asyncio.create_task(open_when_both_race())
        answers = await asyncio.gather(*(start(number) for number in range(STARTS)))
        await opening
        measured = [(await client.get(f"{url}/metrics")).text for url in urls]
        agents = await engine.agents()

    assert [answer.status_code for answer in answers] == [201] * STARTS
    assert {answer.json()["agent_id"] for answer in answers} == set(agents)
    assert len(agents) == 1
    assert len(await rows.events("agent.provisioned")) == 1
    assert await rows.events("agent.retired") == []
    counted = 'oneiro_agent_creation_seconds_count{interpreter="mara",success="true"} 1.0'
    assert [counted in text for text in measured].count(True) == 1
