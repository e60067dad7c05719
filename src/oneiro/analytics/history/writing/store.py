"""Rows of a made-up history.

A night is staged as a few numbers; what its rows hold stands in the tables of talks, lines, sessions and leads, so that
a conversation with all that belongs to it costs a hundred bytes on the way.

This is the one store that writes the tables of other features (dreamers, conversations, analytics): theirs write a row
at a time, and a million nights take a set-based statement for each table. A test holds its rows to be those that the
features' own stores write.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple
from typing import Any, Final, LiteralString

from psycopg import sql
from psycopg.types.json import Json

from oneiro.analytics.conversations.store import VERSION
from oneiro.analytics.history.models import LINES, Dreamer, Lead, Night, Talk, identity
from oneiro.database.pool import Connection

_TABLES: Final[LiteralString] = """
    CREATE FUNCTION pg_temp.history_id(prefix text, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE AS
        $$SELECT (prefix || lpad(to_hex(number), 12, '0'))::uuid$$; -- `identity` in SQL
    CREATE TEMPORARY TABLE history_talks (
        talk int PRIMARY KEY, status text, transport text, text_only boolean, language text, length interval,
        end_reason text, rating int, upstream_calls int, degraded boolean, agent_known boolean, start_ms int,
        messages int, connections int,
        duration int, completion text, engagement numeric, topics jsonb, sentiment jsonb, response_time jsonb,
        snapshot jsonb, counts jsonb, counts_of_words jsonb);
    CREATE TEMPORARY TABLE history_lines (
        talk int, place int, sender text, content text, before interval, session int, event_id text, metadata jsonb);
    CREATE TEMPORARY TABLE history_sessions (
        talk int, session int, began interval, connected interval, ended interval, connections int, close_code int,
        status text, errors jsonb, metadata jsonb);
    CREATE TEMPORARY TABLE history_measures (talk int, place int, type text, value numeric, metadata jsonb);
    CREATE TEMPORARY TABLE history_leads (
        lead int PRIMARY KEY, interpreter_id text, release_id uuid, arm_id uuid, agent_id text);
    CREATE TEMPORARY TABLE history_dreamers (
        user_id uuid, language text, region text, birth_year int, consented boolean, came_ms bigint,
        came_at timestamptz GENERATED ALWAYS AS (to_timestamp(came_ms / 1000.0)) STORED);
    CREATE TEMPORARY TABLE history_nights (
        number bigint, id uuid, user_id uuid, talk int, lead int, ended_ms bigint,
        ended_at timestamptz GENERATED ALWAYS AS (to_timestamp(ended_ms / 1000.0)) STORED);
"""


async def stage(conn: Connection, talks: Sequence[Talk], led: Sequence[Lead]) -> None:
    """Put down for this connection what nights are made of."""
    await conn.execute(_TABLES)
    await _copy(conn, "history_talks", (_talk(number, talk) for number, talk in enumerate(talks)))
    await _copy(conn, "history_lines", _lines(talks))
    await _copy(conn, "history_sessions", _sessions(talks))
    await _copy(
        conn,
        "history_measures",
        (
            (number, place, measure.type, measure.value, Json(measure.metadata))
            for number, talk in enumerate(talks)
            for place, measure in enumerate(talk.measures)
        ),
    )
    await _copy(conn, "history_leads", ((number, *astuple(lead)) for number, lead in enumerate(led)))
    await conn.execute("ANALYZE history_talks, history_lines, history_sessions, history_measures, history_leads")


async def hold(conn: Connection) -> int:
    """Keep interpreters' releases and arms from being deleted until the transaction ends; how many there are."""
    cursor = await conn.execute(
        """
        WITH releases AS (
            SELECT 1 FROM interpreter_releases WHERE id IN (SELECT release_id FROM history_leads) FOR KEY SHARE
        ), arms AS (
            SELECT 1 FROM experiment_arms WHERE id IN (SELECT arm_id FROM history_leads) FOR KEY SHARE
        )
        SELECT (SELECT count(*) FROM releases) + (SELECT count(*) FROM arms)
        """
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def write(conn: Connection, seed: int, dreamers: Sequence[Dreamer], nights: Sequence[Night]) -> int:
    """Write new dreamers and a batch of nights with all that belongs to them; how many nights there were in the end."""
    prefix = str(identity(seed))[:24]
    await conn.execute("TRUNCATE history_dreamers, history_nights")
    # Numbers and words of ours: nothing that would have to be escaped.
    await _copy_text(
        conn,
        "history_dreamers (user_id, language, region, birth_year, consented, came_ms)",
        "".join(
            f"{prefix}{one.number:012x}\t{one.language}\t{one.region}\t{one.birth_year}\t{one.consented}\t{one.came_ms}\n"
            for one in dreamers
        ),
    )
    await _copy_text(
        conn,
        "history_nights (number, id, user_id, talk, lead, ended_ms)",
        "".join(
            f"{number}\t{prefix}{number:012x}\t{prefix}{dreamer:012x}\t{talk}\t{lead}\t{ended}\n"
            for number, dreamer, talk, lead, ended in nights
        ),
    )
    await conn.execute("ANALYZE history_nights")
    for statement in _WRITTEN:
        await conn.execute(statement, {"prefix": prefix, "lines": LINES, "version": VERSION})
    cursor = await conn.execute("SELECT count(*) FROM history_nights")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


_WRITTEN: Final[tuple[LiteralString, ...]] = (
    """
    INSERT INTO profiles (user_id, language, region, birth_year, consents, created_at, updated_at)
    SELECT user_id, language, region, birth_year,
           jsonb_build_object('voice', true, 'memory', false, 'analytics', consented), came_at, came_at
    FROM history_dreamers
    """,
    # A dreamer who was erased meanwhile has no further nights.
    """
    WITH held AS MATERIALIZED (
        SELECT user_id FROM profiles
        WHERE user_id IN (SELECT user_id FROM history_nights) FOR KEY SHARE
    )
    DELETE FROM history_nights WHERE user_id NOT IN (SELECT user_id FROM held)
    """,
    """
    INSERT INTO conversations (
        id, user_id, interpreter_id, status, transport, text_only, language, release_id, arm_id, agent_id,
        upstream_calls, started_at, ended_at, end_reason, error_code, last_activity_at, rating, connection_count,
        message_count, degraded, agent_known, start_ms, metadata, created_at, wrapped_up_at)
    SELECT n.id, n.user_id, l.interpreter_id, t.status, t.transport, t.text_only, t.language,
           l.release_id, l.arm_id, l.agent_id, t.upstream_calls,
           CASE WHEN t.status = 'completed' THEN n.ended_at - t.length END, n.ended_at, t.end_reason,
           CASE WHEN t.status = 'failed' AND t.end_reason = 'error' THEN 'platform_unavailable' END, n.ended_at,
           t.rating, t.connections, t.messages, t.degraded, t.agent_known, t.start_ms,
           '{"generated": true}', n.ended_at - t.length, n.ended_at
    FROM history_nights AS n JOIN history_talks AS t USING (talk) JOIN history_leads AS l USING (lead)
    """,
    """
    INSERT INTO conversation_sessions (
        id, conversation_id, session_start_time, session_end_time, session_status, connection_count, last_activity_at,
        session_metadata, error_log, session, agent_id, connected_at, close_code, degraded, reconciled_at)
    SELECT pg_temp.history_id(%(prefix)s, n.number * %(lines)s + s.session), n.id, n.ended_at - s.began,
           n.ended_at - s.ended, s.status, s.connections, n.ended_at - s.ended, s.metadata, s.errors, s.session,
           l.agent_id, n.ended_at - s.connected, s.close_code, t.degraded, n.ended_at
    FROM history_nights AS n JOIN history_sessions AS s USING (talk) JOIN history_talks AS t USING (talk)
    JOIN history_leads AS l USING (lead)
    """,
    """
    INSERT INTO messages (
        id, conversation_id, sender, content, event_id, session, metadata, created_at, occurred_at)
    SELECT pg_temp.history_id(%(prefix)s, n.number * %(lines)s + m.place), n.id, m.sender, m.content, m.event_id,
           m.session, m.metadata, n.ended_at - m.before, n.ended_at - m.before
    FROM history_nights AS n JOIN history_lines AS m USING (talk)
    """,
    """
    INSERT INTO conversation_analytics (
        id, conversation_id, user_id, interpreter_id, release_id, arm_id, session_duration_seconds, message_count,
        user_satisfaction_score, completion_reason, topics_discussed, sentiment_analysis, engagement_score,
        response_time_ms, snapshot, ended_at, counts, counts_of_words, computed_by, created_at,
        updated_at)
    SELECT n.id, n.id, n.user_id, l.interpreter_id, l.release_id, l.arm_id, t.duration,
           t.messages, t.rating, t.completion, t.topics, t.sentiment, t.engagement, t.response_time, t.snapshot,
           n.ended_at, t.counts, t.counts_of_words, %(version)s, n.ended_at, n.ended_at
    FROM history_nights AS n JOIN history_talks AS t USING (talk) JOIN history_leads AS l USING (lead)
    """,
    """
    INSERT INTO agent_metrics (
        id, agent_id, interpreter_id, conversation_id, metric_type, metric_value, metadata, recorded_at)
    SELECT pg_temp.history_id(%(prefix)s, n.number * %(lines)s + m.place), l.agent_id, l.interpreter_id, n.id, m.type,
           m.value, m.metadata, n.ended_at
    FROM history_nights AS n JOIN history_measures AS m USING (talk) JOIN history_leads AS l USING (lead)
    """,
    # The trigger of the table does so where it is asked; twice does no harm.
    """
    INSERT INTO rollups_dirty (hour) SELECT DISTINCT date_bin('1 hour', ended_at, 'epoch') FROM history_nights
    """,
)


async def _copy(conn: Connection, into: LiteralString, rows: Iterable[Sequence[Any]]) -> None:
    async with conn.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.SQL(into))) as copy:
        for row in rows:
            await copy.write_row(row)


