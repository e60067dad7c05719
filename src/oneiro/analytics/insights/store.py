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
LONGEST: Final = 20_000
"""Characters that are read of one dream or conversation."""
MOST_CHARACTERS: Final = 200_000
"""Characters after which nothing further is read, dreams and conversations together: a second of a processor."""


@dataclass(frozen=True, slots=True)
class Told:
    """A dream or a conversation as it is read: what she wrote or said, in order, and the symbols she noted herself.

    `conversation_id` of a dream: the one in which it was told. `dream_id` of a conversation: the dream it was about.
    """

    is_talk: bool
    dream_id: UUID | None
    conversation_id: UUID | None
    date: datetime
    language: str | None
    texts: list[str]
    symbols: list[str]


async def dreams(conn: Connection, user_id: UUID) -> list[Told]:
    """The latest dreams that she keeps, as far as they may be read; a draft is not hers before she keeps it."""
    async with conn.cursor(row_factory=class_row(Told)) as cursor:
        await cursor.execute(
            """
            SELECT false AS is_talk, id AS dream_id, source_conversation_id AS conversation_id, created_at AS date,
                   NULL AS language, ARRAY[left(content, %(longest)s)] AS texts, symbols
            FROM (SELECT *, sum(length(content)) OVER (ORDER BY created_at DESC, id DESC) - length(content) AS before
                  FROM (SELECT id, source_conversation_id, created_at, symbols,
                               coalesce(title || E'\n', '') || content AS content
                        FROM dreams WHERE user_id = %(user_id)s AND status = 'kept'
                        ORDER BY created_at DESC, id DESC LIMIT %(limit)s) AS latest) AS measured
            WHERE before < %(characters)s
            """,
            {"user_id": user_id, "limit": MOST_DREAMS, "characters": MOST_CHARACTERS, "longest": LONGEST},
        )
        return await cursor.fetchall()


async def conversations(conn: Connection, user_id: UUID) -> list[Told]:
    """Her latest conversations, with what she said in them."""
    async with conn.cursor(row_factory=class_row(Told)) as cursor:
        await cursor.execute(
            """
            SELECT true AS is_talk, c.dream_id, c.id AS conversation_id, c.created_at AS date, c.language,
                   ARRAY(SELECT left(content, %(longest)s)
                         FROM (SELECT content, occurred_at, ordinal,
                                      sum(length(content)) OVER (ORDER BY occurred_at, ordinal)
                                      - length(content) AS before
                               FROM (SELECT m.content, m.occurred_at, m.ordinal FROM messages AS m
                                     WHERE m.conversation_id = c.id AND m.sender = 'user'
                                     ORDER BY m.occurred_at, m.ordinal LIMIT %(lines)s) AS first) AS measured
                         WHERE before < %(longest)s ORDER BY occurred_at, ordinal) AS texts,
                   '{}'::text[] AS symbols
            FROM conversations AS c
            WHERE c.user_id = %(user_id)s AND c.status IN ('active', 'completed')
            ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s
            """,
            {"user_id": user_id, "limit": MOST_CONVERSATIONS, "lines": MOST_LINES, "longest": LONGEST},
        )
        return await cursor.fetchall()


async def count(conn: Connection, user_id: UUID) -> int:
    """How many dreams and conversations she has that might be read."""
    cursor = await conn.execute(
        """
        SELECT (SELECT count(*) FROM dreams WHERE user_id = %(user_id)s AND status = 'kept')
             + (SELECT count(*) FROM conversations
                WHERE user_id = %(user_id)s AND status IN ('active', 'completed'))
        """,
        {"user_id": user_id},
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
