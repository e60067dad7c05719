"""Racing starts, each in a transaction of its own: never more slots than there are, and no wait while many are free."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest

from oneiro.conversations.slots.service import Priority, admitted, reserve
from oneiro.database.pool import Connection, Database
from oneiro.errors import TooMany

NOW = datetime(2026, 11, 23, tzinfo=UTC)
Made = Callable[[int], Awaitable[list[UUID]]]


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    database = Database(service_url, max_size=24)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def conversations(db_url: str) -> Made:
    """Makes so many conversations of one dreamer."""

    async def made(count: int) -> list[UUID]:
        dreamer, ids = uuid4(), [uuid4() for _ in range(count)]
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as conn:
            await conn.execute(
                "INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('ada', 'Ada', 'Ada', '')"
            )
            await conn.execute("INSERT INTO profiles (user_id) VALUES (%s)", (dreamer,))
            await conn.execute(
                "INSERT INTO conversations (id, user_id, interpreter_id) SELECT unnest(%s::uuid[]), %s, 'ada'",
                (ids, dreamer),
            )
        return ids

    return made


async def held(database: Database, now: datetime = NOW) -> int:
    async with database.as_service() as conn:
        cursor = await conn.execute("SELECT count(*) FROM conversation_slots WHERE leased_until > %s", (now,))
        row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def take(database: Database, conversation_id: UUID, slots: int, priority: Priority = "high") -> bool:
    try:
        async with database.as_service() as conn:
            await reserve(conn, conversation_id, priority, slots, NOW)
            await asyncio.sleep(0)  # Others get their turn before it is committed.
    except TooMany:
        return False
    return True


# Around the number of lanes, twice that, and where the share of a priority ends between them.
@pytest.mark.parametrize("slots", [1, 5, 15, 16, 17, 18, 31, 32, 33, 40])
@pytest.mark.parametrize("priority", ["low", "high"])
async def test_racing_starts_take_their_share_and_not_one_more(
    database: Database, conversations: Made, slots: int, priority: Priority
) -> None:
    ids = await conversations(slots + 24)

    taken = await asyncio.gather(*(take(database, each, slots, priority) for each in ids))

    assert sum(taken) == await held(database) == admitted(priority, slots)


async def test_priorities_that_race_each_keep_to_their_own_share(database: Database, conversations: Made) -> None:
    ids = await conversations(120)
    kinds: list[Priority] = ["low", "normal", "high"]

    taken = await asyncio.gather(
        *(take(database, each, 40, kinds[place % len(kinds)]) for place, each in enumerate(ids))
    )

    assert sum(taken) == await held(database) == 40
    low = [each for place, each in enumerate(taken) if place % len(kinds) == 0]
    assert sum(low) <= admitted("low", 40)


async def test_starts_pass_beside_each_other_while_many_slots_are_free(database: Database, conversations: Made) -> None:
    first, second = await conversations(2)
    async with database.as_service() as one, database.as_service() as two:
        await reserve(one, first, "high", 100, NOW)
        await asyncio.wait_for(reserve(two, second, "high", 100, NOW), 10)
    assert await held(database) == 2


async def waiting(database: Database) -> None:
    """Return as soon as a transaction waits for an advisory lock."""
    async with asyncio.timeout(10), database.as_service() as conn:
        while True:
            cursor = await conn.execute("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
            if await cursor.fetchone():
                return
            await asyncio.sleep(0.01)


async def test_the_last_slot_is_decided_when_whoever_may_have_taken_it_is_done(
    database: Database, conversations: Made
) -> None:
    first, second, third = await conversations(3)
    async with database.as_service() as one:
        await reserve(one, first, "high", 1, NOW)
        later = asyncio.create_task(take(database, second, 1))
        await waiting(database)
        assert not later.done()
    assert not await later

    await free(database, first)
    with pytest.raises(RuntimeError, match="cut off"):
        await _cut_off(database, second)
    assert await take(database, third, 1)


async def test_one_that_counts_exactly_waits_for_those_that_did_not(database: Database, conversations: Made) -> None:
    *many, wide, narrow = await conversations(20)
    for each in many[:16]:
        assert await take(database, each, 100)
    async with database.as_service() as one:
        await reserve(one, wide, "high", 100, NOW)  # In a lane: nobody sees it yet.
        tight = asyncio.create_task(take(database, narrow, 17))
        await waiting(database)
    assert not await tight
    assert await held(database) == 17


async def test_a_slot_that_lapsed_is_free_and_ones_own_is_renewed(database: Database, conversations: Made) -> None:
    first, second = await conversations(2)
    assert await take(database, first, 1)
    assert await take(database, first, 1)
    assert not await take(database, second, 1)
    async with database.as_service() as conn:
        await reserve(conn, second, "high", 1, NOW + timedelta(seconds=61))
    assert await held(database, NOW + timedelta(seconds=61)) == 1


async def free(database: Database, conversation_id: UUID) -> None:
    async with database.as_service() as conn:
        await conn.execute("DELETE FROM conversation_slots WHERE conversation_id = %s", (conversation_id,))


async def _cut_off(database: Database, conversation_id: UUID) -> None:
    async with database.as_service() as conn:
        await _reserved(conn, conversation_id)
        raise RuntimeError("cut off")


async def _reserved(conn: Connection, conversation_id: UUID) -> None:
    await reserve(conn, conversation_id, "high", 1, NOW)
