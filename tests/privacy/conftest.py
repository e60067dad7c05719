"""Oneiro with its relay on a socket, an engine behind it, and dreamers who leave words of theirs everywhere."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
import websockets
from fastapi import FastAPI
from psycopg.rows import dict_row
from pydantic import SecretStr

from oneiro.app import Surroundings, create_app
from oneiro.auth import issue_token
from oneiro.cli.listen import bind, listening
from oneiro.engine.app import running
from oneiro.engine.settings import EngineSettings
from oneiro.safety.cards import guardrail
from oneiro.settings import Settings

SECRET = "a secret of at least thirty-two bytes"
CONFIRMED = {"confirm": "delete everything"}
Frame = dict[str, Any]


@pytest.fixture(scope="session")
def template(seeded: str) -> str:
    """Each test gets a copy of it."""
    return seeded


@pytest.fixture(scope="session")
async def engine_url() -> AsyncIterator[str]:
    """An engine, a hundred times as quick as a person."""
    async with running(EngineSettings(guardrail=guardrail, speed=100)) as url:
        yield url


@dataclass
class House:
    """A served Oneiro, as a test sees it from outside and from behind."""

    url: str
    app: FastAPI
    db_url: str
    engine: httpx.AsyncClient
    clients: AsyncExitStack

    async def client(self, user_id: UUID | None = None, *, operator: bool = False) -> httpx.AsyncClient:
        """A signed-in client."""
        token = issue_token(
            SECRET, user_id=user_id or uuid4(), operator=operator, ttl=timedelta(hours=1), now=datetime.now(UTC)
        )
        headers = {"Authorization": f"Bearer {token}"}
        made = httpx.AsyncClient(base_url=f"{self.url}/v1", headers=headers, timeout=30)
        return await self.clients.enter_async_context(made)

    async def rows(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Rows as the superuser sees them."""
        async with await psycopg.AsyncConnection.connect(self.db_url, row_factory=dict_row) as conn:
            return await (await conn.execute(statement.encode(), values)).fetchall()

    async def change(self, statement: str, *values: object) -> None:
        """Change rows as the superuser."""
        async with await psycopg.AsyncConnection.connect(self.db_url, autocommit=True) as conn:
            await conn.execute(statement.encode(), values)

    async def everything(self) -> dict[str, str]:
        """All tables there are, each with all its rows as one text."""
        tables = await self.rows(
            "SELECT schemaname || '.' || tablename AS name FROM pg_tables WHERE schemaname IN ('public', 'oneiro')"
        )
        found = {}
        for name in (row["name"] for row in tables):
            rows = await self.rows(f"SELECT t::text AS row FROM {name} AS t")
            found[name] = "\n".join(row["row"] for row in rows).lower()
        return found

    async def holding(self, word: str) -> set[str]:
        """The tables with this word in them."""
        return {name for name, text in (await self.everything()).items() if word.lower() in text}

    async def settled(self) -> None:
        """Wait until jobs and consumers have nothing to do."""
        busy = (
            "SELECT FROM jobs WHERE state IN ('queued', 'running') AND run_at <= now()"
            " UNION ALL SELECT FROM system_events WHERE position IS NULL"
            " UNION ALL SELECT FROM event_cursors AS c JOIN event_cursors AS s ON s.consumer = 'sequencer'"
            " WHERE c.position < s.position"
        )
        async with asyncio.timeout(20):
            while await self.rows(busy):  # noqa: ASYNC110 - asked of the database.
                await asyncio.sleep(0.02)


@pytest.fixture
async def house(service_url: str, db_url: str, engine_url: str) -> AsyncIterator[House]:
    """Oneiro with worker and relay."""
    settings = Settings(
        database_url=SecretStr(service_url),
        jwt_secret=SecretStr(SECRET),
        elevenlabs_api_key=SecretStr("a key"),
        elevenlabs_base_url=engine_url,
        allow_direct=True,
        webhooks_allow_private=True,
    )
    app = create_app(settings, Surroundings(simulated=True, local=True))
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(listening(app, bind("127.0.0.1", 0, what="the API")))
        engine = httpx.AsyncClient(base_url=engine_url, headers={"xi-api-key": "a key"}, timeout=30)
        await stack.enter_async_context(engine)
        yield House(served.url, app, db_url, engine, stack)


