"""Positions: none lost, none stalled, in order, whatever writers, clusters, leases and clocks do."""
# ruff: noqa: ASYNC110 - what another task or process writes into a table is waited for by looking

import asyncio
import itertools
import random
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from oneiro.database.binaries import find_binaries
from oneiro.database.embedded import Server, embedded
from oneiro.database.pool import Database
from oneiro.events import outbox
from oneiro.events.bell import STAMPED, WRITTEN, Bell, mark
from oneiro.events.loops import running
from oneiro.events.sequencer import Sequencer

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]
Write = Callable[..., Awaitable[None]]


async def positions(look: Look) -> list[int]:
    return [row[0] for row in await look("SELECT position FROM system_events WHERE position IS NOT NULL ORDER BY 1")]


async def stamp_all(sequencer: Sequencer) -> None:
    while await sequencer.step():
        pass


class Writers:
    """Concurrent writers with random pauses and rollbacks; each locks its conversation first, as every verb does."""

    def __init__(self, database: Database, conversations: list[UUID], rounds: int) -> None:
        self._database = database
        self._conversations = conversations
        self._rounds = rounds
        self._count = itertools.count()
        self.committed: dict[UUID, list[int]] = {one: [] for one in conversations}

    async def run(self, writers: int) -> None:
        await asyncio.gather(*(self._write(random.Random(seed)) for seed in range(writers)))  # noqa: S311 - dice of a test

    async def _write(self, dice: random.Random) -> None:
        for _ in range(self._rounds):
            conversation_id = dice.choice(self._conversations)
            try:
                await self._change(conversation_id, dice)
            except ZeroDivisionError:
                continue

    async def _change(self, conversation_id: UUID, dice: random.Random) -> None:
        async with self._database.as_service() as conn:
            await conn.execute("SELECT 1 FROM conversations WHERE id = %s FOR NO KEY UPDATE", (conversation_id,))
            written = []
            for _ in range(dice.randint(1, 3)):
                n = next(self._count)
                data = {"n": n}
                await outbox.record(
                    conn, "conversation.rated", entity_type="conversation", entity_id=str(conversation_id), data=data
                )
                written.append(n)
                await asyncio.sleep(dice.random() * 0.003)
            if dice.random() < 0.15:
                raise ZeroDivisionError
            # Noted while the row is locked: the next writer of the conversation notes its own after this.
            self.committed[conversation_id] += written


async def check(look: Look, writers: Writers) -> None:
    """Every committed event has a position, without gaps, and each conversation's are in the order of its commits."""
    rows = await look(
        "SELECT conversation_id, (event_data ->> 'n')::int, position FROM system_events ORDER BY position NULLS FIRST"
    )
    assert [position for _, _, position in rows] == list(range(1, len(rows) + 1))
    read: dict[UUID, list[int]] = {one: [] for one in writers.committed}
    for conversation_id, n, _ in rows:
        read[conversation_id].append(n)
    assert read == writers.committed
    assert len(rows) > 100


async def test_24_writers_with_pauses_and_rollbacks_lose_nothing(
    database: Database, bell: Bell, look: Look, conversations: list[UUID]
) -> None:
    writers = Writers(database, conversations, rounds=12)
    sequencer = Sequencer(database, bell, busy=0.001, idle=0.005)
    async with running(sequencer):
        await writers.run(24)
    await stamp_all(sequencer)

    await check(look, writers)


async def test_two_sequencers_that_fight_for_the_lease_stamp_each_event_once(
    database: Database, bell: Bell, look: Look, conversations: list[UUID]
) -> None:
    writers = Writers(database, conversations, rounds=12)
    # A lease of two milliseconds is lost between any two statements.
    fighters = [Sequencer(database, bell, lease=0.002, busy=0.001, idle=0.002, batch=7) for _ in range(2)]
    owners = set()

    async def watch() -> None:
        while True:
            owners.update(await look("SELECT lease_owner FROM event_cursors WHERE consumer = 'sequencer'"))

    watching = asyncio.create_task(watch())
    async with running(*fighters):
        await writers.run(24)
        while await look("SELECT 1 FROM system_events WHERE position IS NULL"):
            await asyncio.sleep(0.001)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)

    await check(look, writers)
    assert len(owners - {(None,)}) == 2


async def test_a_sequencer_that_lost_its_lease_writes_nothing(
    database: Database, bell: Bell, look: Look, write: Write
) -> None:
    minutes = itertools.count(step=60.0).__next__
    first, second = (Sequencer(database, bell, lease=3600.0, clock=minutes) for _ in range(2))
    await write(2)
    assert await first.step() == 2
    assert await second.step() == 0
    await look("UPDATE event_cursors SET lease_until = now() - interval '1 hour'")
    await write(3)
    assert await second.step() == 3
    await write(4)

    assert await first.step() == 0
    assert await positions(look) == [1, 2, 3, 4, 5]
    assert await second.step() == 4


async def test_a_long_transaction_in_another_database_stalls_nothing(
    postgres: Server, sequencer: Sequencer, look: Look, write: Write
) -> None:
    name = f"other_{uuid4().hex}"
    with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with psycopg.connect(postgres.url(name)) as other:
            other.execute("CREATE TABLE t (n integer)")
            await write(3)
            await stamp_all(sequencer)
            other.rollback()
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    assert await positions(look) == [1, 2, 3]


async def test_an_event_committed_late_comes_after_those_that_were_read_already(
    database: Database, sequencer: Sequencer, look: Look, write: Write
) -> None:
    async with database.as_service() as slow:
        await outbox.record(slow, "agent.retired", entity_type="agent", entity_id="a", data={"n": "slow"})
        await write(3)
        await stamp_all(sequencer)
        assert await positions(look) == [1, 2, 3]
    await stamp_all(sequencer)

    assert await look("SELECT position FROM system_events ORDER BY seq") == [(4,), (1,), (2,), (3,)]


