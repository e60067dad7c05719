"""The row of `oneiro.platform_home`: whether this database is the one whose agents are on the platform.

A copy or a restored backup bears the same marks as the original, whose agents it must not take away.
"""

from datetime import datetime

from psycopg.rows import scalar_row

from oneiro.database.pool import Connection


async def here(conn: Connection) -> bool:
    """Whether the database is where its first agent was made; noted now when none was."""
    await conn.execute("INSERT INTO oneiro.platform_home (place) VALUES (oneiro.place()) ON CONFLICT DO NOTHING")
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT place = oneiro.place() FROM oneiro.platform_home")
        return bool(await cursor.fetchone())


async def elsewhere(conn: Connection) -> bool:
    """Whether the database was noted in another place; notes nothing."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT EXISTS (SELECT FROM oneiro.platform_home WHERE place <> oneiro.place())")
        return bool(await cursor.fetchone())


async def move(conn: Connection, now: datetime) -> bool:
    """Make this place the installation's; False when it was already."""
    done = await conn.execute(
        "UPDATE oneiro.platform_home SET place = oneiro.place(), settled_at = %s WHERE place <> oneiro.place()", (now,)
    )
    return done.rowcount == 1


async def part(conn: Connection, now: datetime) -> None:
    """Give a copy marks of its own, and leave the agents and voices that it knows of to the original."""
    await conn.execute(
        "UPDATE oneiro.platform_home SET installation = substr(replace(gen_random_uuid()::text, '-', ''), 1, 12)"
    )
    await conn.execute(
        """
        UPDATE platform_agents
        SET state = 'retired', retired_at = %s, lease_owner = NULL, lease_until = NULL
        WHERE state <> 'retired'
        """,
        (now,),
    )
    await conn.execute("DELETE FROM platform_voices")
