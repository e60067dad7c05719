"""Summaries in `conversations` and drafts in `dreams`, written by the service for the dreamer."""

from datetime import datetime
from uuid import UUID

from psycopg.rows import scalar_row

from oneiro.conversations.wrapup.telling import Draft
from oneiro.database.pool import Connection


async def mark(conn: Connection, conversation_id: UUID, summary: str, now: datetime) -> bool:
    """Write the summary, once: false when the conversation was wrapped up before; a summary that stands stays."""
    result = await conn.execute(
        """
        UPDATE conversations SET wrapped_up_at = %s, summary = coalesce(summary, %s)
        WHERE id = %s AND wrapped_up_at IS NULL AND status = 'completed'
        """,
        (now, summary, conversation_id),
    )
    return result.rowcount == 1


async def replace_summary(conn: Connection, conversation_id: UUID, old: str | None, new: str) -> bool:
    """Put a better summary where this one stands; false when another one came meanwhile."""
    result = await conn.execute(
        """
        UPDATE conversations SET summary = %s
        WHERE id = %s AND release_id IS NOT NULL AND status = 'completed' AND summary IS NOT DISTINCT FROM %s
        """,
        (new, conversation_id, old),
    )
    return result.rowcount == 1


async def summary(conn: Connection, conversation_id: UUID) -> str | None:
    """The summary of a conversation, if it has one."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT summary FROM conversations WHERE id = %s", (conversation_id,))
        found: str | None = await cursor.fetchone()
    return found


async def disclosures(conn: Connection, conversation_id: UUID) -> list[str]:
    """The ids of what the dreamer was told in this conversation about whom her words go to."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT DISTINCT event_data ->> 'disclosure' FROM system_events
            WHERE conversation_id = %s AND event_type = 'disclosure.given'
            """,
            (conversation_id,),
        )
        found: list[str] = await cursor.fetchall()
    return found


async def insert_draft(conn: Connection, user_id: UUID, conversation_id: UUID, draft: Draft) -> None:
    """Put a dream into the journal that its dreamer can keep or drop."""
    await conn.execute(
        """
        INSERT INTO dreams (user_id, title, content, symbols, status, source_conversation_id)
        VALUES (%s, %s, %s, %s, 'draft', %s)
        """,
        (user_id, draft.title, draft.content, draft.symbols, conversation_id),
    )


async def waiting(conn: Connection, limit: int) -> list[UUID]:
    """Ended conversations that nobody has wrapped up yet, the oldest first."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT id FROM conversations
            WHERE status = 'completed' AND wrapped_up_at IS NULL AND release_id IS NOT NULL
            ORDER BY ended_at LIMIT %s
            """,
            (limit,),
        )
        found: list[UUID] = await cursor.fetchall()
    return found