@pytest.mark.parametrize("seconds", [-86_400.0, 86_400.0 * 365])
async def test_steps_of_the_clock_lose_nothing(
    database: Database, bell: Bell, look: Look, write: Write, seconds: float
) -> None:
    now = 1000.0
    stepping = Sequencer(database, bell, clock=lambda: now)
    other = Sequencer(database, bell)
    await write(2)
    await stamp_all(stepping)
    now += seconds
    await write(2)
    await stamp_all(stepping)
    await write(2)
    await stamp_all(other)
    assert len(await positions(look)) == 4
    await stamp_all(stepping)

    assert await positions(look) == [1, 2, 3, 4, 5, 6]


async def test_dump_and_restore_into_a_fresh_cluster_goes_on_where_it_stood(
    postgres: Server, data_dir: Path, db_url: str, sequencer: Sequencer, write: Write
) -> None:
    await write(5)
    await stamp_all(sequencer)
    await write(2, first=5)  # Committed, not stamped yet.
    binaries = find_binaries().folder
    dump = await asyncio.to_thread(_dump, binaries / "pg_dump", db_url)
    async with embedded(data_dir, options={"fsync": "off"}) as fresh:
        with psycopg.connect(fresh.admin_url, autocommit=True) as admin:
            for role in ("anon", "authenticated", "service_role"):
                admin.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(role)))
            admin.execute("CREATE ROLE oneiro_service LOGIN NOINHERIT IN ROLE anon, authenticated, service_role")
            admin.execute("CREATE DATABASE restored")
        await asyncio.to_thread(_restore, binaries / "psql", fresh.url("restored"), dump)
        restored = Database(fresh.url("restored", user="oneiro_service"))
        await restored.open()
        await _write_and_stamp(restored, fresh.url("restored", user="oneiro_service"))
        await restored.close()
        with psycopg.connect(fresh.url("restored")) as conn:
            rows = conn.execute("SELECT position, event_data ->> 'n' FROM system_events ORDER BY position").fetchall()

    assert rows == [(n + 1, str(n)) for n in range(7)] + [(8, "after")]


def _dump(pg_dump: Path, url: str) -> bytes:
    return subprocess.run([pg_dump, "--no-owner", url], check=True, capture_output=True).stdout


def _restore(psql: Path, url: str, dump: bytes) -> None:
    # psql of another version knows not all of the dump's settings; the rows and the cursor are what is asked for.
    subprocess.run([psql, "--quiet", "-d", url], input=dump, check=True, capture_output=True)


async def _write_and_stamp(database: Database, url: str) -> None:
    async with database.as_service() as conn:
        await outbox.record(conn, "agent.retired", entity_type="agent", entity_id="a", data={"n": "after"})
        # The old process's lease came along with the dump; it is nobody's here.
        await conn.execute("UPDATE event_cursors SET lease_until = now() - interval '1 second'")
    await stamp_all(Sequencer(database, Bell(url)))


async def test_rows_moved_to_a_database_whose_counters_begin_anew_keep_their_order(
    sequencer: Sequencer, look: Look, write: Write
) -> None:
    await write(4)
    await stamp_all(sequencer)
    await look("ALTER TABLE system_events ALTER COLUMN seq RESTART WITH 1")
    await look("UPDATE event_cursors SET position = 0, lease_owner = NULL WHERE consumer = 'sequencer'")
    await sequencer.release()
    await write(2)
    await stamp_all(sequencer)

    assert await positions(look) == [1, 2, 3, 4, 5, 6]


async def test_a_released_lease_is_free_at_once(database: Database, bell: Bell, look: Look, write: Write) -> None:
    first, second = Sequencer(database, bell), Sequencer(database, bell)
    await write(1)
    assert await first.step() == 1
    await first.release()
    await write(1)

    assert await second.step() == 1


async def test_a_ring_crosses_processes_and_wakes_the_own_at_once(service_url: str, database: Database) -> None:
    here, there = Bell(service_url), Bell(service_url)
    heard, own = there.listener(WRITTEN), here.listener(WRITTEN)
    async with running(here, there):
        await there.listening.wait()
        heard.clear()
        async with database.as_service() as conn:
            await outbox.record(conn, "agent.retired", entity_type="agent", entity_id="a", data={})
        here.committed(conn)
        assert own.is_set()
        async with asyncio.timeout(5):
            await heard.wait()


async def test_a_bell_that_lost_its_connections_rings_again(service_url: str, look: Look) -> None:
    here, there = Bell(service_url, pause=0.01), Bell(service_url, pause=0.01)
    heard = there.listener(STAMPED)
    async with running(here, there):
        await there.listening.wait()
        await look(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'oneiro_service' AND datname = current_database()"
        )
        heard.clear()
        async with asyncio.timeout(5):
            await heard.wait()  # After a new connection whoever waits looks once.
        while not there.listening.is_set():
            await asyncio.sleep(0.001)
        heard.clear()
        async with asyncio.timeout(5):
            while not heard.is_set():
                here.ring(STAMPED)
                await asyncio.sleep(0.01)


async def test_a_commit_without_events_rings_nothing(database: Database, bell: Bell) -> None:
    heard = bell.listener(WRITTEN)
    async with database.as_service() as conn:
        await conn.execute("SELECT 1")
    bell.committed(conn)
    assert not heard.is_set()
    mark(conn, WRITTEN)
    bell.committed(conn)
    assert heard.is_set()
