"""Dreamers as operators see them."""

from uuid import UUID

from psycopg.rows import class_row, scalar_row

from oneiro.database.pool import Connection
from oneiro.http import Cursor
from oneiro.privacy.operators.models import DreamerDetail, DreamerItem


async def select(conn: Connection, limit: int, after: Cursor | None) -> list[DreamerItem]:
    """Dreamers, the newest first, after a cursor."""
    async with conn.cursor(row_factory=class_row(DreamerItem)) as cursor:
        await cursor.execute(
            """
            SELECT p.user_id, p.language, p.region, p.created_at, had.conversations, had.last_conversation_at
            FROM profiles AS p
            CROSS JOIN LATERAL (
                SELECT count(*) AS conversations, max(created_at) AS last_conversation_at
                FROM conversations WHERE user_id = p.user_id
            ) AS had
            WHERE %(at)s::timestamptz IS NULL OR (p.created_at, p.user_id) < (%(at)s, %(id)s::uuid)
            ORDER BY p.created_at DESC, p.user_id DESC LIMIT %(limit)s
            """,
            {"limit": limit, "at": after and after.at, "id": after and after.uuid},
        )
        return await cursor.fetchall()


async def find(conn: Connection, user_id: UUID) -> DreamerDetail | None:
    """One dreamer."""
    async with conn.cursor(row_factory=class_row(DreamerDetail)) as cursor:
        await cursor.execute(
            """
            SELECT p.user_id, p.language, p.region, p.created_at, had.conversations, had.last_conversation_at,
                   p.name, p.birth_year, p.consents, p.allowed_interpreters,
                   (SELECT count(*) FROM dreams WHERE user_id = p.user_id) AS dreams, had.open_conversations,
                   had.safety_tier
            FROM profiles AS p
            CROSS JOIN LATERAL (
                SELECT count(*) AS conversations, max(created_at) AS last_conversation_at,
                       count(*) FILTER (WHERE status IN ('initializing', 'active')) AS open_conversations,
                       CASE max(array_position(
                           ARRAY['none', 'dream_content', 'passive_ideation', 'active_danger'], safety_tier))
                           WHEN 4 THEN 'active_danger' WHEN 3 THEN 'passive_ideation' WHEN 2 THEN 'dream_content'
                           ELSE 'none' END AS safety_tier
                FROM conversations WHERE user_id = p.user_id
            ) AS had
            WHERE p.user_id = %s
            """,
            (user_id,),
        )
        return await cursor.fetchone()


async def unknown(conn: Connection, interpreters: list[str]) -> list[str]:
    """Those of these names that no interpreter has."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT given.id FROM unnest(%s::text[]) AS given (id)
            WHERE NOT EXISTS (SELECT FROM interpreter_configs AS i WHERE i.id = given.id)
            """,
            (interpreters,),
        )
        found: list[str] = await cursor.fetchall()
    return found


async def permit(conn: Connection, user_id: UUID, interpreters: list[str] | None) -> bool:
    """Set whom she may talk to; false when that stood there already, or there is no such dreamer."""
    result = await conn.execute(
        """
        UPDATE profiles SET allowed_interpreters = %(allowed)s
        WHERE user_id = %(id)s AND allowed_interpreters IS DISTINCT FROM %(allowed)s::text[]
        """,
        {"allowed": interpreters, "id": user_id},
    )
    return result.rowcount == 1
