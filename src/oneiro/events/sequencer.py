"""The sequencer: gives every committed event its position, the order in which everyone reads.

`seq` is given at insert and becomes visible out of order; a position is given to rows that are committed, by one
process at a time, so that reading `position > last` misses nothing. It depends neither on transaction numbers, which
do not survive a restore and stand still while any transaction of the cluster is open, nor on clocks.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from uuid import uuid4

import structlog

from oneiro.database.pool import Database, DatabaseUnavailable
from oneiro.events import store
from oneiro.events.bell import STAMPED, WRITTEN, Bell
from oneiro.events.pace import Pace

log = structlog.get_logger()

# Seconds until a process asks again for the lease that another one holds.
LONGEST_WAIT = 0.25


class Sequencer:
    """One of the processes that want to stamp; the lease decides which one does.

    lease, busy, idle: seconds; `busy` and `idle` are the shortest and the longest pause between two looks.
    batch: events stamped in one statement. clock: seconds that only go forward.
    """

    def __init__(
        self,
        db: Database,
        bell: Bell,
        *,
        lease: float = 10.0,
        busy: float = 0.005,
        idle: float = 0.25,
        batch: int = 1000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._bell = bell
        self._lease = lease
        self._batch = batch
        self._clock = clock
        self._owner = uuid4().hex
        self._renew_at: float | None = None
        self._try_at = 0.0
        self._registered = False
        self._pace = Pace(bell.listener(WRITTEN), shortest=busy, longest=idle)

    async def run(self) -> None:
        """Stamp until cancelled, then give the lease back."""
        try:
            while True:
                found = 0
                with suppress(DatabaseUnavailable):
                    found = await self.step()
                if found < self._batch:
                    await self._pace.rest(worked=found > 0)
        finally:
            with suppress(DatabaseUnavailable):
                await self.release()

    async def step(self) -> int:
        """Stamp one batch; returns how many events there were, 0 also while another process holds the lease."""
        if not await self._leased():
            return 0
        async with self._db.as_service() as conn:
            stamped = await store.stamp(conn, self._owner, self._batch)
        if not stamped.held:
            log.info("sequencer.lease_lost")
            self._renew_at = None
            return 0
        if stamped.found:
            self._bell.ring(STAMPED)
        return stamped.found

    async def release(self) -> None:
        """Give the lease back, if this process holds it."""
        if self._renew_at is not None:
            self._renew_at = None
            async with self._db.as_service() as conn:
                await store.release_lease(conn, store.SEQUENCER, self._owner)

    async def _leased(self) -> bool:
        now = self._clock()
        if self._renew_at is not None and now < self._renew_at:
            return True
        if self._renew_at is None and now < self._try_at:
            return False
        async with self._db.as_service() as conn:
            if not self._registered:
                await store.register(conn, store.SEQUENCER)
            position = await store.take_lease(conn, store.SEQUENCER, self._owner, self._lease)
            if position is not None and self._renew_at is None:
                await store.never_behind(conn)
        self._registered = True
        self._renew_at = None if position is None else now + self._lease / 3
        # Who does not hold it is woken as often as who does, and need not ask each time.
        self._try_at = 0.0 if position is not None else now + min(self._lease / 3, LONGEST_WAIT)
        return position is not None
