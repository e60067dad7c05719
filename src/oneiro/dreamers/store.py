"""The rows of `profiles`."""

from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from oneiro.database.pool import Connection
from oneiro.dreamers.models import Dreamer

SPOKEN: Final = SQL(
    """
    SELECT round(sum(extract(epoch FROM
        coalesce(c.ended_at, %(now)s) - greatest(c.started_at, date_trunc('day', %(now)s, 'UTC')))) / 60, 1
    ) AS minutes
    FROM conversations AS c
    WHERE c.user_id = p.user_id AND c.started_at IS NOT NULL
      AND coalesce(c.ended_at, %(now)s) > date_trunc('day', %(now)s, 'UTC')
    """
)
"""The minutes that the dreamer of `profiles AS p` has talked since midnight UTC; to be joined to her row."""


_FIND: Final = (
    SQL(
        """
        SELECT p.user_id, p.name, p.language, p.region, p.birth_year, p.consents, p.allowed_interpreters,
               coalesce(spoken.minutes, 0) AS minutes_today
        FROM profiles AS p LEFT JOIN LATERAL ({spoken}) AS spoken ON true
        WHERE p.user_id = %(user_id)s
        """
    )
    .format(spoken=SPOKEN)
    .as_bytes()
)


async def insert(conn: Connection, user_id: UUID) -> None:
    """Make the dreamer's row on her first request, and keep it until the transaction ends.

    Who erases her meanwhile waits for that, so that nothing written beside it is left behind.
    """
    held = 0
    while not held:  # Twice when an erasure took the row away while we waited for it.
        result = await conn.execute(
            """
            WITH made AS (
                INSERT INTO profiles (user_id) VALUES (%(id)s) ON CONFLICT (user_id) DO NOTHING RETURNING user_id
            ), kept AS (
                SELECT user_id FROM profiles WHERE user_id = %(id)s FOR KEY SHARE
            )
            SELECT FROM made UNION ALL SELECT FROM kept
            """,
            {"id": user_id},
        )
        held = result.rowcount


async def find(conn: Connection, user_id: UUID, now: datetime) -> Dreamer | None:
    """The dreamer, with the minutes that she has talked since midnight UTC."""
    async with conn.cursor(row_factory=class_row(Dreamer)) as cursor:
        await cursor.execute(_FIND, {"user_id": user_id, "now": now})
        return await cursor.fetchone()


async def hold(conn: Connection, user_id: UUID) -> bool:
    """Keep the dreamer's row from being deleted until the transaction ends; false when there is none."""
    result = await conn.execute("SELECT 1 FROM profiles WHERE user_id = %s FOR KEY SHARE", (user_id,))
    return result.rowcount == 1


async def lock(conn: Connection, user_id: UUID) -> None:
    """Hold the dreamer's row, so that two changes at once do not undo each other."""
    await conn.execute("SELECT 1 FROM profiles WHERE user_id = %s FOR UPDATE", (user_id,))


async def update(conn: Connection, dreamer: Dreamer) -> None:
    """Write the fields that a dreamer may change herself."""
    await conn.execute(
        """
        UPDATE profiles SET name = %s, language = %s, region = %s, birth_year = %s, consents = %s
        WHERE user_id = %s
        """,
        (
            dreamer.name,
            dreamer.language,
            dreamer.region,
            dreamer.birth_year,
            Jsonb(dreamer.consents.model_dump()),
            dreamer.user_id,
        ),
    )
