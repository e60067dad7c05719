"""The rows of `safety_flags`; they are written by a trigger on `system_events` and acknowledged here."""

from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row
from psycopg.sql import SQL

from oneiro.conversations.flags.models import Flag, WantedFlags
from oneiro.database.pool import Connection
from oneiro.http import Cursor

_FLAG: Final = SQL(
    """
    SELECT f.id, f.tier, f.user_id, f.conversation_id, c.interpreter_id, c.status, f.message_id, f.flagged_at,
           f.acknowledged_at, f.acknowledged_by
    FROM safety_flags AS f LEFT JOIN conversations AS c ON c.id = f.conversation_id
    """
)


async def select(conn: Connection, wanted: WantedFlags, limit: int, after: Cursor | None) -> list[Flag]:
    """Flags, the newest first, after a cursor."""
    statement = _FLAG + SQL(
        """
        WHERE (%(acknowledged)s::boolean IS NULL OR (f.acknowledged_at IS NOT NULL) = %(acknowledged)s)
          AND (%(tier)s::text IS NULL OR f.tier = %(tier)s)
          AND (%(interpreter_id)s::text IS NULL OR c.interpreter_id = %(interpreter_id)s)
          AND (%(status)s::text IS NULL OR c.status = %(status)s)
          AND (%(user_id)s::uuid IS NULL OR f.user_id = %(user_id)s)
          AND (%(since)s::timestamptz IS NULL OR f.flagged_at >= %(since)s)
          AND (%(at)s::timestamptz IS NULL OR (f.flagged_at, f.id) < (%(at)s, %(id)s::uuid))
        ORDER BY f.flagged_at DESC, f.id DESC LIMIT %(limit)s
        """
    )
    values = wanted._asdict() | {"limit": limit, "at": after and after.at, "id": after and after.uuid}
    async with conn.cursor(row_factory=class_row(Flag)) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchall()


async def of_conversation(conn: Connection, conversation_id: UUID) -> list[Flag]:
    """The flags of one conversation, the oldest first."""
    async with conn.cursor(row_factory=class_row(Flag)) as cursor:
        await cursor.execute(
            _FLAG + SQL("WHERE f.conversation_id = %s ORDER BY f.flagged_at, f.id"), (conversation_id,)
        )
        return await cursor.fetchall()


async def find(conn: Connection, flag_id: UUID) -> Flag | None:
    """One flag."""
    async with conn.cursor(row_factory=class_row(Flag)) as cursor:
        await cursor.execute(_FLAG + SQL("WHERE f.id = %s"), (flag_id,))
        return await cursor.fetchone()


async def acknowledge(conn: Connection, flag_id: UUID, by: str, now: datetime) -> bool:
    """Note who has seen to a flag; false when somebody did before."""
    result = await conn.execute(
        """
        UPDATE safety_flags SET acknowledged_at = %s, acknowledged_by = %s WHERE id = %s AND acknowledged_at IS NULL
        """,
        (now, by, flag_id),
    )
    return result.rowcount == 1
