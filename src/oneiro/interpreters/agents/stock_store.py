"""Which of the things on the platform the rows know; reads only."""

from collections.abc import Mapping
from uuid import UUID

from psycopg.rows import scalar_row

from oneiro.database.pool import Connection


async def installation(conn: Connection) -> str:
    """Names this installation among others that share a workspace of the platform."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT oneiro.installation()")
        found = await cursor.fetchone()
    return str(found)


async def left_over(conn: Connection, listed: Mapping[str, tuple[UUID, bool]]) -> list[tuple[str, str | None]]:
    """Those of these agents that no row wants, with their interpreter: by agent the row of its tag, whether called.

    Wanted are those of rows that are not retired, and those whose row has no agent yet: it may find them by their tag.
    One that was talked to is left over only when its own row says that it is retired. In random order, so that those
    that cannot be deleted do not stand before the others for ever.
    """
    result = await conn.execute(
        """
        SELECT l.agent_id, coalesce(own.interpreter_id, made.interpreter_id)
        FROM unnest(%s::text[], %s::uuid[], %s::boolean[]) AS l (agent_id, row_id, called)
        LEFT JOIN platform_agents AS own ON own.agent_id = l.agent_id
        LEFT JOIN platform_agents AS made ON made.id = l.row_id
        WHERE (own.id IS NULL AND NOT l.called OR own.state = 'retired')
          AND NOT coalesce(made.agent_id IS NULL AND made.state <> 'retired', false)
          AND NOT EXISTS (SELECT FROM conversations AS c
                          WHERE c.agent_id = l.agent_id AND c.status IN ('initializing', 'active'))
        ORDER BY random()
        """,
        (list(listed), [row for row, _ in listed.values()], [called for _, called in listed.values()]),
    )
    return [(agent_id, interpreter_id) for agent_id, interpreter_id in await result.fetchall()]


async def unknown_agents(conn: Connection, listed: list[str]) -> list[str]:
    """Those of these agents that are in no row."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT l.agent_id FROM unnest(%s::text[]) AS l (agent_id)
            WHERE NOT EXISTS (SELECT FROM platform_agents AS a WHERE a.agent_id = l.agent_id)
            """,
            (listed,),
        )
        return await cursor.fetchall()


async def unknown_voices(conn: Connection, listed: Mapping[str, str]) -> list[str]:
    """Those of these voices that nothing speaks with: by voice the beginning of its description's hash.

    Known are those of rows, of agents in use and of releases, and those whose description has no voice yet: the next
    start finds them. In random order, for the same reason.
    """
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT l.voice_id FROM unnest(%s::text[], %s::text[]) AS l (voice_id, sha)
            WHERE NOT EXISTS (SELECT FROM platform_voices AS v
                              WHERE v.voice_id = l.voice_id
                                 OR (v.voice_id IS NULL AND starts_with(v.description_sha256, l.sha)))
              AND NOT EXISTS (SELECT FROM platform_agents AS a
                              WHERE a.voice_id = l.voice_id AND a.state <> 'retired')
              AND NOT EXISTS (SELECT FROM interpreter_releases AS r
                              WHERE r.document -> 'voice' ->> 'voice_id' = l.voice_id)
            ORDER BY random()
            """,
            (list(listed), list(listed.values())),
        )
        return await cursor.fetchall()
