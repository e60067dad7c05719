"""The rows of `webhook_inbox`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from oneiro.database.pool import Connection
from oneiro.webhooks.inbox.letter import Letter


@dataclass(frozen=True, slots=True)
class Waiting:
    """A webhook that is not handled yet."""

    id: UUID
    body: dict[str, Any]
    received_at: datetime


async def insert(conn: Connection, letter: Letter, now: datetime) -> UUID | None:
    """Keep a webhook once; None when it came before. One without a body has nothing to be handled."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            INSERT INTO webhook_inbox (delivery_key, event_type, elevenlabs_conversation_id, body, received_at,
                                       handled_at)
            VALUES (%(key)s, %(kind)s, %(conversation_id)s, %(body)s, %(now)s,
                    CASE WHEN %(body)s::jsonb IS NULL THEN %(now)s END)
            ON CONFLICT (source, delivery_key) DO NOTHING
            RETURNING id
            """,
            {
                "key": letter.key,
                "kind": letter.kind,
                "conversation_id": letter.conversation_id,
                "body": None if letter.body is None else Jsonb(letter.body),
                "now": now,
            },
        )
        return await cursor.fetchone()


async def waiting(conn: Connection, inbox_id: UUID) -> Waiting | None:
    """A webhook, unless it was handled already."""
    async with conn.cursor(row_factory=class_row(Waiting)) as cursor:
        await cursor.execute(
            "SELECT id, body, received_at FROM webhook_inbox WHERE id = %s AND handled_at IS NULL AND body IS NOT NULL",
            (inbox_id,),
        )
        return await cursor.fetchone()


async def finish(conn: Connection, inbox_id: UUID, error_code: str | None, now: datetime) -> None:
    """Note that a webhook is handled, and forget what was said in it."""
    await conn.execute(
        "UPDATE webhook_inbox SET body = NULL, handled_at = %s, error_code = %s WHERE id = %s AND handled_at IS NULL",
        (now, error_code, inbox_id),
    )


async def give_up(conn: Connection, before: datetime, now: datetime) -> int:
    """Forget what nobody could handle of the webhooks received before a time; returns how many."""
    result = await conn.execute(
        """
        UPDATE webhook_inbox SET body = NULL, handled_at = %s, error_code = 'given_up'
        WHERE handled_at IS NULL AND received_at < %s
        """,
        (now, before),
    )
    return result.rowcount


async def delete_old(conn: Connection, before: datetime, limit: int) -> int:
    """Delete handled webhooks that were received before a time; returns how many."""
    result = await conn.execute(
        """
        DELETE FROM webhook_inbox WHERE id IN (
            SELECT id FROM webhook_inbox WHERE handled_at IS NOT NULL AND received_at < %s
            ORDER BY received_at LIMIT %s
        )
        """,
        (before, limit),
    )
    return result.rowcount