Open = Callable[..., Awaitable[websockets.ClientConnection]]


@pytest.fixture
async def dial() -> AsyncIterator[Open]:
    """Opens a conversation's address and sends the first frame."""
    async with AsyncExitStack() as stack:

        async def opened(url: str, first: Frame | None = None) -> websockets.ClientConnection:
            sock = await stack.enter_async_context(
                websockets.connect(url, subprotocols=[websockets.Subprotocol("convai")])
            )
            text_only = {"conversation_config_override": {"conversation": {"text_only": True}}}
            frame = {"type": "conversation_initiation_client_data"} | text_only | (first or {})
            await sock.send(json.dumps(frame))
            await until(sock, "agent_response")
            return sock

        yield opened


async def until(sock: websockets.ClientConnection, kind: str) -> Frame:
    """The next frame of a kind."""
    async with asyncio.timeout(20):
        while (frame := json.loads(await sock.recv()))["type"] != kind:
            pass
    return dict(frame)


async def say(sock: websockets.ClientConnection, words: str) -> None:
    """Write a line and hear the answer."""
    await sock.send(json.dumps({"type": "user_message", "text": words}))
    await until(sock, "agent_response")


async def live(
    client: httpx.AsyncClient, dial: Open, mark: str, *, end: bool = True
) -> tuple[str, websockets.ClientConnection]:
    """A dreamer's life: journal, relayed conversation with a grave line in it, rating; her word is everywhere."""
    await client.patch("/me", json={"name": f"Ada {mark}", "consents": {"memory": True, "analytics": True}})
    content = f"A {mark} heron swam through my grandmother's staircase."
    written = await client.post(
        "/dreams", json={"title": mark, "content": content, "symbols": [mark]}, headers={"Idempotency-Key": uuid4().hex}
    )
    asked = {"interpreter_id": "carl", "text_only": True, "dream_id": written.json()["id"]}
    answer = await client.post(
        "/conversations", json=asked | {"metadata": {"note": mark}}, headers={"Idempotency-Key": uuid4().hex}
    )
    assert answer.status_code == 201, answer.text
    conversation_id = answer.json()["conversation_id"]
    sock = await dial(answer.json()["signed_url"])
    await say(sock, f"The {mark} water rose and rose.")
    await say(sock, f"I want to kill myself. {mark}")
    await client.put(f"/conversations/{conversation_id}/rating", json={"score": 5, "comment": f"Lovely {mark}"})
    if end:
        await client.post(f"/conversations/{conversation_id}/end", json={"summary": f"About {mark}."})
    return conversation_id, sock


async def erase(client: httpx.AsyncClient, path: str = "/me", body: Any = CONFIRMED) -> httpx.Response:
    """Ask for everything to be erased."""
    return await client.request("DELETE", path, json=body)


async def at_the_platform(house: House) -> str:
    """Everything that the engine has of conversations."""
    listed = (await house.engine.get("/v1/convai/conversations", params={"page_size": 100})).json()["conversations"]
    ids = [row["conversation_id"] for row in listed]
    return json.dumps([(await house.engine.get(f"/v1/convai/conversations/{one}")).json() for one in ids])


async def due(house: House) -> None:
    """What waits until the platform has looked through a conversation is due now, and done."""
    # A call that is not closed yet may still write at the platform.
    async with asyncio.timeout(20):
        while house.app.state.relay.calls:  # noqa: ASYNC110 - the relay tells a number.
            await asyncio.sleep(0.02)
    await house.change("UPDATE jobs SET run_at = now() WHERE kind LIKE 'privacy.%%' AND state = 'queued'")
    await house.settled()
