"""Ending many conversations as one statement, and interrupting those of a process that stops."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from oneiro.database.pool import Connection
from oneiro.events import bell

Verdict = Literal["lapsed", "idle", "paused", "shut_down", "abandoned"]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The present, and the moments before which a sign of life or a pause is too long ago."""

    now: datetime
    idle: datetime
    paused: datetime


async def end_overdue(conn: Connection, deadlines: Deadlines, limit: int) -> dict[Verdict, int]:
    """End conversations that are overdue, with their events; how many of each kind.

    Those that somebody works on just now are passed over: they show life, or the next sweep finds them. Rows without
    a release are a host application's. A conversation ended with its last sign of life, or with its pause. One whose
    relay died is abandoned: nobody has renewed its slot, and nobody has resumed it, for as long as a pause may last.
    """
    cursor = await conn.execute(
        """
        WITH due AS (
            SELECT c.id, c.paused_at,
                   CASE
                       WHEN c.status = 'initializing' OR (
                           c.connection_count = 0 AND c.message_count = 0 AND c.expires_at < %(now)s
                       ) THEN 'lapsed'
                       WHEN c.paused_at IS NULL AND c.last_activity_at < %(idle)s THEN 'idle'
                       WHEN c.paused_at IS NULL THEN 'abandoned'
                       WHEN EXISTS (
                           SELECT FROM conversation_sessions AS s
                           WHERE s.conversation_id = c.id AND s.session_metadata @> '{"shutdown": true}'
                             AND s.session_status = 'paused'
                       ) THEN 'shut_down'
                       ELSE 'paused'
                   END AS verdict
            FROM conversations AS c
            WHERE c.status IN ('initializing', 'active') AND c.release_id IS NOT NULL
              AND CASE
                  WHEN c.status = 'initializing' THEN c.expires_at < %(now)s
                  WHEN c.paused_at IS NOT NULL THEN c.paused_at < %(paused)s
                  ELSE c.last_activity_at < %(idle)s
                       OR (c.connection_count = 0 AND c.message_count = 0 AND c.expires_at < %(now)s)
                       OR (c.transport = 'relay' AND c.connection_count > 0 AND c.last_activity_at < %(paused)s
                           AND NOT EXISTS (
                               SELECT FROM conversation_slots AS slot
                               WHERE slot.conversation_id = c.id AND slot.leased_until > %(paused)s
                           ))
              END
            ORDER BY c.last_activity_at
            LIMIT %(limit)s
            FOR NO KEY UPDATE OF c SKIP LOCKED
        ), ended AS (
            UPDATE conversations AS c
            SET status = CASE due.verdict WHEN 'lapsed' THEN 'failed' ELSE 'completed' END,
                end_reason = CASE due.verdict
                    WHEN 'lapsed' THEN 'never_connected' WHEN 'shut_down' THEN 'system_shutdown' ELSE 'timeout' END,
                error_code = CASE due.verdict WHEN 'lapsed' THEN 'never_connected' ELSE c.error_code END,
                started_at = CASE due.verdict WHEN 'lapsed' THEN NULL ELSE c.started_at END,
                ended_at = CASE due.verdict
                    WHEN 'lapsed' THEN %(now)s WHEN 'idle' THEN greatest(c.last_activity_at, c.started_at)
                    WHEN 'abandoned' THEN greatest(c.last_activity_at, c.started_at)
                    ELSE due.paused_at END,
                paused_at = NULL
            FROM due
            WHERE c.id = due.id
            RETURNING c.id, c.user_id, due.verdict, c.end_reason, c.message_count, c.started_at, c.ended_at
        ), closed AS (
            UPDATE conversation_sessions AS s
            SET session_status = CASE ended.verdict WHEN 'lapsed' THEN 'error' ELSE 'ended' END,
                session_end_time = coalesce(s.session_end_time, ended.ended_at)
            FROM ended
            WHERE s.conversation_id = ended.id AND s.session_status IN ('active', 'paused')
        ), freed AS (
            DELETE FROM conversation_slots AS slot USING ended WHERE slot.conversation_id = ended.id
        ), told AS (
            INSERT INTO system_events (event_type, entity_type, entity_id, event_data, user_id, conversation_id)
            SELECT e.type, 'conversation', ended.id::text, e.data, ended.user_id, ended.id
            FROM ended
            CROSS JOIN LATERAL (
                SELECT 1 AS step, 'conversation.failed' AS type, jsonb_build_object('code', ended.end_reason) AS data
                WHERE ended.verdict = 'lapsed'
                UNION ALL
                SELECT 1, 'conversation.ended', jsonb_build_object(
                    'reason', ended.end_reason, 'messages', ended.message_count, 'seconds',
                    round(coalesce(extract(epoch FROM ended.ended_at - ended.started_at), 0))::integer)
                WHERE ended.verdict <> 'lapsed'
                UNION ALL
                SELECT 2, 'conversation.timed_out', jsonb_build_object('after', ended.verdict)
                WHERE ended.end_reason = 'timeout'
            ) AS e
            ORDER BY ended.id, e.step
        )
        SELECT verdict, count(*) FROM ended GROUP BY verdict
        """,
        {"now": deadlines.now, "idle": deadlines.idle, "paused": deadlines.paused, "limit": limit},
    )
    found: dict[Verdict, int] = {row[0]: row[1] for row in await cursor.fetchall()}
    if found:
        bell.mark(conn, bell.WRITTEN)
    return found


async def free_lapsed(conn: Connection, before: datetime) -> None:
    """Drop leases that lapsed long ago; they count for nothing since then."""
    await conn.execute("DELETE FROM conversation_slots WHERE leased_until <= %s", (before,))


async def interrupt(conn: Connection, conversation_ids: list[UUID], now: datetime) -> int:
    """Pause open conversations whose process stops, so that their clients resume elsewhere; how many."""
    cursor = await conn.execute(
        """
        WITH held AS (
            SELECT id FROM conversations
            WHERE id = ANY (%(ids)s) AND status = 'active' AND paused_at IS NULL AND release_id IS NOT NULL
            ORDER BY id FOR NO KEY UPDATE
        ), paused AS (
            UPDATE conversations AS c SET paused_at = %(now)s FROM held WHERE c.id = held.id RETURNING c.id, c.user_id
        ), sessions AS (
            UPDATE conversation_sessions AS s
            SET session_status = 'paused', session_end_time = %(now)s,
                session_metadata = coalesce(s.session_metadata, '{}') || '{"shutdown": true}'
            FROM paused WHERE s.conversation_id = paused.id AND s.session_status = 'active'
            RETURNING s.conversation_id, s.session
        ), freed AS (
            DELETE FROM conversation_slots AS slot USING paused WHERE slot.conversation_id = paused.id
        ), told AS (
            INSERT INTO system_events (event_type, entity_type, entity_id, event_data, user_id, conversation_id)
            SELECT 'conversation.paused', 'conversation', paused.id::text,
                   jsonb_build_object('session', sessions.session, 'reason', 'system_shutdown'),
                   paused.user_id, paused.id
            FROM paused LEFT JOIN sessions ON sessions.conversation_id = paused.id
        )
        SELECT count(*) FROM paused
        """,
        {"ids": conversation_ids, "now": now},
    )
    row = await cursor.fetchone()
    assert row is not None
    if row[0]:
        bell.mark(conn, bell.WRITTEN)
    return int(row[0])
