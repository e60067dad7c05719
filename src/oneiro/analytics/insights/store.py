"""A dreamer's own rows; each statement runs as the dreamer and names her, so two locks stand before a row."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from oneiro.database.pool import Connection

MOST_DREAMS: Final = 300
MOST_CONVERSATIONS: Final = 100
MOST_LINES: Final = 200
"""Lines of hers that are read of one conversation."""


@dataclass(frozen=True, slots=True)
class Told:
    """A dream or a conversation as it is read: what she wrote or said, in order, and the symbols she noted herself.

    `source`: the conversation in which a dream was told. `dream_id` of a conversation: the dream it was about.
    """

    dream_id: UUID | None
    conversation_id: UUID | None
    date: datetime
    language: str | None
    texts: list[str]
    symbols: list[str]


async def dreams(conn: Connection, user_id: UUID) -> list[Told]:
    """The latest dreams that she keeps; a draft is not hers before she keeps it."""
    async with conn.cursor(row_factory=class_row(Told)) as cursor:
        await cursor.execute(
            """
            SELECT id AS dream_id, source_conversation_id AS conversation_id, created_at AS date, NULL AS language,
                   ARRAY[coalesce(title || E'\n', '') || content] AS texts, symbols
            FROM dreams WHERE user_id = %s AND status = 'kept'
            ORDER BY created_at DESC, id DESC LIMIT %s
            """,
            (user_id, MOST_DREAMS),
        )
        return await cursor.fetchall()


async def conversations(conn: Connection, user_id: UUID) -> list[Told]:
    """Her latest conversations, with what she said in them."""
    async with conn.cursor(row_factory=class_row(Told)) as cursor:
        await cursor.execute(
            """
            SELECT c.dream_id, c.id AS conversation_id, c.created_at AS date, c.language,
                   ARRAY(SELECT m.content FROM messages AS m
                         WHERE m.conversation_id = c.id AND m.sender = 'user'
                         ORDER BY m.occurred_at, m.ordinal LIMIT %(lines)s) AS texts,
                   '{}'::text[] AS symbols
            FROM conversations AS c
            WHERE c.user_id = %(user_id)s AND c.status IN ('active', 'completed')
            ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s
            """,
            {"user_id": user_id, "limit": MOST_CONVERSATIONS, "lines": MOST_LINES},
        )
        return await cursor.fetchall()
