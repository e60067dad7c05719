"""What of a made-up history is there, and what it is made from."""

from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from oneiro.analytics.history.models import FIRST, LAST, Lead, identity
from oneiro.database.pool import Connection

_ALONE: Final = 0x6F6E6568
"""Advisory lock of whoever makes up a history or takes one away."""


async def alone(conn: Connection) -> bool:
    """Be the only one who writes or removes a history until the connection is closed."""
    cursor = await conn.execute("SELECT pg_try_advisory_lock(%s)", (_ALONE,))
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def leave(conn: Connection) -> None:
    """Let the next one in at once: a backend ends a little later than its connection."""
    await conn.execute("SELECT pg_advisory_unlock(%s)", (_ALONE,))


async def take_role(conn: Connection) -> None:
    """Write as the service does, whoever logged in."""
    cursor = await conn.execute("SELECT pg_has_role('service_role', 'MEMBER')")
    row = await cursor.fetchone()
    if row is not None and row[0]:
        await conn.execute("SET ROLE service_role")


async def trust(conn: Connection) -> None:
    """Do not ask for each row whether what it refers to is there, if the login may say so (a superuser).

    Whoever writes locks that, so nothing is left to ask. Another login writes the same more slowly.
    """
    cursor = await conn.execute("SELECT has_parameter_privilege('session_replication_role', 'SET')")
    row = await cursor.fetchone()
    if row is not None and row[0]:
        await conn.execute("SET session_replication_role = replica")


async def exists(conn: Connection, seed: int) -> bool:
    """Whether anything of this seed is there already."""
    cursor = await conn.execute(
        "SELECT 1 FROM profiles WHERE user_id BETWEEN %s AND %s LIMIT 1",
        (identity(seed), identity(seed, (1 << 48) - 1)),
    )
    return await cursor.fetchone() is not None


async def leads(conn: Connection) -> list[Lead]:
    """Active interpreters with the releases that they had, and the arms of experiments that were started."""
    async with conn.cursor(row_factory=class_row(Lead)) as cursor:
        await cursor.execute(
            """
            WITH held AS (
                SELECT r.id, r.interpreter_id, r.number,
                       (SELECT min(p.agent_id) FROM platform_agents AS p
                        WHERE p.release_id = r.id AND p.state IN ('ready', 'drifted')) AS agent_id
                FROM interpreter_releases AS r JOIN interpreter_configs AS i ON i.id = r.interpreter_id
                WHERE i.is_active
            )
            SELECT l.interpreter_id, l.release_id, l.arm_id, l.agent_id
            FROM (
                SELECT interpreter_id, id AS release_id, NULL::uuid AS arm_id, agent_id, number
                FROM held WHERE id IN (SELECT id FROM interpreter_releases WHERE activated_at IS NOT NULL)
                UNION ALL
                SELECT h.interpreter_id, h.id, a.id, h.agent_id, h.number
                FROM experiment_arms AS a
                JOIN experiments AS e ON e.id = a.experiment_id AND e.started_at IS NOT NULL
                JOIN held AS h ON h.id = a.release_id
            ) AS l
            ORDER BY l.interpreter_id, l.arm_id NULLS FIRST, l.number
            """
        )
        return await cursor.fetchall()


async def analyse(conn: Connection) -> None:
    """Let PostgreSQL plan by what is there now; a table that is not the login's is left to its own round."""
    await conn.execute("RESET ROLE")
    await conn.execute(
        "ANALYZE profiles, conversations, conversation_sessions, messages, conversation_analytics, agent_metrics,"
        " rollups_hourly, rollups_daily"
    )


async def count(conn: Connection) -> int:
    """How many made-up conversations there are."""
    cursor = await conn.execute("SELECT count(*) FROM conversations WHERE id BETWEEN %s AND %s", (FIRST, LAST))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def remove(conn: Connection, limit: int) -> int:
    """Remove some made-up conversations with all that hangs on them; how many."""
    cursor = await conn.execute(
        "SELECT id FROM conversations WHERE id BETWEEN %s AND %s ORDER BY id LIMIT %s", (FIRST, LAST, limit)
    )
    ids: list[UUID] = [row[0] for row in await cursor.fetchall()]
    if ids:
        span = (ids[0], ids[-1])
        await conn.execute("DELETE FROM agent_metrics WHERE conversation_id BETWEEN %s AND %s", span)
        await conn.execute("DELETE FROM conversations WHERE id BETWEEN %s AND %s", span)
    return len(ids)


async def remove_dreamers(conn: Connection) -> int:
    """Remove the made-up dreamers of whom nothing else is there; how many stay since somebody used them."""
    await conn.execute(
        """
        DELETE FROM profiles AS p WHERE user_id BETWEEN %s AND %s
          AND NOT EXISTS (SELECT FROM conversations AS c WHERE c.user_id = p.user_id)
          AND NOT EXISTS (SELECT FROM dreams AS d WHERE d.user_id = p.user_id)
        """,
        (FIRST, LAST),
    )
    cursor = await conn.execute("SELECT count(*) FROM profiles WHERE user_id BETWEEN %s AND %s", (FIRST, LAST))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])
