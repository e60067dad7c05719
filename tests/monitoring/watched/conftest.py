"""A whole Oneiro that is watched: engine, PostgreSQL, the API with its relay and its worker on loopback."""

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
from psycopg.rows import dict_row
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from oneiro.app import Surroundings, create_app
from oneiro.auth import issue_token
from oneiro.cli.listen import bind, listening
from oneiro.engine.app import running
from oneiro.engine.settings import EngineSettings
from oneiro.settings import Settings

SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture(scope="session")
def template(seeded: str) -> str:
    """Each test gets a copy of it."""
    return seeded


@pytest.fixture
async def engine_url() -> AsyncIterator[str]:
    async with running(EngineSettings(speed=100)) as url:
        yield url


@pytest.fixture
def settings(service_url: str, engine_url: str) -> Settings:
    return Settings(
        database_url=SecretStr(service_url),
        jwt_secret=SecretStr(SECRET),
        elevenlabs_api_key=SecretStr("a key"),
        elevenlabs_base_url=engine_url,
        transport="relay",
        allow_direct=True,
    )


@dataclass
class Dreamer:
    """A dreamer with the API's address and hers."""

    user_id: UUID
    http: httpx.AsyncClient
    url: str

    async def start(self, headers: dict[str, str] | None = None, **request: object) -> dict[str, Any]:
        body = {"interpreter_id": "carl", "text_only": True, **request}
        answer = await self.http.post("/v1/conversations", json=body, headers=headers)
        assert answer.status_code == 201, answer.text
        started: dict[str, Any] = answer.json()
        return started

    async def talk(self, url: str, *lines: str) -> list[str]:
        """Talk through the relay: one reply for the opening and for each line; then hang up."""
        async with connect(url, subprotocols=[Subprotocol("convai")], compression=None, proxy=None) as socket:
            await socket.send(json.dumps({"type": "conversation_initiation_client_data"}))
            replies = [await _reply(socket)]
            for line in lines:
                await socket.send(json.dumps({"type": "user_message", "text": line}))
                replies.append(await _reply(socket))
            await socket.close(1000)
        return replies


async def _reply(socket: ClientConnection) -> str:
    async with asyncio.timeout(10):
        while (frame := json.loads(await socket.recv()))["type"] != "agent_response":
            pass
    return str(frame["agent_response_event"]["agent_response"])


Watched = Callable[[], Awaitable[Dreamer]]


@pytest.fixture
async def watched(settings: Settings) -> AsyncIterator[Watched]:
    """Serves the whole of Oneiro and signs a dreamer in."""
    async with AsyncExitStack() as stack:

        async def serve() -> Dreamer:
            app = create_app(settings, Surroundings(simulated=True, local=True))
            served = await stack.enter_async_context(listening(app, bind("127.0.0.1", 0, what="a test")))
            user_id = uuid4()
            token = issue_token(SECRET, user_id=user_id, ttl=timedelta(hours=1), now=datetime.now(UTC))
            headers = {"Authorization": f"Bearer {token}"}
            http = httpx.AsyncClient(base_url=served.url, headers=headers, trust_env=False, timeout=30)
            await stack.enter_async_context(http)
            return Dreamer(user_id, http, served.url)

        yield serve


Until = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def until(db_url: str) -> Until:
    """Reads rows until there are some; fails after ten seconds."""

    async def appeared(statement: str, *values: object) -> list[dict[str, Any]]:
        async with (
            asyncio.timeout(10),
            await psycopg.AsyncConnection.connect(db_url, row_factory=dict_row, autocommit=True) as conn,
        ):
            while True:
                cursor = await conn.execute(statement, values)
                if found := await cursor.fetchall():
                    return found
                await asyncio.sleep(0.02)

    return appeared
