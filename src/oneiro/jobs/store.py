"""The rows of `jobs`. What is due and what has lapsed is told by the database's clock, which all replicas share."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from oneiro.database.pool import Connection
from oneiro.jobs.models import Claimed, Job, JobState


async def insert(
    conn: Connection,
    kind: str,
    payload: Mapping[str, object],
    *,
    run_at: datetime | None,
    dedupe_key: str | None,
    max_attempts: int,
) -> UUID | None:
    """Insert a job; None when one with this key waits or runs already."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            INSERT INTO jobs (kind, payload, run_at, dedupe_key, max_attempts)
            VALUES (%s, %s, coalesce(%s, now()), %s, %s)
            ON CONFLICT (dedupe_key) WHERE state IN ('queued', 'running') DO NOTHING
            RETURNING id
            """,
            (kind, Jsonb(dict(payload)), run_at, dedupe_key, max_attempts),
        )
        return await cursor.fetchone()


async def insert_periodic(conn: Connection, kinds: Sequence[str], everies: Sequence[float]) -> int:
    """Insert the job of the present period for each kind that has none yet; returns how many.

    A period is skipped while an earlier one's job still waits or runs.
    """
    result = await conn.execute(
        """
        INSERT INTO jobs (kind, dedupe_key, period_key)
        SELECT p.kind, 'periodic/' || p.kind,
               p.kind || '/' || p.every || '/' || floor(extract(epoch FROM clock_timestamp()) / p.every)
        FROM unnest(%s::text[], %s::float8[]) AS p (kind, every)
        ON CONFLICT DO NOTHING
        """,
        (list(kinds), list(everies)),
    )
    return result.rowcount


async def bring_back(conn: Connection) -> int:
    """Queue again what a dead process left running; what has used up its attempts is dead. Returns how many."""
    result = await conn.execute(
        """
        UPDATE jobs
        SET state = CASE WHEN attempts < max_attempts THEN 'queued' ELSE 'dead' END,
            finished_at = CASE WHEN attempts < max_attempts THEN NULL ELSE clock_timestamp() END,
            last_error = 'LeaseLapsed', lease_owner = NULL, lease_until = NULL
        WHERE id IN (
            SELECT id FROM jobs WHERE state = 'running' AND lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED
        )
        """
    )
    return result.rowcount


async def claim(conn: Connection, owner: str, kinds: Sequence[str], limit: int, seconds: float) -> list[Claimed]:
    """Take due jobs of these kinds, the longest due first."""
    async with conn.cursor(row_factory=class_row(Claimed)) as cursor:
        await cursor.execute(
            """
            UPDATE jobs
            SET state = 'running', attempts = attempts + 1, lease_owner = %(owner)s,
                lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
            WHERE id IN (
                SELECT id FROM jobs
                WHERE state = 'queued' AND run_at <= clock_timestamp() AND kind = ANY(%(kinds)s)
                ORDER BY run_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
            )
            RETURNING id, kind, payload, attempts, max_attempts
            """,
            {"owner": owner, "kinds": list(kinds), "limit": limit, "seconds": seconds},
        )
        return await cursor.fetchall()


async def renew(conn: Connection, owner: str, ids: Sequence[UUID], seconds: float) -> set[UUID]:
    """Renew leases; returns the jobs that this process still holds."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            UPDATE jobs SET lease_until = clock_timestamp() + make_interval(secs => %s)
            WHERE id = ANY(%s) AND state = 'running' AND lease_owner = %s
            RETURNING id
            """,
            (seconds, list(ids), owner),
        )
        return set(await cursor.fetchall())


async def finish(conn: Connection, owner: str, job: Claimed) -> bool:
    """Note that a job is done; false when this process does not hold it any more."""
    result = await conn.execute(
        """
        UPDATE jobs
        SET state = 'done', finished_at = clock_timestamp(), lease_owner = NULL, lease_until = NULL, last_error = NULL
        WHERE id = %s AND state = 'running' AND lease_owner = %s AND attempts = %s
        """,
        (job.id, owner, job.attempts),
    )
    return result.rowcount == 1


async def fail(conn: Connection, owner: str, job: Claimed, error: str, retry_in: float | None) -> bool:
    """Note a fault: queued again after a pause in seconds, or dead without one; false when not held any more."""
    result = await conn.execute(
        """
        UPDATE jobs
        SET state = CASE WHEN %(retry_in)s::float8 IS NULL THEN 'dead' ELSE 'queued' END,
            finished_at = CASE WHEN %(retry_in)s::float8 IS NULL THEN clock_timestamp() END,
            run_at = coalesce(clock_timestamp() + make_interval(secs => %(retry_in)s::float8), run_at),
            last_error = %(error)s, lease_owner = NULL, lease_until = NULL
        WHERE id = %(id)s AND state = 'running' AND lease_owner = %(owner)s AND attempts = %(attempts)s
        """,
        {"retry_in": retry_in, "error": error, "id": job.id, "owner": owner, "attempts": job.attempts},
    )
    return result.rowcount == 1


async def give_back(conn: Connection, owner: str) -> int:
    """Queue again what this process holds and will not finish; the attempt does not count. Returns how many."""
    result = await conn.execute(
        """
        UPDATE jobs
        SET state = 'queued', attempts = attempts - 1, lease_owner = NULL, lease_until = NULL
        WHERE state = 'running' AND lease_owner = %s
        """,
        (owner,),
    )
    return result.rowcount


async def find(conn: Connection, job_id: UUID) -> Job | None:
    """One job."""
    async with conn.cursor(row_factory=class_row(Job)) as cursor:
        await cursor.execute(
            """
            SELECT id, kind, payload, state, run_at, attempts, max_attempts, dedupe_key, lease_owner, lease_until,
                   last_error, created_at, finished_at
            FROM jobs WHERE id = %s
            """,
            (job_id,),
        )
        return await cursor.fetchone()


async def select(
    conn: Connection, state: JobState | None, kind: str | None, after: tuple[datetime, UUID] | None, limit: int
) -> list[Job]:
    """Jobs, newest first, after a place in that order."""
    async with conn.cursor(row_factory=class_row(Job)) as cursor:
        await cursor.execute(
            """
            SELECT id, kind, payload, state, run_at, attempts, max_attempts, dedupe_key, lease_owner, lease_until,
                   last_error, created_at, finished_at
            FROM jobs
            WHERE (%(state)s::text IS NULL OR state = %(state)s) AND (%(kind)s::text IS NULL OR kind = %(kind)s)
              AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s::uuid))
            ORDER BY created_at DESC, id DESC
            LIMIT %(limit)s
            """,
            {"state": state, "kind": kind, "at": after and after[0], "id": after and after[1], "limit": limit},
        )
        return await cursor.fetchall()


async def revive(conn: Connection, job_id: UUID) -> bool:
    """Queue a dead job again with all its attempts; false when it is not dead, or its key is taken again."""
    try:
        async with conn.transaction():
            result = await conn.execute(
                """
                UPDATE jobs SET state = 'queued', attempts = 0, run_at = clock_timestamp(), finished_at = NULL
                WHERE id = %s AND state = 'dead'
                """,
                (job_id,),
            )
    except psycopg.errors.UniqueViolation:
        return False
    return result.rowcount == 1


async def counts(conn: Connection) -> dict[JobState, int]:
    """How many jobs there are in each state."""
    cursor = await conn.execute("SELECT state, count(*) FROM jobs GROUP BY state")
    found: dict[JobState, int] = {"queued": 0, "running": 0, "done": 0, "dead": 0}
    return found | dict(await cursor.fetchall())


async def delete_finished(conn: Connection, before: datetime, limit: int) -> int:
    """Delete jobs that were done before a time, and dead ones too; returns how many."""
    result = await conn.execute(
        """
        DELETE FROM jobs WHERE id IN (
            SELECT id FROM jobs WHERE state IN ('done', 'dead') AND finished_at < %s ORDER BY finished_at LIMIT %s
        )
        """,
        (before, limit),
    )
    return result.rowcount
