"""Conversations as they are read for their numbers, and the rows of `conversation_analytics`."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from oneiro.analytics.conversations.models import Analysis, Facts, Line, Session
from oneiro.database.pool import Connection

VERSION: Final = 3
"""Raised whenever the computation changes, so that a replay of events computes anew what an older one computed."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of an event's conversation. `head`: events up to this position are visible to what follows.

    `computed_to`: events up to that position are in its row already.
    """

    over: bool
    head: int
    computed_to: int


async def known(conn: Connection, conversation_id: UUID) -> Known | None:
    """Whether a conversation is over and computed; None when it is gone, or never was led by us."""
    async with conn.cursor(row_factory=class_row(Known)) as cursor:
        await cursor.execute(
            """
            SELECT c.status IN ('completed', 'failed') AND c.ended_at IS NOT NULL AS over,
                   coalesce((SELECT position FROM event_cursors WHERE consumer = 'sequencer'), 0) AS head,
                   coalesce((SELECT computed_to FROM conversation_analytics AS a
                             WHERE a.conversation_id = c.id AND a.computed_by = %s), 0) AS computed_to
            FROM conversations AS c WHERE c.id = %s AND c.release_id IS NOT NULL
            """,
            (VERSION, conversation_id),
        )
        return await cursor.fetchone()


async def over(conn: Connection, conversation_ids: Collection[UUID]) -> set[UUID]:
    """Those of several conversations that are over."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT id FROM conversations
            WHERE id = ANY (%s) AND status IN ('completed', 'failed') AND ended_at IS NOT NULL
            """,
            (list(conversation_ids),),
        )
        return set(await cursor.fetchall())


async def hold(conn: Connection, conversation_id: UUID) -> bool:
    """Keep a conversation from being deleted, and its dreamer's consents from changing, while it is computed.

    False when it is gone. In this order, which is that of whoever deletes them.
    """
    held = await conn.execute("SELECT user_id FROM conversations WHERE id = %s FOR KEY SHARE", (conversation_id,))
    row = await held.fetchone()
    if row is not None:
        await conn.execute("SELECT 1 FROM profiles WHERE user_id = %s FOR SHARE", (row[0],))
    return row is not None


async def facts(conn: Connection, conversation_id: UUID) -> Facts | None:
    """A conversation that is over."""
    async with conn.cursor(row_factory=class_row(Facts)) as cursor:
        await cursor.execute(
            """
            SELECT c.id AS conversation_id, c.user_id, c.interpreter_id, c.release_id, c.arm_id, c.status, c.transport,
                   c.language, c.started_at, c.ended_at, c.end_reason, c.rating, c.upstream_calls, c.degraded,
                   c.agent_known, c.start_ms, coalesce(p.consents @> '{"analytics": true}', false) AS consented
            FROM conversations AS c LEFT JOIN profiles AS p ON p.user_id = c.user_id
            WHERE c.id = %s AND c.release_id IS NOT NULL AND c.status IN ('completed', 'failed')
              AND c.ended_at IS NOT NULL
            """,
            (conversation_id,),
        )
        return await cursor.fetchone()


async def lines(conn: Connection, conversation_id: UUID) -> list[Line]:
    """What was said, in order."""
    async with conn.cursor(row_factory=class_row(Line)) as cursor:
        await cursor.execute(
            """
            SELECT sender, content, occurred_at, session, metadata, original_content IS NOT NULL AS corrected
            FROM messages WHERE conversation_id = %s ORDER BY occurred_at, ordinal
            """,
            (conversation_id,),
        )
        return await cursor.fetchall()


async def sessions(conn: Connection, conversation_id: UUID) -> list[Session]:
    """Its sessions, in order."""
    async with conn.cursor(row_factory=class_row(Session)) as cursor:
        await cursor.execute(
            """
            SELECT session, session_start_time AS began_at, connected_at, session_end_time AS ended_at,
                   coalesce(connection_count, 0) AS connection_count, close_code, degraded,
                   ARRAY(SELECT coalesce(entry ->> 'code', 'unknown')
                         FROM jsonb_array_elements(coalesce(error_log, '[]')) AS entry) AS errors,
                   coalesce(session_metadata -> 'platform', '{}') AS platform
            FROM conversation_sessions WHERE conversation_id = %s ORDER BY session
            """,
            (conversation_id,),
        )
        return await cursor.fetchall()


async def upsert(conn: Connection, analysis: Analysis, *, source_event: UUID, computed_to: int, now: datetime) -> None:
    """Write a conversation's row, or write it anew; `source_event` stays that which it was first computed for."""
    facts = analysis.facts
    await conn.execute(
        """
        INSERT INTO conversation_analytics AS a (
            conversation_id, user_id, interpreter_id, release_id, arm_id, session_duration_seconds, message_count,
            user_satisfaction_score, completion_reason, topics_discussed, sentiment_analysis, engagement_score,
            response_time_ms, snapshot, ended_at, counts, counts_of_words, source_event, computed_to, computed_by,
            created_at)
        VALUES (
            %(conversation_id)s, %(user_id)s, %(interpreter_id)s, %(release_id)s, %(arm_id)s, %(seconds)s,
            %(messages)s, %(rating)s, %(completion)s, %(topics)s, %(sentiment)s, %(engagement)s, %(response_time)s,
            %(snapshot)s, %(ended_at)s, %(counts)s, %(counts_of_words)s, %(source_event)s, %(computed_to)s,
            %(version)s, %(now)s)
        ON CONFLICT (conversation_id) DO UPDATE SET
            session_duration_seconds = excluded.session_duration_seconds, message_count = excluded.message_count,
            user_satisfaction_score = excluded.user_satisfaction_score,
            completion_reason = excluded.completion_reason, topics_discussed = excluded.topics_discussed,
            sentiment_analysis = excluded.sentiment_analysis, engagement_score = excluded.engagement_score,
            response_time_ms = excluded.response_time_ms, snapshot = excluded.snapshot, ended_at = excluded.ended_at,
            counts = excluded.counts, counts_of_words = excluded.counts_of_words,
            computed_to = greatest(a.computed_to, excluded.computed_to), computed_by = excluded.computed_by
        """,
        {
            "conversation_id": facts.conversation_id,
            "user_id": facts.user_id,
            "interpreter_id": facts.interpreter_id,
            "release_id": facts.release_id,
            "arm_id": facts.arm_id,
            "seconds": analysis.duration_seconds,
            "messages": analysis.message_count,
            "rating": facts.rating,
            "completion": analysis.completion_reason,
            "topics": None if analysis.topics is None else Jsonb(analysis.topics),
            "sentiment": None if analysis.sentiment is None else Jsonb(analysis.sentiment),
            "engagement": analysis.engagement,
            "response_time": Jsonb(analysis.response_time),
            "snapshot": Jsonb(analysis.snapshot),
            "ended_at": facts.ended_at,
            "counts": Jsonb(analysis.counts),
            "counts_of_words": Jsonb(analysis.counts_of_words),
            "source_event": source_event,
            "computed_to": computed_to,
            "version": VERSION,
            "now": now,
        },
    )
