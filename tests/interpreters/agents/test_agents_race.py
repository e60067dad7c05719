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

from oneiro.auth import issue_token
from oneiro.interpreters.models import Release

SECRET = "a secret of at least thirty-two bytes"
STARTS = 100


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
    release: Release, engine: Any, rows: Any, service_url: str, tmp_path: Path
) -> None:
    # So slow that all hundred are under way before the agent is there.
    await engine.misbehave({"kind": "latency", "path": "/v1/convai/agents/create", "seconds": 1.5})
    async with AsyncExitStack() as stack:
        urls = await asyncio.gather(
            *(stack.enter_async_context(replica(service_url, engine.url, engine.key, tmp_path)) for _ in range(2))
        )
        client = await stack.enter_async_context(
            httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=STARTS))
        )

        async def start(number: int) -> httpx.Response:
            token = issue_token(SECRET, user_id=uuid4(), operator=False, ttl=timedelta(hours=1), now=datetime.now(UTC))
            return await client.post(
                f"{urls[number % 2]}/v1/conversations",
                json={"interpreter_id": release.interpreter_id, "text_only": True},
                headers={"Authorization": f"Bearer {token}"},
            )

        answers = await asyncio.gather(*(start(number) for number in range(STARTS)))
        measured = [(await client.get(f"{url}/metrics")).text for url in urls]

    assert [answer.status_code for answer in answers] == [201] * STARTS
    agents = await engine.agents()
    assert {answer.json()["agent_id"] for answer in answers} == set(agents)
    assert len(agents) == 1
    assert len(await rows.events("agent.provisioned")) == 1
    assert await rows.events("agent.retired") == []
    counted = 'oneiro_agent_creation_seconds_count{interpreter="mara",success="true"} 1.0'
    assert [counted in text for text in measured].count(True) == 1
    # Many were there before the agent was: it was a race.
    [raced] = await rows(
        "SELECT count(*) AS starts FROM conversations WHERE created_at < "
        "(SELECT created_at FROM system_events WHERE event_type = 'agent.provisioned')"
    )
    assert raced["starts"] >= STARTS // 4
