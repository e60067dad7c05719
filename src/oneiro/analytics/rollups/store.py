"""Conversations counted by the hour: `rollups_hourly`, and `rollups_dirty`, the hours to be counted anew."""

from datetime import datetime
from typing import Final

from oneiro.database.pool import Connection

_ALONE: Final = 0x6F6E6569
"""Advisory lock of whoever counts: two that count one hour would both insert it."""


async def alone(conn: Connection) -> bool:
    """Be the only one who counts until the transaction ends; False when another one does."""
    cursor = await conn.execute("SELECT pg_try_advisory_xact_lock(%s)", (_ALONE,))
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def take_dirty(conn: Connection, limit: int) -> list[datetime]:
    """Take away the marks of some hours, the oldest marks first; a later statement sees what they were made for."""
    cursor = await conn.execute(
        """
        WITH taken AS (
            DELETE FROM rollups_dirty
            WHERE hour IN (SELECT m.hour FROM (SELECT hour FROM rollups_dirty ORDER BY id LIMIT 1000) AS m
                           GROUP BY m.hour LIMIT %s)
            RETURNING hour
        )
        SELECT DISTINCT hour FROM taken ORDER BY hour
        """,
        (limit,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def recount(conn: Connection, hours: list[datetime]) -> None:
    """Count these hours anew from the conversations that ended in them."""
    await conn.execute("DELETE FROM rollups_hourly WHERE hour = ANY (%s)", (hours,))
    await conn.execute(
        """
        INSERT INTO rollups_hourly (hour, interpreter_id, release_id, arm_id, counts)
        SELECT s.hour, s.interpreter_id, s.release_id, s.arm_id, jsonb_object_agg(s.name, s.total)
        FROM (
            SELECT h.hour, a.interpreter_id, a.release_id, a.arm_id, n.key AS name, sum(n.value::numeric) AS total
            FROM unnest(%s::timestamptz[]) AS h (hour)
            JOIN conversation_analytics AS a ON a.ended_at >= h.hour AND a.ended_at < h.hour + interval '1 hour'
            CROSS JOIN jsonb_each(a.counts || a.counts_of_words) AS n
            WHERE a.interpreter_id IS NOT NULL
            GROUP BY 1, 2, 3, 4, 5
        ) AS s
        GROUP BY 1, 2, 3, 4
        """,
        (hours,),
    )


async def dirty(conn: Connection) -> int:
    """How many hours wait to be counted anew."""
    cursor = await conn.execute("SELECT count(DISTINCT hour)::int FROM rollups_dirty")
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
