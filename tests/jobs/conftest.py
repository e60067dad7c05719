"""What tests of jobs share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest

from oneiro.database.pool import Database
from oneiro.events.bell import Bell


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    """The service's pool."""
    database = Database(service_url, max_size=32, timeout=30.0)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def bell(service_url: str) -> Bell:
    """A bell that nobody carries to other processes."""
    return Bell(service_url)


Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]


@pytest.fixture
def look(db_url: str) -> Look:
    """Runs a statement as the superuser and gives its rows."""

    async def rows(statement: str, *values: object) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as conn:
            cursor = await conn.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    return rows
