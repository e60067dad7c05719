"""Put a job into the table, in the caller's transaction: it is there if the change is."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from oneiro.database.pool import Connection
from oneiro.events import bell
from oneiro.jobs import store

MAX_ATTEMPTS = 8


async def enqueue(
    conn: Connection,
    kind: str,
    payload: Mapping[str, object] | None = None,
    *,
    run_at: datetime | None = None,
    dedupe_key: str | None = None,
    max_attempts: int = MAX_ATTEMPTS,
) -> UUID | None:
    """Enqueue a job, due now or at `run_at`; None when one with this `dedupe_key` waits or runs already.

    `payload` holds ids only. A job that runs may have read its input before the caller's change: who needs the work
    done after that change leaves `dedupe_key` out.
    """
    job_id = await store.insert(
        conn, kind, payload or {}, run_at=run_at, dedupe_key=dedupe_key, max_attempts=max_attempts
    )
    bell.mark(conn, bell.JOBS)
    return job_id
