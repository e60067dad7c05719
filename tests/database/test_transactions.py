"""The beginning of a transaction: values that could break out of their quotes, and what a fault leaves behind."""

import json
from collections.abc import AsyncIterator

import psycopg
import pytest

from oneiro.database.pool import Connection, Database

SEEN = "SELECT current_user, current_setting('request.jwt.claims'), current_setting('transaction_isolation')"
HARD = [
    "it's",
    'a "name"',
    "back\\slash",
    "\\'; DROP TABLE dreams; --",
    "%s %(x)s {}",
    "海の夢 🌊",
    "a\nline",
    "$$",
    "E'\\x'",
]


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    """One connection, so that the next transaction meets what the last one left."""
    database = Database(service_url, max_size=1)
    await database.open()
    yield database
    await database.close()


async def seen(conn: Connection) -> tuple[str, str, str]:
    row = await (await conn.execute(SEEN)).fetchone()
    assert row is not None
    return row[0], row[1], row[2]


@pytest.mark.parametrize("name", HARD)
async def test_claims_arrive_as_they_are(database: Database, name: str) -> None:
    claims = {"role": "authenticated", "name": name}
    async with database.as_dreamer(claims) as conn:
        role, told, isolation = await seen(conn)
    assert (role, json.loads(told), isolation) == ("authenticated", claims, "read committed")


async def test_a_snapshot_takes_its_role_too(database: Database) -> None:
    async with database.as_service(snapshot=True) as conn:
        role, told, isolation = await seen(conn)
    assert (role, json.loads(told), isolation) == ("service_role", {"role": "service_role"}, "repeatable read")


async def test_no_role_outlives_its_transaction_however_that_ended(database: Database) -> None:
    async with database.as_service() as conn:
        await conn.execute("SELECT 1")
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with database.as_service() as conn:
            await conn.execute("SELECT 1 / 0")
    async with database.as_dreamer({"role": "authenticated"}) as conn:
        assert (await seen(conn))[0] == "authenticated"
    async with database._pool.connection() as conn:
        row = await (await conn.execute("SELECT current_user, current_setting('request.jwt.claims', true)")).fetchone()
    assert row == ("oneiro_service", "")
