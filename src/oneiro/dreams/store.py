"""The rows of `dreams`; each statement runs as the dreamer and names her, so two locks stand before a row."""

from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row

from oneiro.database.pool import Connection
from oneiro.dreams.models import Dream, NewDream
from oneiro.http import Cursor


async def insert(conn: Connection, user_id: UUID, dream: NewDream) -> Dream:
    """Write a dream down."""
    async with conn.cursor(row_factory=class_row(Dream)) as cursor:
        await cursor.execute(
            """
            INSERT INTO dreams (user_id, title, content, symbols, interpretation, interpretation_date)
            VALUES (%s, %s, %s, %s, %s, %s)
            RETURNING id, title, content, symbols, interpretation, interpretation_date, status,
                      source_conversation_id AS conversation_id, created_at, updated_at
            """,
            (user_id, dream.title, dream.content, dream.symbols, dream.interpretation, dream.interpretation_date),
        )
        row = await cursor.fetchone()
    assert row is not None
    return row


async def find(conn: Connection, user_id: UUID, dream_id: UUID) -> Dream | None:
    """One dream of this dreamer."""
    async with conn.cursor(row_factory=class_row(Dream)) as cursor:
        await cursor.execute(
            """
            SELECT id, title, content, symbols, interpretation, interpretation_date, status,
                   source_conversation_id AS conversation_id, created_at, updated_at
            FROM dreams WHERE id = %s AND user_id = %s
            """,
            (dream_id, user_id),
        )
        return await cursor.fetchone()


async def select(conn: Connection, user_id: UUID, limit: int, after: Cursor | None) -> list[Dream]:
    """The dreamer's dreams, newest first, after a cursor."""
    async with conn.cursor(row_factory=class_row(Dream)) as cursor:
        await cursor.execute(
            """
            SELECT id, title, content, symbols, interpretation, interpretation_date, status,
                   source_conversation_id AS conversation_id, created_at, updated_at
            FROM dreams
            WHERE user_id = %(user_id)s
              AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s::uuid))
            ORDER BY created_at DESC, id DESC
            LIMIT %(limit)s
            """,
            {"user_id": user_id, "limit": limit, "at": after and after.at, "id": after and after.uuid},
        )
        return await cursor.fetchall()


async def lock(conn: Connection, user_id: UUID, dream_id: UUID) -> None:
    """Hold a dream's row, so that two changes at once do not undo each other."""
    await conn.execute("SELECT 1 FROM dreams WHERE id = %s AND user_id = %s FOR UPDATE", (dream_id, user_id))


async def update(conn: Connection, user_id: UUID, dream: Dream) -> datetime | None:
    """Write the changed fields of a dream; the time of the change, or None when there is no such dream."""
    result = await conn.execute(
        """
        UPDATE dreams
        SET title = %s, content = %s, symbols = %s, interpretation = %s, interpretation_date = %s, status = %s
        WHERE id = %s AND user_id = %s
        RETURNING updated_at
        """,
        (
            dream.title,
            dream.content,
            dream.symbols,
            dream.interpretation,
            dream.interpretation_date,
            dream.status,
            dream.id,
            user_id,
        ),
    )
    row: tuple[Any, ...] | None = await result.fetchone()
    return row[0] if row else None


async def delete(conn: Connection, user_id: UUID, dream_id: UUID) -> bool:
    """Delete a dream; false when there is no such dream."""
    result = await conn.execute("DELETE FROM dreams WHERE id = %s AND user_id = %s", (dream_id, user_id))
    return result.rowcount == 1
