"""Hourly counts and reports equal a recount of the conversations, whatever happened in between."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.rows import tuple_row
from psycopg.types.json import Jsonb

from oneiro.analytics import histogram
from oneiro.analytics.reports import store as reports
from oneiro.analytics.reports.service import Reports
from oneiro.analytics.rollups import store
from oneiro.analytics.rollups.service import Rollups
from oneiro.database.pool import Database
from oneiro.events.service import Events
from oneiro.interpreters.overview.service import PlatformOverview

House = Any
Talk = Any
Rows = list[tuple[Any, ...]]
BASE = datetime(2026, 11, 20, tzinfo=UTC)

Change = tuple[str, int, int, dict[str, int]]
COUNTS = st.dictionaries(
    st.sampled_from(["conversations", "rating:5", "topic:fear", "seconds", "response:30"]),
    st.integers(1, 500),
    max_size=4,
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["write", "change", "move", "delete", "count"]), st.integers(0, 30), st.integers(0, 299), COUNTS
    ),
    min_size=1,
    max_size=25,
)
SPANS = st.tuples(st.integers(0, 310), st.integers(1, 310))


def minute(number: int) -> datetime:
    """A time of three and a half days, a few to each hour."""
    return BASE + timedelta(minutes=17 * number)


class Ledger:
    """Rows of `conversation_analytics`, changed as whoever may change them does, and what they should add up to."""

    def __init__(self, conn: psycopg.AsyncConnection[Any], keys: list[tuple[str, UUID]]) -> None:
        self._conn, self._keys = conn, keys
        self.rows: dict[UUID, tuple[str, UUID, datetime, dict[str, int]]] = {}

    async def perform(self, change: Change) -> None:
        verb, which, at, counts = change
        known = list(self.rows)
        row_id = known[which % len(known)] if known and verb != "write" else None
        if row_id is None:
            await self._insert(self._keys[which % len(self._keys)], minute(at), counts)
        elif verb == "delete":
            await self._conn.execute("DELETE FROM conversation_analytics WHERE id = %s", (row_id,))
            del self.rows[row_id]
        else:
            interpreter, release, ended_at, _ = self.rows[row_id]
            moved = minute(at) if verb == "move" else ended_at
            await self._conn.execute(
                "UPDATE conversation_analytics SET ended_at = %s, counts = %s WHERE id = %s",
                (moved, Jsonb(counts), row_id),
            )
            self.rows[row_id] = (interpreter, release, moved, counts)

    async def _insert(self, key: tuple[str, UUID], ended_at: datetime, counts: dict[str, int]) -> None:
        row_id = uuid4()
        await self._conn.execute(
            "INSERT INTO conversation_analytics (id, interpreter_id, release_id, ended_at, counts)"
            " VALUES (%s, %s, %s, %s, %s)",
            (row_id, *key, ended_at, Jsonb(counts)),
        )
        self.rows[row_id] = (*key, ended_at, counts)

    def recount(self, start: datetime, end: datetime) -> dict[tuple[str, UUID], Counter[str]]:
        found: dict[tuple[str, UUID], Counter[str]] = {}
        for interpreter, release, ended_at, counts in self.rows.values():
            if start <= ended_at < end:
                found.setdefault((interpreter, release), Counter()).update(counts)
        return {key: counts for key, counts in found.items() if counts}


async def reported(db: Database, start: datetime, end: datetime) -> dict[tuple[str, UUID | None], Counter[str]]:
    async with db.as_service() as conn:
        parts = await reports.counts(conn, start, end)
    return {(part.interpreter_id, part.release_id): Counter(part.counts) for part in parts}


@pytest.fixture
async def keys(house: House) -> list[tuple[str, UUID]]:
    """Interpreters with their releases."""
    rows = await house.look("SELECT interpreter_id, id FROM interpreter_releases ORDER BY interpreter_id")
    return [(row["interpreter_id"], row["id"]) for row in rows]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES, span=SPANS)
def test_reports_equal_a_recount_before_and_after_hours_are_counted(
    db_url: str, service_url: str, keys: list[tuple[str, UUID]], changes: list[Change], span: tuple[int, int]
) -> None:
    async def check() -> None:
        db = Database(service_url, max_size=2)
        await db.open()
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as conn:
            await conn.execute("TRUNCATE conversation_analytics, rollups_hourly, rollups_daily, rollups_dirty")
            ledger = Ledger(conn, keys)
            start, end = minute(min(span)), minute(min(span) + max(span))
            for change in changes:
                if change[0] == "count":
                    await Rollups(db).refresh()
                else:
                    await ledger.perform(change)
            assert await reported(db, start, end) == ledger.recount(start, end)
            await Rollups(db).refresh()
            assert await reported(db, start, end) == ledger.recount(start, end)
            await compare_hours(conn, ledger)
        await db.close()

    asyncio.run(check())


async def compare_hours(conn: psycopg.AsyncConnection[Any], ledger: Ledger) -> None:
    """Every rollup is what the rows of its hour say, and there is none for an hour without rows."""
    cursor = conn.cursor(row_factory=tuple_row)
    await cursor.execute("SELECT hour, interpreter_id, release_id, counts FROM rollups_hourly")
    held: dict[tuple[datetime, str, UUID], Counter[str]] = {
        (hour, name, release): Counter(counts) for hour, name, release, counts in await cursor.fetchall()
    }
    expected: dict[tuple[datetime, str, UUID], Counter[str]] = {}
    for hour in range(24 * 4):
        at = BASE + timedelta(hours=hour)
        for key, counts in ledger.recount(at, at + timedelta(hours=1)).items():
            expected[(at, *key)] = counts
    assert held == expected
    days: dict[tuple[datetime, str, UUID], Counter[str]] = {}
    for (at, name, release), counts in held.items():
        days.setdefault((at.replace(hour=0), name, release), Counter()).update(counts)
    await cursor.execute("SELECT day, interpreter_id, release_id, counts FROM rollups_daily")
    assert {(day, name, release): Counter(counts) for day, name, release, counts in await cursor.fetchall()} == days


MAKINGS = st.lists(
    st.tuples(
        st.sampled_from(["make", "make", "change", "move", "delete", "count"]),
        st.integers(0, 30),
        st.integers(0, 299),
        st.one_of(
            st.sampled_from(["timeout", "platform_unavailable", None]),
            st.integers(0, 30).map(lambda power: float(2**power)),
            st.floats(-5, 2.0**31, allow_nan=False).map(lambda ms: round(ms, 3)),
        ),
    ),
    min_size=1,
    max_size=20,
)
Making = tuple[str, int, int, float | str | None]
Made = tuple[str, datetime, float | str | None]


class Makings:
    """Creations of agents: milliseconds, the code of a failure, or None where neither is known."""

    def __init__(self, conn: psycopg.AsyncConnection[Any], interpreters: list[str]) -> None:
        self._conn, self._interpreters = conn, interpreters
        self.rows: dict[UUID, Made] = {}

    async def perform(self, making: Making) -> None:
        verb, which, at, outcome = making
        known = list(self.rows)
        row_id = known[which % len(known)] if known and verb != "make" else uuid4()
        if verb == "delete":
            await self._conn.execute("DELETE FROM agent_metrics WHERE id = %s", (row_id,))
            self.rows.pop(row_id, None)
            return
        interpreter, then, _ = self.rows.get(row_id, (self._interpreters[which % 2], minute(at), None))
        made = (interpreter, minute(at) if verb == "move" else then, outcome)
        failed = isinstance(outcome, str)
        await self._conn.execute(
            "INSERT INTO agent_metrics (id, interpreter_id, metric_type, recorded_at, metric_value, metadata)"
            " VALUES (%s, %s, 'agent_creation', %s, %s, %s) ON CONFLICT (id) DO UPDATE SET"
            " recorded_at = excluded.recorded_at, metric_value = excluded.metric_value, metadata = excluded.metadata",
            (
                row_id,
                *made[:2],
                None if failed else outcome,
                Jsonb({"success": not failed} | ({"error": outcome} if failed else {})),
            ),
        )
        self.rows[row_id] = made

    def recount(self, start: datetime, end: datetime) -> dict[tuple[str, None], Counter[str]]:
        found: dict[tuple[str, None], Counter[str]] = {}
        for interpreter, at, outcome in self.rows.values():
            if start <= at < end:
                counts = found.setdefault((interpreter, None), Counter())
                if isinstance(outcome, str):
                    counts.update({"agents:failed": 1, f"agents:error:{outcome}": 1})
                else:
                    counts["agents:created"] += 1
                    counts.update([] if outcome is None else [f"agents:ms:{histogram.bucket(outcome)}"])
        return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(makings=MAKINGS, span=SPANS)
def test_creations_of_agents_equal_a_recount_before_and_after_hours_are_counted(
    db_url: str, service_url: str, keys: list[tuple[str, UUID]], makings: list[Making], span: tuple[int, int]
) -> None:
    async def check() -> None:
        db = Database(service_url, max_size=2)
        await db.open()
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as conn:
            await conn.execute("TRUNCATE agent_metrics, rollups_hourly, rollups_daily, rollups_dirty")
            made = Makings(conn, [interpreter for interpreter, _ in keys])
            start, end = minute(min(span)), minute(min(span) + max(span))
            for making in makings:
                if making[0] == "count":
                    await Rollups(db).refresh()
                else:
                    await made.perform(making)
            assert await reported(db, start, end) == made.recount(start, end)
            await Rollups(db).refresh()
            assert await reported(db, start, end) == made.recount(start, end)
        await db.close()

    asyncio.run(check())


async def test_agents_made_for_nobody_bring_no_release_and_no_interpreter_into_a_report(
    house: House, database: Database
) -> None:
    await house.look("UPDATE interpreter_configs SET is_active = false WHERE id = 'carl'")
    await house.tell_of("agent", "agent_7", "agent.provisioned", interpreter_id="carl", ms=812)
    await house.consume()
    now = datetime.now(UTC) + timedelta(minutes=1)
    overview = PlatformOverview(database, [], slots=10, clock=lambda: now)
    shown = Reports(database, overview, Events(database), slots=10, clock=lambda: now)

    told = await shown.performance("carl", None, None)
    assert (told.agents.created, told.agents.failed, told.releases, told.total.conversations) == (1, 0, [], 0)
    assert told.agents.p50_ms is not None
    assert abs(told.agents.p50_ms / 812 - 1) <= histogram.ERROR
    assert [each.interpreter_id for each in (await shown.dashboard()).interpreters] == ["lakshmi"]


async def test_real_conversations_with_late_data_add_up(
    house: House, talk: Callable[..., Talk], database: Database
) -> None:
    rng, dreamer = random.Random(7), await house.dreamer()  # noqa: S311 - a test's own draw.
    rollups, made = Rollups(database), []
    for place in range(12):
        ended_at = BASE + timedelta(minutes=rng.randrange(300))
        reason = rng.choice(["user_ended", "agent_ended", "timeout", "error"])
        made.append(await house.ended(dreamer, talk(ended_at=ended_at, end_reason=reason)))
        if place % 4 == 3:
            await rollups.refresh()
    for conversation_id in made[::3]:
        await house.say(conversation_id, "user", "And I was so happy at school.", 30)
        await house.look("UPDATE conversations SET rating = 5 WHERE id = %s", conversation_id)
        await house.tell(conversation_id, "conversation.reconciled", filled=1)
    await house.consume()
    await house.look("DELETE FROM conversations WHERE id = %s", made[1])
    await rollups.refresh()

    raw = Counter[str]()
    for row in await house.look("SELECT counts || counts_of_words AS counts FROM conversation_analytics"):
        raw.update({name: Decimal(str(found)) for name, found in row["counts"].items()})
    rolled = Counter[str]()
    for row in await house.look("SELECT counts FROM rollups_hourly"):
        rolled.update({name: Decimal(str(found)) for name, found in row["counts"].items()})
    assert rolled == raw
    assert raw["conversations"] == 11
    assert raw["rating:5"] == 4


async def test_a_change_that_is_not_committed_when_its_hour_is_counted_is_counted_later(
    house: House, talk: Callable[..., Talk], database: Database
) -> None:
    conversation_id = await house.ended(await house.dreamer(), talk())
    rollups = Rollups(database)
    async with database.as_service() as conn:
        await conn.execute(
            "UPDATE conversation_analytics SET counts = '{\"conversations\": 7}' WHERE conversation_id = %s",
            (conversation_id,),
        )
        assert await rollups.refresh() == 1  # The hour is marked by the row's beginning, which was committed.
    assert await rollups.refresh() == 1
    rows = await house.look("SELECT counts ->> 'conversations' AS n FROM rollups_hourly")
    assert rows == [{"n": "7"}]


async def test_of_two_that_count_one_does(house: House, talk: Callable[..., Talk], database: Database) -> None:
    await house.ended(await house.dreamer(), talk())
    async with database.as_service() as conn:
        assert await store.alone(conn)
        assert await Rollups(database).refresh() == 0
    assert await Rollups(database).refresh() == 1
    assert await Rollups(database).refresh() == 0


async def test_more_hours_than_one_transaction_takes_are_all_counted(
    house: House, database: Database, keys: list[tuple[str, UUID]]
) -> None:
    await house.look(
        "INSERT INTO conversation_analytics (interpreter_id, release_id, ended_at, counts)"
        " SELECT %s, %s, %s::timestamptz + make_interval(hours => n), '{\"conversations\": 1}'"
        " FROM generate_series(1, 100) AS n",
        *keys[0],
        BASE,
    )
    assert await Rollups(database).refresh() == 100
    assert len(await house.look("SELECT 1 FROM rollups_hourly")) == 100