async def _copy_text(conn: Connection, into: LiteralString, text: str) -> None:
    async with conn.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(sql.SQL(into))) as copy:
        await copy.write(text)


def _talk(number: int, talk: Talk) -> tuple[Any, ...]:
    outline, numbers = talk.outline, talk.analysis
    return (
        number,
        outline.status,
        outline.transport,
        outline.text_only,
        outline.language,
        _interval(outline.milliseconds),
        outline.end_reason,
        outline.rating,
        outline.upstream_calls,
        outline.degraded,
        outline.agent_known,
        outline.start_ms,
        len(outline.lines),
        sum(sitting.connection_count for sitting in outline.sittings),
        numbers.duration_seconds,
        numbers.completion_reason,
        numbers.engagement,
        None if numbers.topics is None else Json(numbers.topics),
        None if numbers.sentiment is None else Json(numbers.sentiment),
        Json(numbers.response_time),
        Json(numbers.snapshot),
        Json(numbers.counts),
        Json(numbers.counts_of_words),
    )


def _lines(talks: Sequence[Talk]) -> Iterable[tuple[Any, ...]]:
    for number, talk in enumerate(talks):
        for place, said in enumerate(talk.outline.lines):
            before = _interval(said.before_ms)
            text = (said.sender, said.content, before, said.session, said.event_id, Json(said.metadata))
            yield (number, place, *text)


def _sessions(talks: Sequence[Talk]) -> Iterable[tuple[Any, ...]]:
    for number, talk in enumerate(talks):
        for one in talk.outline.sittings:
            yield (
                number,
                one.session,
                _interval(one.began_ms),
                None if one.connected_ms is None else _interval(one.connected_ms),
                _interval(one.ended_ms),
                one.connection_count,
                one.close_code,
                one.status,
                Json(list(one.errors)),
                Json(one.metadata),
            )


def _interval(milliseconds: int) -> str:
    return f"{milliseconds} ms"
