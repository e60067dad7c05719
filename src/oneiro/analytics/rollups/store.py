"""Conversations and agents counted by the hour and by the day, and `rollups_dirty`, the hours to be counted anew."""

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


async def take_dirty(conn: Connection, days: int) -> list[datetime]:
    """Take away the marks of the hours of some days, the oldest marks first.

    A later statement sees what they were made for.
    """
    cursor = await conn.execute(
        """
        WITH days AS MATERIALIZED (
            SELECT date_bin('1 day', m.hour, 'epoch') AS day
            FROM (SELECT hour FROM rollups_dirty ORDER BY id LIMIT 1000) AS m
            GROUP BY 1 LIMIT %s
        ), taken AS (
            DELETE FROM rollups_dirty USING days
            WHERE hour >= days.day AND hour < days.day + interval '24 hours'
            RETURNING hour
        )
        SELECT DISTINCT hour FROM taken ORDER BY hour
        """,
        (days,),
    )
    return [row[0] for row in await cursor.fetchall()]


async def recount(conn: Connection, hours: list[datetime]) -> None:
    """Count these hours anew from what ended or was made in them, and their days from their hours."""
    await conn.execute("DELETE FROM rollups_hourly WHERE hour = ANY (%s)", (hours,))
    await conn.execute(
        """
        INSERT INTO rollups_hourly (hour, interpreter_id, release_id, arm_id, counts)
        SELECT s.hour, s.interpreter_id, s.release_id, s.arm_id, jsonb_object_agg(s.name, s.total)
        FROM (
            SELECT h.hour, a.interpreter_id, a.release_id, a.arm_id, n.key AS name, sum(n.value::numeric) AS total
            FROM unnest(%s::timestamptz[]) AS h (hour)
            CROSS JOIN LATERAL (
                SELECT * FROM oneiro.counted
                WHERE at >= h.hour AND at < h.hour + interval '1 hour'
                OFFSET 0 -- Each hour by the index: a join over all hours reads the whole tables.
            ) AS a
            CROSS JOIN jsonb_each(a.counts) AS n
            WHERE a.interpreter_id IS NOT NULL
            GROUP BY 1, 2, 3, 4, 5
        ) AS s
        GROUP BY 1, 2, 3, 4
        """,
        (hours,),
    )
    await _add_up_days(conn, hours)


async def _add_up_days(conn: Connection, hours: list[datetime]) -> None:
    await conn.execute(
        """
        DELETE FROM rollups_daily
        WHERE day IN (SELECT date_bin('1 day', h.hour, 'epoch') FROM unnest(%s::timestamptz[]) AS h (hour))
        """,
        (hours,),
    )
    await conn.execute(
        """
        INSERT INTO rollups_daily (day, interpreter_id, release_id, arm_id, counts)
        SELECT s.day, s.interpreter_id, s.release_id, s.arm_id, jsonb_object_agg(s.name, s.total)
        FROM (
            SELECT d.day, r.interpreter_id, r.release_id, r.arm_id, n.key AS name, sum(n.value::numeric) AS total
            FROM (SELECT DISTINCT date_bin('1 day', h.hour, 'epoch') AS day
                  FROM unnest(%s::timestamptz[]) AS h (hour)) AS d
            CROSS JOIN LATERAL (
                SELECT * FROM rollups_hourly WHERE hour >= d.day AND hour < d.day + interval '24 hours' OFFSET 0
            ) AS r
            CROSS JOIN jsonb_each(r.counts) AS n
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
