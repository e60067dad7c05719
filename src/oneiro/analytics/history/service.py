"""Makes up a history, and takes it away again."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from psycopg import AsyncConnection

from oneiro.analytics.history import store
from oneiro.analytics.history.models import Lead, Plan, Talk
from oneiro.analytics.history.nights import History, order
from oneiro.analytics.history.talks import KINDS, talks
from oneiro.analytics.history.writing import store as writing
from oneiro.analytics.rollups.service import Rollups
from oneiro.database.pool import Connection, Database
from oneiro.errors import SetupError

AT_ONCE: Final = 10_000
"""Conversations of one transaction, and the most that are held in memory."""
REMOVED_AT_ONCE: Final = 5_000
Advance = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was written."""

    conversations: int
    dreamers: int
    hours: int


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken away; `kept` dreamers stay, since somebody used them."""

    conversations: int
    kept: int


async def load(url: str, plan: Plan, advance: Advance, *, trusting: bool = False) -> Loaded:
    """Write a history and count its hours; `advance` is told of conversations as they are committed.

    `trusting` is faster, and only for a database without tables of a host application: keys and triggers are not asked.
    No event is written, so that no consumer, webhook or job hears of it. Reports are exact while it is being written.
    Raises `SetupError` when its seed was used before, when no interpreter is active, and when another load is at work.
    """
    async with _connection(url, trusting=trusting) as conn:
        if await store.exists(conn, plan.seed):
            raise SetupError(f"a history of seed {plan.seed} is there: remove it first, or name another --seed")
        leads = await store.leads(conn)
        if not leads:
            raise SetupError("no interpreter is active here: a history needs one that could have led it")
        history = await _staged(conn, plan, leads)
        needed = len({lead.release_id for lead in leads} | {lead.arm_id for lead in leads if lead.arm_id})
        written = 0
        for dreamers, nights in history.batches(AT_ONCE):
            async with conn.transaction():
                if await writing.hold(conn) < needed:
                    raise SetupError("a release or an arm went away meanwhile; remove what was written, and load again")
                written += await writing.write(conn, plan.seed, dreamers, nights)
            advance(len(nights))
        hours = await _count_hours(url)
        await store.analyse(conn)
    return Loaded(written, history.dreamers, hours)


async def remove(url: str, advance: Advance) -> Removed:
    """Take away every history that was made up, of whatever seed, and count its hours anew."""
    async with _connection(url) as conn:
        removed = 0
        while True:
            async with conn.transaction():
                found = await store.remove(conn, REMOVED_AT_ONCE)
            if not found:
                break
            removed += found
            advance(found)
        async with conn.transaction():
            kept = await store.remove_dreamers(conn)
        await _count_hours(url)
        await store.analyse(conn)
    return Removed(removed, kept)


async def made_up(url: str) -> int:
    """How many made-up conversations there are."""
    async with await AsyncConnection.connect(url, autocommit=True) as conn:
        await store.take_role(conn)
        return await store.count(conn)


@asynccontextmanager
async def _connection(url: str, *, trusting: bool = False) -> AsyncIterator[Connection]:
    async with await AsyncConnection.connect(url, autocommit=True) as conn:
        if not await store.alone(conn):
            raise SetupError("another load is at work on this database")
        if trusting:
            await store.trust(conn)
        await store.take_role(conn)
        yield conn
        await store.leave(conn)


async def _staged(conn: Connection, plan: Plan, leads: list[Lead]) -> History:
    made: list[Talk] = []
    kinds: list[list[int]] = [[] for _ in KINDS]
    for kind, talk in talks(plan):
        kinds[kind].append(len(made))
        made.append(talk)
    await writing.stage(conn, made, leads)
    return History(plan, kinds, order(leads))


async def _count_hours(url: str) -> int:
    database = Database(url, max_size=2, timeout=60.0)
    await database.open()
    try:
        return await Rollups(database).refresh()
    finally:
        await database.close()
