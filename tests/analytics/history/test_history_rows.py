"""A made-up history on a real database: its rows are what the product would have written, and go away again."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from oneiro.analytics.conversations import store as conversations
from oneiro.analytics.conversations.service import analyse
from oneiro.analytics.history import service
from oneiro.analytics.history import store as histories
from oneiro.analytics.history.models import FIRST, LAST, Plan, identity
from oneiro.analytics.reports.service import Reports
from oneiro.analytics.rollups.service import Rollups
from oneiro.breaker import CircuitBreaker
from oneiro.conversations.reconcile import store as reconcile
from oneiro.conversations.wrapup import store as wrapup
from oneiro.database.pool import Database
from oneiro.errors import SetupError
from oneiro.events.service import Events
from oneiro.interpreters.overview.service import PlatformOverview
from oneiro.monitoring import store as monitoring

House = Any
Talk = Any
Plans = Callable[..., Plan]
Read = Callable[[], Awaitable[dict[str, list[str]]]]


def ignore(_found: int) -> None:
    pass


def reports(database: Database, now: datetime) -> Reports:
    overview = PlatformOverview(database, [CircuitBreaker("conversations")], slots=10, clock=lambda: now)
    return Reports(database, overview, Events(database), slots=10, clock=lambda: now)


async def test_every_row_refers_to_what_is_there(furnished: House, db_url: str, plan: Plans) -> None:
    told: list[int] = []
    done = await service.load(db_url, plan(), told.append, trusting=True)

    assert sum(told) == done.conversations == 400
    assert len(await furnished.look("SELECT 1 FROM profiles")) == done.dreamers
    keys = await furnished.look(
        """
        SELECT conrelid::regclass::text AS of, confrelid::regclass::text AS to,
               (SELECT attname FROM pg_attribute WHERE attrelid = conrelid AND attnum = conkey[1]) AS column,
               (SELECT attname FROM pg_attribute WHERE attrelid = confrelid AND attnum = confkey[1]) AS key
        FROM pg_constraint WHERE contype = 'f' AND cardinality(conkey) = 1
        """
    )
    assert {"conversations", "messages", "conversation_sessions", "conversation_analytics", "agent_metrics"} <= {
        key["of"] for key in keys
    }
    for key in keys:
        lost = await furnished.look(
            f"SELECT 1 FROM {key['of']} AS o WHERE {key['column']} IS NOT NULL"
            f" AND NOT EXISTS (SELECT FROM {key['to']} AS t WHERE t.{key['key']} = o.{key['column']})"
        )
        assert lost == [], key


async def test_the_counts_on_a_conversation_are_those_of_its_rows(furnished: House, db_url: str, plan: Plans) -> None:
    await service.load(db_url, plan(), ignore)
    wrong = await furnished.look(
        """
        SELECT c.id FROM conversations AS c
        WHERE c.message_count <> (SELECT count(*) FROM messages AS m WHERE m.conversation_id = c.id)
           OR c.connection_count <> (SELECT coalesce(sum(s.connection_count), 0) FROM conversation_sessions AS s
                                     WHERE s.conversation_id = c.id)
           OR EXISTS (SELECT FROM messages AS m WHERE m.conversation_id = c.id
                      AND m.occurred_at NOT BETWEEN c.started_at AND c.ended_at)
           OR (c.status = 'completed') <> (c.started_at IS NOT NULL)
           OR c.ended_at <= c.created_at
        """
    )
    assert wrong == []


async def test_the_numbers_are_those_that_the_product_computes_from_the_rows(
    furnished: House, db_url: str, database: Database, plan: Plans
) -> None:
    await service.load(db_url, plan(conversations=150), ignore)
    rows = await furnished.look("SELECT * FROM conversation_analytics ORDER BY id")
    assert len(rows) == 150
    async with database.as_service() as conn:
        for row in rows:
            facts = await conversations.facts(conn, row["conversation_id"])
            assert facts is not None
            lines = await conversations.lines(conn, facts.conversation_id)
            found = analyse(facts, lines, await conversations.sessions(conn, facts.conversation_id))
            assert row["counts"] == found.counts
            assert row["counts_of_words"] == found.counts_of_words
            assert row["snapshot"] == found.snapshot
            assert row["response_time_ms"] == found.response_time
            assert row["topics_discussed"] == found.topics
            assert row["sentiment_analysis"] == found.sentiment
            assert row["session_duration_seconds"] == found.duration_seconds
            assert row["completion_reason"] == found.completion_reason
            assert row["user_satisfaction_score"] == facts.rating
            assert row["ended_at"] == facts.ended_at


async def test_each_row_is_the_one_that_the_product_s_own_store_writes(
    furnished: House, db_url: str, database: Database, plan: Plans
) -> None:
    await service.load(db_url, plan(conversations=60), ignore)
    own = {"id", "source_event", "computed_to", "created_at", "updated_at"}
    measured = (
        "SELECT conversation_id, metric_type, metric_value, metadata, agent_id, interpreter_id, recorded_at"
        " FROM agent_metrics WHERE metric_type IN ('completion_rate', 'response_time') ORDER BY 1, 2"
    )
    rows = await furnished.look("SELECT * FROM conversation_analytics ORDER BY conversation_id")
    measures = await furnished.look(measured)
    await furnished.look("DELETE FROM conversation_analytics")
    await furnished.look("DELETE FROM agent_metrics WHERE metric_type IN ('completion_rate', 'response_time')")
    for row in rows:
        await furnished.tell(row["conversation_id"], "conversation.reconciled", filled=0)
    await furnished.consume()
    anew = await furnished.look("SELECT * FROM conversation_analytics ORDER BY conversation_id")
    assert [{k: v for k, v in row.items() if k not in own} for row in anew] == [
        {k: v for k, v in row.items() if k not in own} for row in rows
    ]
    assert await furnished.look(measured) == measures


async def test_a_replay_of_an_end_changes_nothing_of_a_made_up_row(furnished: House, db_url: str, plan: Plans) -> None:
    await service.load(db_url, plan(conversations=20), ignore)
    before = await furnished.look("SELECT id, counts, snapshot, ended_at FROM conversation_analytics ORDER BY id")
    for row in before:
        await furnished.tell(row["id"], "conversation.ended", reason="user_ended", seconds=1, messages=1)
    await furnished.consume()
    assert before == await furnished.look(
        "SELECT id, counts, snapshot, ended_at FROM conversation_analytics ORDER BY id"
    )


async def test_the_same_seed_makes_the_same_rows_and_another_seed_others(
    furnished: House, db_url: str, plan: Plans, held: Read
) -> None:
    await service.load(db_url, plan(seed=7), ignore)
    first = await held()
    await service.remove(db_url, ignore)
    await service.load(db_url, plan(seed=7), ignore)
    assert await held() == first
    await service.remove(db_url, ignore)
    await service.load(db_url, plan(seed=8), ignore)
    other = await held()
    assert [len(rows) for rows in (other["conversations"], first["conversations"])] == [400, 400]
    assert set(other["messages"]).isdisjoint(first["messages"])


async def test_a_login_without_rights_of_its_own_writes_the_same(
    furnished: House, db_url: str, service_url: str, plan: Plans, held: Read
) -> None:
    await service.load(db_url, plan(), ignore, trusting=True)
    first = await held()
    assert (await service.remove(service_url, ignore)).conversations == 400
    await service.load(service_url, plan(), ignore)
    assert await held() == first


async def test_dashboard_and_report_equal_a_recount_of_the_conversations(
    furnished: House, db_url: str, database: Database, plan: Plans
) -> None:
    now = plan().until
    done = await service.load(db_url, plan(conversations=800), ignore)
    assert done.hours > 200
    assert await furnished.look("SELECT 1 FROM rollups_dirty") == []
    seen = reports(database, now)
    range_ = (now - timedelta(days=8, minutes=13), now - timedelta(minutes=7))
    rolled = [await seen.performance(name, *range_) for name in ("carl", "lakshmi")], await seen.dashboard()
    await furnished.look("INSERT INTO rollups_dirty (hour) SELECT DISTINCT hour FROM rollups_hourly")
    raw = [await seen.performance(name, *range_) for name in ("carl", "lakshmi")], await seen.dashboard()
    assert raw[0] == rolled[0]
    assert raw[1].system_health.hours_to_count == done.hours
    assert raw[1].last_24_hours == rolled[1].last_24_hours
    assert raw[1].interpreters == rolled[1].interpreters

    counted = await furnished.look(
        "SELECT interpreter_id, count(*) FILTER (WHERE status = 'completed') AS held, count(rating) AS rated,"
        " sum(message_count) AS lines FROM conversations WHERE ended_at >= %s AND ended_at < %s"
        " GROUP BY interpreter_id ORDER BY interpreter_id",
        *range_,
    )
    for row, report in zip(counted, rolled[0], strict=True):
        assert (row["held"], row["rated"]) == (report.total.conversations, report.total.ratings.count)
        assert row["lines"] == report.total.messages
    releases = {(one.release, one.arm) for one in rolled[0][0].releases}
    assert releases == {(1, None), (2, None), (2, "warm")}


async def test_removing_takes_exactly_its_rows_away(
    furnished: House, talk: Callable[..., Talk], db_url: str, database: Database, plan: Plans, held: Read
) -> None:
    dreamer = await furnished.dreamer()
    for rating in (None, 4):
        await furnished.ended(dreamer, talk(rating=rating, ended_at=plan().until - timedelta(hours=3)))
    await Rollups(database).refresh()
    before = await held()
    await service.load(db_url, plan(), ignore)
    await service.load(db_url, plan(seed=2), ignore)
    assert len((await held())["conversations"]) == 802
    told: list[int] = []
    removed = await service.remove(db_url, told.append)
    assert (removed.conversations, removed.kept, sum(told)) == (800, 0, 800)
    assert await held() == before
    assert await service.made_up(db_url) == 0


async def test_a_made_up_dreamer_whom_somebody_used_stays_with_what_is_hers(
    furnished: House, talk: Callable[..., Talk], db_url: str, plan: Plans
) -> None:
    await service.load(db_url, plan(), ignore)
    used: UUID = (await furnished.look("SELECT user_id FROM profiles ORDER BY user_id LIMIT 1"))[0]["user_id"]
    own = await furnished.ended(used, talk())
    assert (await service.remove(db_url, ignore)).kept == 1
    assert await furnished.look("SELECT user_id FROM profiles") == [{"user_id": used}]
    assert await furnished.look("SELECT id FROM conversations") == [{"id": own}]


async def test_nothing_that_runs_hears_of_it(furnished: House, db_url: str, database: Database, plan: Plans) -> None:
    await service.load(db_url, plan(), ignore)
    later = datetime.now(UTC) + timedelta(days=1)
    async with database.as_service() as conn:
        assert await wrapup.waiting(conn, 10) == []
        assert await reconcile.due(conn, later, later, 10) == []
        moment = await monitoring.snapshot(conn, 10, later)
    assert (moment.active, moment.unreconciled) == (0, 0)
    for table in ("system_events", "jobs", "webhook_deliveries", "conversation_slots"):
        assert await furnished.look(f"SELECT 1 FROM {table}") == [], table


async def test_a_dreamer_sees_her_own_made_up_rows_and_no_others(
    furnished: House, db_url: str, database: Database, plan: Plans
) -> None:
    await service.load(db_url, plan(), ignore)
    visits = await furnished.look("SELECT user_id, count(*) AS n FROM conversations GROUP BY 1 ORDER BY 2 DESC")
    who = visits[0]
    async with database.as_dreamer({"sub": str(who["user_id"]), "role": "authenticated"}) as conn:
        cursor = await conn.execute("SELECT count(*), count(DISTINCT user_id) FROM conversations")
        assert await cursor.fetchone() == (who["n"], 1)
        cursor = await conn.execute("SELECT count(DISTINCT conversation_id) FROM messages")
        row = await cursor.fetchone()
    assert row is not None
    assert 0 < row[0] <= who["n"]


async def test_every_id_is_of_the_made_up_kind_and_no_drawn_id_is(
    furnished: House, talk: Callable[..., Talk], db_url: str, plan: Plans
) -> None:
    await service.load(db_url, plan(conversations=50, seed=(1 << 24) - 1), ignore)
    for table in ("profiles", "conversations", "messages", "conversation_sessions", "agent_metrics"):
        key = "user_id" if table == "profiles" else "id"
        ids = [row[key] for row in await furnished.look(f"SELECT {key} FROM {table}")]
        assert ids, table
        assert all(FIRST <= made <= LAST and made.version == 8 for made in ids)
    real = await furnished.ended(await furnished.dreamer(), talk())
    assert not FIRST <= real <= LAST


async def test_a_seed_is_used_once(furnished: House, db_url: str, plan: Plans) -> None:
    await service.load(db_url, plan(conversations=20), ignore)
    with pytest.raises(SetupError, match="seed 1 is there"):
        await service.load(db_url, plan(conversations=20), ignore)


async def test_without_an_active_interpreter_there_is_no_history(house: House, db_url: str, plan: Plans) -> None:
    with pytest.raises(SetupError, match="no interpreter is active"):
        await service.load(db_url, plan(), ignore)


async def test_of_two_loads_at_once_one_is_refused(furnished: House, db_url: str, plan: Plans) -> None:
    async with AsyncExitStack() as stack:
        conn = await stack.enter_async_context(await psycopg.AsyncConnection.connect(db_url, autocommit=True))
        assert await histories.alone(conn)
        with pytest.raises(SetupError, match="another load"):
            await service.load(db_url, plan(), ignore)
        await histories.leave(conn)
        await service.load(db_url, plan(conversations=20), ignore)


async def test_a_dreamer_who_was_erased_meanwhile_has_no_further_nights(
    furnished: House, db_url: str, plan: Plans
) -> None:
    with psycopg.connect(db_url, autocommit=True) as other:
        erased: list[UUID] = []

        def erase(_found: int) -> None:
            if not erased:
                row = other.execute("DELETE FROM profiles WHERE user_id = %s RETURNING user_id", (FIRST_DREAMER,))
                erased.extend(found[0] for found in row.fetchall())

        asked = plan(conversations=service.AT_ONCE + 500, days=30, messages=1)
        done = await service.load(db_url, asked, erase, trusting=True)
    assert erased == [FIRST_DREAMER]
    assert await furnished.look("SELECT 1 FROM conversations WHERE user_id = %s", FIRST_DREAMER) == []
    assert await furnished.look("SELECT 1 FROM profiles WHERE user_id = %s", FIRST_DREAMER) == []
    late = await furnished.look("SELECT 1 FROM conversations WHERE id >= %s", identity(asked.seed, service.AT_ONCE))
    assert len(late) == done.conversations - service.AT_ONCE < 500
    orphans = await furnished.look("SELECT conversation_id FROM messages EXCEPT SELECT id FROM conversations")
    assert orphans == []


FIRST_DREAMER = identity(1)
