"""How rows of `platform_agents` come to their end: nobody wants the agent, it is deleted, its row names nobody."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row, scalar_row

from oneiro.database.pool import Connection
from oneiro.interpreters.agents.marks import tag
from oneiro.interpreters.agents.models import session_key


@dataclass(frozen=True, slots=True)
class Leaving:
    """An agent that is to be deleted on the platform; no `agent_id`: whoever made it died before knowing it."""

    id: UUID
    agent_id: str | None
    interpreter_id: str
    installation: str

    @property
    def tag(self) -> str:
        """Names the row's agent on the platform."""
        return tag(self.installation, self.id)


async def follow(conn: Connection, now: datetime, *, shared: bool) -> None:
    """Note since when agents of releases are not wanted, and forget it for those that are wanted again.

    Wanted are agents of default releases and of arms of running experiments; none, unless starts use agents that
    dreamers share.
    """
    await conn.execute(
        """
        WITH wanted AS (
            SELECT r.id FROM interpreter_configs AS c
            JOIN interpreter_releases AS r ON r.interpreter_id = c.id AND r.number = c.version
            WHERE c.is_active AND %(shared)s
            UNION
            SELECT a.release_id FROM experiments AS e JOIN experiment_arms AS a ON a.experiment_id = e.id
            WHERE e.status = 'running' AND %(shared)s
        )
        UPDATE platform_agents AS p
        SET expires_at = CASE WHEN p.release_id IN (SELECT id FROM wanted) THEN NULL ELSE %(now)s END
        WHERE p.scope = 'release' AND p.state IN ('ready', 'drifted')
          AND (p.expires_at IS NULL) <> (p.release_id IN (SELECT id FROM wanted))
        """,
        {"now": now, "shared": shared},
    )


async def take_out(conn: Connection, *, now: datetime, before: datetime, idle: datetime) -> None:
    """Take out of use what nobody wants since `before`, what died unfinished before it, and sessions that are over.

    A session is over when its hour is, or its conversation. Nothing leaves that a start took after `idle`.
    """
    await conn.execute(
        """
        UPDATE platform_agents AS a
        SET state = 'retiring', lease_owner = NULL, lease_until = NULL,
            retired_at = CASE WHEN scope = 'release' THEN coalesce(expires_at, created_at) ELSE %(now)s END
        WHERE (state = 'provisioning' AND coalesce(lease_until <= %(now)s, true) AND created_at <= %(before)s)
           OR (state IN ('ready', 'drifted') AND coalesce(last_used_at, verified_at, created_at) <= %(idle)s
               AND ((scope = 'release' AND expires_at <= %(before)s)
                    OR (scope = 'session' AND expires_at <= %(now)s)
                    OR (scope = 'session'
                        AND EXISTS (SELECT FROM conversations AS c
                                    WHERE c.interpreter_id = a.interpreter_id AND c.agent_id = a.agent_id
                                      AND c.created_at > a.created_at - interval '1 day'
                                      AND c.status IN ('completed', 'failed'))
                        AND NOT EXISTS (SELECT FROM conversations AS c
                                        WHERE c.interpreter_id = a.interpreter_id AND c.agent_id = a.agent_id
                                          AND c.status IN ('initializing', 'active')))))
        """,
        {"now": now, "before": before, "idle": idle},
    )


async def due(conn: Connection, kind: str, *, before: datetime, idle: datetime, limit: int) -> list[UUID]:
    """Agents out of use that no conversation has.

    Of a release those that left before `before`; of a session, and those without protection, as soon as no start took
    them after `idle`, which may not have written its conversation's row yet. Left out are those whose deletion was
    given up as a dead letter, until an operator has it tried again or it is pruned.
    """
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT a.id FROM platform_agents AS a
            WHERE a.state = 'retiring'
              AND (a.retired_at <= %(before)s
                   OR ((a.scope = 'session' OR a.error_code = 'unprotected')
                       AND greatest(a.created_at, a.verified_at, a.last_used_at) <= %(idle)s))
              AND NOT EXISTS (SELECT FROM conversations AS c
                              WHERE c.interpreter_id = a.interpreter_id AND c.agent_id = a.agent_id
                                AND c.status IN ('initializing', 'active'))
              AND NOT EXISTS (SELECT FROM jobs AS j
                              WHERE j.dedupe_key = %(kind)s || '/' || a.id AND j.state = 'dead')
            ORDER BY a.retired_at LIMIT %(limit)s
            """,
            {"before": before, "idle": idle, "limit": limit, "kind": kind},
        )
        return await cursor.fetchall()


async def leaving(conn: Connection, row_id: UUID) -> Leaving | None:
    """An agent that is out of use; None when it is gone already."""
    async with conn.cursor(row_factory=class_row(Leaving)) as cursor:
        await cursor.execute(
            """
            SELECT id, agent_id, interpreter_id, oneiro.installation() AS installation
            FROM platform_agents WHERE id = %s AND state = 'retiring'
            """,
            (row_id,),
        )
        return await cursor.fetchone()


async def retired(conn: Connection, row_id: UUID, now: datetime) -> bool:
    """Note that the platform has deleted the agent, and whose it was no more; False when that was noted before."""
    done = await conn.execute(
        """
        UPDATE platform_agents
        SET state = 'retired', retired_at = %s, session_key = CASE scope WHEN 'session' THEN id::text ELSE '' END
        WHERE id = %s AND state = 'retiring'
        """,
        (now, row_id),
    )
    return done.rowcount == 1


async def purge(conn: Connection, before: datetime) -> None:
    """Delete rows of sessions whose agents are gone since `before`: there is one for every dream that was told."""
    await conn.execute(
        "DELETE FROM platform_agents WHERE scope = 'session' AND state = 'retired' AND retired_at <= %s", (before,)
    )


async def forget_dreamer(conn: Connection, user_id: UUID, now: datetime) -> None:
    """Let agents that were made for one dreamer alone expire, and take away the keys that were made of her id.

    Asked for before her dreams and conversations are deleted, which lead to them.
    """
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT id FROM dreams WHERE user_id = %(id)s
            UNION SELECT dream_id FROM conversations WHERE user_id = %(id)s
            UNION SELECT NULL
            """,
            {"id": user_id},
        )
        keys = [session_key(user_id, dream_id) for dream_id in await cursor.fetchall()]
    await conn.execute(
        """
        UPDATE platform_agents SET expires_at = %(now)s, session_key = id::text
        WHERE scope = 'session' AND (session_key = ANY(%(keys)s) OR agent_id IN (
            SELECT s.agent_id FROM conversation_sessions AS s JOIN conversations AS c ON c.id = s.conversation_id
            WHERE c.user_id = %(id)s
            UNION
            SELECT agent_id FROM conversations WHERE user_id = %(id)s
        ))
        """,
        {"id": user_id, "keys": keys, "now": now},
    )
