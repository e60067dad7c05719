"""What first words are made of, read from conversations and their messages."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from oneiro.database.pool import Connection

MOST_LINES: Final = 12
MOST_CHARACTERS: Final = 600


@dataclass(frozen=True, slots=True)
class Recalled:
    """The dreamer's latest conversation with an interpreter: its summary, and what she said, oldest line first."""

    summary: str | None
    language: str
    safety_tier: str
    said: list[str]


async def latest(conn: Connection, user_id: UUID, interpreter_id: str) -> Recalled | None:
    """The latest conversation in which something was said."""
    async with conn.cursor(row_factory=class_row(Recalled)) as cursor:
        await cursor.execute(
            """
            SELECT c.summary, c.language, c.safety_tier,
                   ARRAY(SELECT left(m.content, %(characters)s) FROM messages AS m
                         WHERE m.conversation_id = c.id AND m.sender = 'user'
                         ORDER BY m.occurred_at, m.ordinal LIMIT %(lines)s) AS said
            FROM conversations AS c
            WHERE c.user_id = %(user_id)s AND c.interpreter_id = %(interpreter_id)s AND c.status = 'completed'
              AND c.release_id IS NOT NULL AND c.message_count > 0
            ORDER BY c.created_at DESC LIMIT 1
            """,
            {
                "user_id": user_id,
                "interpreter_id": interpreter_id,
                "lines": MOST_LINES,
                "characters": MOST_CHARACTERS,
            },
        )
        return await cursor.fetchone()
