"""The rows of `idempotency_keys`."""

from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from oneiro.database.pool import Connection


async def insert(conn: Connection, user_id: UUID, key: str, route: str, body_sha256: str) -> bool:
    """Take the key: false when it is taken.

    A key older than 24 h, and one that was taken over a minute ago and never answered, may be taken anew.
    """
    result = await conn.execute(
        """
        INSERT INTO idempotency_keys AS known (user_id, key, route, body_sha256)
        VALUES (%s, %s, %s, %s)
        ON CONFLICT (user_id, route, key) DO UPDATE
        SET body_sha256 = excluded.body_sha256, response = NULL, created_at = now()
        WHERE known.created_at < now() - interval '24 hours'
           OR (known.response IS NULL AND known.created_at < now() - interval '1 minute')
        """,
        (user_id, key, route, body_sha256),
    )
    return result.rowcount == 1


async def find(conn: Connection, user_id: UUID, key: str, route: str) -> dict[str, Any] | None:
    """What is known of the key: `body_sha256` and `response` (null while the first request runs)."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            "SELECT body_sha256, response FROM idempotency_keys WHERE user_id = %s AND key = %s AND route = %s",
            (user_id, key, route),
        )
        return await cursor.fetchone()


async def update(conn: Connection, user_id: UUID, key: str, route: str, response: dict[str, Any]) -> None:
    """Keep the answer."""
    await conn.execute(
        "UPDATE idempotency_keys SET response = %s WHERE user_id = %s AND key = %s AND route = %s",
        (Jsonb(response), user_id, key, route),
    )


async def delete_old(conn: Connection, limit: int) -> int:
    """Delete answers that are older than 24 h, a batch of them; returns how many."""
    result = await conn.execute(
        """
        DELETE FROM idempotency_keys WHERE (user_id, route, key) IN (
            SELECT user_id, route, key FROM idempotency_keys
            WHERE created_at < now() - interval '24 hours' LIMIT %s
        )
        """,
        (limit,),
    )
    return result.rowcount


async def delete(conn: Connection, user_id: UUID, key: str, route: str) -> None:
    """Give the key back, so that the request can be tried again."""
    await conn.execute(
        "DELETE FROM idempotency_keys WHERE user_id = %s AND key = %s AND route = %s", (user_id, key, route)
    )
