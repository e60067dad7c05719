"""What operators read of interpreters, releases and agents."""

from datetime import datetime, timedelta
from typing import Final

from psycopg.rows import class_row

from oneiro.database.pool import Connection
from oneiro.http import Cursor
from oneiro.interpreters.publishing.models import AgentView, InterpreterView, ReleaseView

_INTERPRETER: Final = """
    SELECT c.id, c.name, c.full_name, c.description, c.is_active AS active,
           CASE WHEN c.is_active THEN c.version END AS release, newest.number AS newest,
           coalesce(r.content_hash, newest.content_hash) AS content_hash, e.id::text AS running_experiment,
           c.created_at, c.updated_at, c.retired_at
    FROM interpreter_configs AS c
    CROSS JOIN LATERAL (
        SELECT n.number, n.content_hash FROM interpreter_releases AS n
        WHERE n.interpreter_id = c.id ORDER BY n.number DESC LIMIT 1
    ) AS newest
    LEFT JOIN interpreter_releases AS r ON c.is_active AND r.interpreter_id = c.id AND r.number = c.version
    LEFT JOIN experiments AS e ON e.interpreter_id = c.id AND e.status = 'running'
"""


async def interpreters(conn: Connection, limit: int, after: Cursor | None) -> list[InterpreterView]:
    """Interpreters, active or not, the newest first."""
    async with conn.cursor(row_factory=class_row(InterpreterView)) as cursor:
        await cursor.execute(
            _INTERPRETER
            + """
            WHERE %(at)s::timestamptz IS NULL OR (c.created_at, c.id) < (%(at)s, %(id)s::text)
            ORDER BY c.created_at DESC, c.id DESC LIMIT %(limit)s
            """,
            {"at": after and after.at, "id": after and after.key, "limit": limit},
        )
        return await cursor.fetchall()


async def interpreter(conn: Connection, interpreter_id: str) -> InterpreterView | None:
    """One interpreter, active or not."""
    async with conn.cursor(row_factory=class_row(InterpreterView)) as cursor:
        await cursor.execute(_INTERPRETER + "WHERE c.id = %s", (interpreter_id,))
        return await cursor.fetchone()


async def releases(
    conn: Connection, interpreter_id: str, default: int, limit: int, below: int | None
) -> list[ReleaseView]:
    """Releases without their documents, the newest first, below a number."""
    async with conn.cursor(row_factory=class_row(ReleaseView)) as cursor:
        await cursor.execute(
            """
            SELECT r.interpreter_id, r.number, r.number = %(default)s AS active, r.activated_at, r.content_hash,
                   r.note, r.created_by, r.created_at, r.based_on,
                   coalesce((SELECT jsonb_agg(DISTINCT field) FROM platform_agents AS a,
                             jsonb_array_elements_text(a.drift) AS field
                             WHERE a.release_id = r.id AND a.state = 'drifted'), '[]') AS drift
            FROM interpreter_releases AS r
            WHERE r.interpreter_id = %(id)s AND (%(below)s::int IS NULL OR r.number < %(below)s)
            ORDER BY r.number DESC LIMIT %(limit)s
            """,
            {"id": interpreter_id, "default": default, "below": below, "limit": limit},
        )
        return await cursor.fetchall()


async def agents(
    conn: Connection, interpreter_id: str, *, now: datetime, grace: timedelta, idle: timedelta
) -> list[AgentView]:
    """The interpreter's agents that are on the platform or on their way there, of the newest releases, 200 at most.

    Those of single sessions are left out.
    """
    async with conn.cursor(row_factory=class_row(AgentView)) as cursor:
        await cursor.execute(
            """
            SELECT a.agent_id, r.number AS release, a.language, a.model, a.state, a.voice_id, a.drift, a.error_code,
                   a.created_at,
                   CASE WHEN coalesce(a.retired_at, a.expires_at) IS NULL THEN NULL
                        ELSE greatest(%(now)s, CASE WHEN a.error_code = 'unprotected' AND a.state = 'retiring'
                            THEN greatest(a.created_at, a.verified_at, a.last_used_at) + %(idle)s
                            ELSE coalesce(a.retired_at, a.expires_at) + %(grace)s END)
                   END AS leaves_at
            FROM platform_agents AS a JOIN interpreter_releases AS r ON r.id = a.release_id
            WHERE a.interpreter_id = %(interpreter_id)s AND a.state <> 'retired' AND a.scope = 'release'
            ORDER BY r.number DESC, a.language, a.model LIMIT 200
            """,
            {"interpreter_id": interpreter_id, "now": now, "grace": grace, "idle": idle},
        )
        return await cursor.fetchall()
