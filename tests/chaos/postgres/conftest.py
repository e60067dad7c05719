"""A PostgreSQL of the test's own, which can be killed: with every commit on disk, and an owner that brings it back."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
from tests.chaos.processes import Postgres, owned_postgres

Prepare = Callable[[str, str], Awaitable[None]]


@pytest.fixture
async def server(data_dir: Path, home: Path) -> AsyncIterator[Postgres]:
    async with owned_postgres(data_dir, home / "owner.log") as server:
        with psycopg.connect(server.url("postgres"), autocommit=True) as conn:
            conn.execute("CREATE DATABASE dreams")
        yield server


@pytest.fixture
def db_url(server: Postgres) -> str:
    return server.url("dreams")


@pytest.fixture
async def service_url(server: Postgres, db_url: str, prepare: Prepare) -> str:
    url = server.url("dreams", user="oneiro_service")
    await prepare(db_url, url)
    return url
