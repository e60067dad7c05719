"""Runs jobs: as many at a time as allowed, each under a lease that lapses when this process dies."""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic
from uuid import UUID, uuid4

import structlog

from oneiro import tracing
from oneiro.database.pool import Database, DatabaseUnavailable
from oneiro.events.bell import JOBS, Bell
from oneiro.events.consumers import fault
from oneiro.events.loops import end
from oneiro.events.pace import Pace
from oneiro.jobs import store
from oneiro.jobs.models import Claimed, JobFunction, Periodic, Services

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a runner, in seconds unless said otherwise.

    concurrency: jobs at a time. lease: how long a dead process keeps its jobs. timeout: longest run of a job.
    first, longest: the pause after the first fault, doubled after each further one, drawn between half and one and a
    half of that. idle: the longest pause between two looks.
    """

    concurrency: int = 8
    lease: float = 30.0
    timeout: float = 300.0
    first: float = 2.0
    longest: float = 3600.0
    idle: float = 1.0
    draw: Callable[[float, float], float] = field(default=random.uniform)

    def pause(self, job: Claimed) -> float | None:
        """Seconds until a failed job is tried again; None when its attempts are used up."""
        if job.attempts >= job.max_attempts:
            return None
        return min(self.first * 2.0 ** (job.attempts - 1), self.longest) * self.draw(0.5, 1.5)


class Runner(Generic[Services]):
    """Takes due jobs of the kinds in `functions` and runs them; every replica may have one.

    A job is run at least once: its function must bear a repetition.
    """

    def __init__(
        self,
        db: Database,
        bell: Bell,
        services: Services,
        functions: Mapping[str, JobFunction[Services]],
        *,
        periodic: Collection[Periodic] = (),
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        unknown = {job.kind for job in periodic} - set(functions)
        assert not unknown, f"periodic jobs without a function: {unknown}"
        self._db = db
        self._services = services
        self._functions = dict(functions)
        self._periodic = list(periodic)
        self._limits = limits or Limits()
        self._clock = clock
        self._owner = uuid4().hex
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._draining = self._drained = False
        self._care_at = float("-inf")
        self._wake = bell.listener(JOBS)
        self._pace = Pace(self._wake, shortest=0.01, longest=self._limits.idle)

    async def run(self) -> None:
        """Run jobs until cancelled or drained; cancelled, it gives back what it had not finished."""
        try:
            while not self._drained:
                taken = 0
                with suppress(DatabaseUnavailable):
                    taken = await self.step()
                await self._pace.rest(worked=taken > 0)
        finally:
            await self._abandon()

    async def step(self) -> int:
        """Renew leases and queue periodic jobs when it is time, and start what is due; returns how many it started."""
        now = self._clock()
        if now >= self._care_at:
            await self._care()
            self._care_at = now + min(self._limits.lease / 3, 1.0)
        free = self._limits.concurrency - len(self._running)
        if free <= 0 or self._draining:
            return 0
        async with self._db.as_service() as conn:
            claimed = await store.claim(conn, self._owner, list(self._functions), free, self._limits.lease)
        for job in claimed:
            task = asyncio.create_task(self._perform(job), name=f"job {job.kind}")
            self._running[job.id] = task
            task.add_done_callback(partial(self._ended, job.id))
        return len(claimed)

    async def drain(self, grace: float) -> None:
        """Take no more jobs and wait so many seconds for the running ones; `run` then ends and gives back the others.

        Until then `run` goes on renewing their leases.
        """
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.settled()
        self._drained = True
        self._wake.set()

    async def settled(self) -> None:
        """Wait until nothing runs."""
        while self._running:
            await asyncio.wait(self._running.values())

    def _ended(self, job_id: UUID, task: asyncio.Task[None]) -> None:
        if self._running.get(job_id) is task:  # A failed job may be taken again before its first task has ended.
            del self._running[job_id]
        self._wake.set()

    async def _care(self) -> None:
        """What is done now and then: leases of ours, jobs of dead processes, jobs of this period."""
        await self._renew()
        async with self._db.as_service() as conn:
            if lapsed := await store.bring_back(conn):
                log.warning("jobs.lapsed", jobs=lapsed)
            if self._periodic and not self._draining:
                kinds, everies = zip(*((job.kind, job.every) for job in self._periodic), strict=True)
                await store.insert_periodic(conn, kinds, everies)

    async def _renew(self) -> None:
        ours = list(self._running)
        if not ours:
            return
        async with self._db.as_service() as conn:
            held = await store.renew(conn, self._owner, ours, self._limits.lease)
        for job_id in set(ours) - held:
            # Someone else runs it by now, or it is just done; ours must not go on beside it.
            if task := self._running.get(job_id):
                task.cancel()

    async def _perform(self, job: Claimed) -> None:
        try:
            with tracing.span(f"job.{job.kind}"):
                async with asyncio.timeout(self._limits.timeout):
                    await self._functions[job.kind](self._services, job.payload)
        except Exception as error:  # noqa: BLE001 - whatever a job raises is written to its row
            await self._failed(job, error)
            return
        with suppress(DatabaseUnavailable):  # Its lease lapses then, and it is run again.
            async with self._db.as_service() as conn:
                held = await store.finish(conn, self._owner, job)
            if not held:
                log.warning("job.lost", kind=job.kind, job_id=str(job.id))

    async def _failed(self, job: Claimed, error: Exception) -> None:
        pause = self._limits.pause(job)
        log.warning(
            "job.dead" if pause is None else "job.failed", kind=job.kind, job_id=str(job.id), error=fault(error)
        )
        with suppress(DatabaseUnavailable):
            async with self._db.as_service() as conn:
                await store.fail(conn, self._owner, job, fault(error), pause)

    async def _abandon(self) -> None:
        await end(list(self._running.values()))
        with suppress(DatabaseUnavailable):
            async with self._db.as_service() as conn:
                await store.give_back(conn, self._owner)
