"""What operators do with jobs: look, retry, count, prune."""

from datetime import datetime
from uuid import UUID

from oneiro.database.pool import Database
from oneiro.errors import Conflict, NotFound
from oneiro.jobs import store
from oneiro.jobs.models import Job, JobState


class Jobs:
    """The table of jobs as operators see it."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(
        self, state: JobState | None, kind: str | None, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[Job]:
        """Jobs, newest first, after a place in that order."""
        async with self._db.as_service() as conn:
            return await store.select(conn, state, kind, after, limit)

    async def retry(self, job_id: UUID) -> Job:
        """Queue a dead job again; raises `NotFound`, or `Conflict` when it is not dead or another one has its key."""
        async with self._db.as_service() as conn:
            revived = await store.revive(conn, job_id)
            job = await store.find(conn, job_id)
        if job is None:
            raise NotFound("There is no such job.", code="job_not_found")
        if not revived and job.state == "dead":
            raise Conflict("Another job with its key waits or runs.", code="job_superseded")
        if not revived:
            raise Conflict("Only a dead job can be tried again.", code="job_not_dead")
        return job

    async def counts(self) -> dict[JobState, int]:
        """How many jobs there are in each state (`oneiro_jobs`)."""
        async with self._db.as_service() as conn:
            return await store.counts(conn)

    async def prune(self, before: datetime, *, batch: int = 1000) -> int:
        """Delete jobs that were done or dead before a time; returns how many.

        It must lie further back than the longest period of a periodic job, whose row is the proof that it ran.
        """
        deleted = 0
        while True:
            async with self._db.as_service() as conn:
                count = await store.delete_finished(conn, before, batch)
            deleted += count
            if count < batch:
                return deleted
