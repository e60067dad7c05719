"""What tests of events share: the service's pool, a silent bell, conversations, ways to write and to read events."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from oneiro.database.pool import Database
from oneiro.events import outbox
from oneiro.events.bell import Bell
from oneiro.events.sequencer import Sequencer

Rows = list[tuple[Any, ...]]
Look = Callable[..., Awaitable[Rows]]
Write = Callable[..., Awaitable[None]]


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    """The service's pool, wide enough for many writers."""
    database = Database(service_url, max_size=32, timeout=30.0)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def bell(service_url: str) -> Bell:
    """A bell that nobody carries to other processes."""
    return Bell(service_url)


@pytest.fixture
def sequencer(database: Database, bell: Bell) -> Sequencer:
    return Sequencer(database, bell)


@pytest.fixture
def look(db_url: str) -> Look:
    """Runs a statement as the superuser and gives its rows."""

    async def rows(statement: str, *values: object) -> Rows:
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as conn:
            cursor = await conn.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    return rows


@pytest.fixture
async def dreamer(look: Look) -> UUID:
    """A dreamer, and an interpreter with a release to talk to."""
    user_id = uuid4()
    await look("INSERT INTO profiles (user_id) VALUES (%s)", user_id)
    await look("INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('carl', 'C', 'C', 'x')")
    await look(
        "INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by)"
        " VALUES ('carl', 1, '{}', 'aa', 'seed')"
    )
    return user_id


@pytest.fixture
async def conversations(look: Look, dreamer: UUID) -> list[UUID]:
    """Five conversations of hers with Carl."""
    rows = await look(
        "INSERT INTO conversations (user_id, interpreter_id, status, release_id)"
        " SELECT %s, 'carl', 'active', r.id FROM interpreter_releases AS r, generate_series(1, 5) RETURNING id",
        dreamer,
    )
    return [row[0] for row in rows]


@pytest.fixture
def write(database: Database) -> Write:
    """Writes so many events, each in a transaction of its own; `n` in their data counts from `first`."""

    async def events(count: int, conversation_id: UUID | None = None, *, first: int = 0) -> None:
        for n in range(first, first + count):
            async with database.as_service() as conn:
                await outbox.record(
                    conn,
                    "conversation.message_received" if conversation_id else "breaker.opened",
                    entity_type="conversation" if conversation_id else "breaker",
                    entity_id=str(conversation_id or "agents"),
                    data={"n": n},
                )

    return events
