"""Anybody's conversations, read; those that a host application led itself are none of our business."""

from typing import Final
from uuid import UUID

from psycopg.rows import class_row
from psycopg.sql import SQL

from oneiro.conversations.operating.models import (
    ConversationDetail,
    ConversationItem,
    ConversationMetrics,
    OperatedSession,
    WantedConversations,
)
from oneiro.database.pool import Connection
from oneiro.http import Cursor

_ITEM: Final = SQL(
    """
    c.id AS conversation_id, c.user_id, c.interpreter_id, r.number AS release, a.name AS arm, c.status, c.transport,
    c.text_only, c.language, c.model, c.created_at, c.started_at, c.paused_at, c.ended_at, c.end_reason, c.error_code,
    c.connection_count, c.message_count, c.degraded, c.safety_tier
    """
)
_FROM: Final = SQL(
    """
    FROM conversations AS c
    JOIN interpreter_releases AS r ON r.id = c.release_id
    LEFT JOIN experiment_arms AS a ON a.id = c.arm_id
    """
)


async def select(
    conn: Connection, wanted: WantedConversations, limit: int, after: Cursor | None
) -> list[ConversationItem]:
    """Conversations, the newest first, after a cursor."""
    statement = SQL(
        """
        SELECT {item} {source}
        WHERE c.release_id IS NOT NULL
          AND (%(interpreter_id)s::text IS NULL OR c.interpreter_id = %(interpreter_id)s)
          AND (%(status)s::text IS NULL OR c.status = %(status)s)
          AND (%(tier)s::text IS NULL OR c.safety_tier = %(tier)s)
          AND (%(user_id)s::uuid IS NULL OR c.user_id = %(user_id)s)
          AND (%(since)s::timestamptz IS NULL OR c.created_at >= %(since)s)
          AND (%(at)s::timestamptz IS NULL OR (c.created_at, c.id) < (%(at)s, %(id)s::uuid))
        ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s
        """
    ).format(item=_ITEM, source=_FROM)
    values = wanted._asdict() | {"limit": limit, "at": after and after.at, "id": after and after.uuid}
    async with conn.cursor(row_factory=class_row(ConversationItem)) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchall()


async def item(conn: Connection, conversation_id: UUID) -> ConversationItem | None:
    """One conversation as the list shows it."""
    statement = SQL("SELECT {item} {source} WHERE c.id = %s").format(item=_ITEM, source=_FROM)
    async with conn.cursor(row_factory=class_row(ConversationItem)) as cursor:
        await cursor.execute(statement, (conversation_id,))
        return await cursor.fetchone()


async def detail(conn: Connection, conversation_id: UUID) -> ConversationDetail | None:
    """One conversation, without its sessions, metrics and flags."""
    statement = SQL(
        """
        SELECT {item}, c.dream_id, a.experiment_id, c.agent_id, c.prompt_sha256, c.variable_names, c.upstream_calls,
               c.rating
        {source} WHERE c.id = %s
        """
    ).format(item=_ITEM, source=_FROM)
    async with conn.cursor(row_factory=class_row(ConversationDetail)) as cursor:
        await cursor.execute(statement, (conversation_id,))
        return await cursor.fetchone()


async def sessions(conn: Connection, conversation_id: UUID) -> list[OperatedSession]:
    """The sessions of one conversation, in order."""
    async with conn.cursor(row_factory=class_row(OperatedSession)) as cursor:
        await cursor.execute(
            """
            SELECT session, elevenlabs_conversation_id, agent_id, session_status, session_start_time, connected_at,
                   session_end_time, close_code, degraded, reconciled_at, coalesce(error_log, '[]') AS errors
            FROM conversation_sessions WHERE conversation_id = %s ORDER BY session
            """,
            (conversation_id,),
        )
        return await cursor.fetchall()


async def metrics(conn: Connection, conversation_id: UUID) -> ConversationMetrics | None:
    """What analytics measured in one conversation, without what it read from words."""
    async with conn.cursor(row_factory=class_row(ConversationMetrics)) as cursor:
        await cursor.execute(
            """
            SELECT session_duration_seconds, message_count, user_satisfaction_score, engagement_score,
                   completion_reason, response_time_ms
            FROM conversation_analytics WHERE conversation_id = %s
            """,
            (conversation_id,),
        )
        return await cursor.fetchone()
