"""Delivers what is due: under a lease, a bounded number at a time, again after growing pauses."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import httpcore
import structlog

from oneiro.database.pool import Connection, Database, DatabaseUnavailable
from oneiro.events import outbox
from oneiro.events.bell import STAMPED, Bell
from oneiro.events.consumers import Consumer
from oneiro.events.models import Event
from oneiro.events.pace import Pace
from oneiro.webhooks.delivery import message, store
from oneiro.webhooks.delivery.breaker import Breaker, told
from oneiro.webhooks.delivery.post import TIMEOUT_SECONDS, Answer, post
from oneiro.webhooks.delivery.schedule import JITTER, pause
from oneiro.webhooks.endpoints import store as endpoints
from oneiro.webhooks.endpoints.models import DeliveryState

log = structlog.get_logger()

SILENCE: Final = timedelta(days=1)
"""What has waited so long for an endpoint that took nothing meanwhile is waiting in vain."""
KEPT_DAYS: Final = 30
"""How long the log of deliveries goes back."""


async def fan_out(conn: Connection, event: Event) -> None:
    """Handle any event: a delivery for each endpoint that wants it, once."""
    await store.fan_out(conn, event)


FAN_OUT: Final = Consumer("webhooks", (), fan_out, together=200, concerned=store.wanted)
"""The durable consumer that turns events into deliveries."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bounds of a deliverer; times in seconds.

    concurrency: attempts at a time. per_endpoint: of these to one endpoint, over all processes. timeout: longest
    attempt. lease: how long a dead process keeps a delivery, longer than an attempt. idle: longest pause between looks.
    """

    concurrency: int = 16
    per_endpoint: int = 4
    timeout: float = TIMEOUT_SECONDS
    lease: float = 60.0
    idle: float = 1.0
    draw: Callable[[float, float], float] = field(default=random.uniform)


class Deliverer:
    """Posts events to endpoints; every replica may run one. At least once: a receiver knows a repeat by its id.

    source: our address, as CloudEvents name the sender. pool: guarded connections, see `guard.connections`.
    """

    def __init__(
        self,
        db: Database,
        bell: Bell,
        pool: httpcore.AsyncConnectionPool,
        *,
        source: str,
        clock: Callable[[], datetime],
        bounds: Bounds | None = None,
    ) -> None:
        self._db, self._pool, self._source, self._clock = db, pool, source, clock
        self._bounds = bounds or Bounds()
        self._owner = uuid4().hex
        self._running: set[asyncio.Task[None]] = set()
        # Deliveries are made right after an event got its position: looked for quickly from then on.
        self._wake = bell.listener(STAMPED)
        self._pace = Pace(self._wake, shortest=0.02, longest=self._bounds.idle)

    async def run(self) -> None:
        """Deliver until cancelled, then give back what was not finished."""
        try:
            while True:
                taken = 0
                with suppress(DatabaseUnavailable):
                    taken = await self.step()
                await self._pace.rest(worked=taken > 0)
        finally:
            await self._abandon()

    async def step(self) -> int:
        """Begin to deliver what is due, as far as there is room; returns how many."""
        free = self._bounds.concurrency - len(self._running)
        if free <= 0:
            return 0
        async with self._db.as_service() as conn:
            due = await store.claim(conn, self._owner, free, self._bounds.per_endpoint, self._bounds.lease)
        for each in due:
            task = asyncio.create_task(self._deliver(each), name="webhook delivery")
            self._running.add(task)
            task.add_done_callback(self._ended)
        return len(due)

    async def close(self) -> None:
        """Close its connections."""
        await self._pool.aclose()

    async def settled(self) -> None:
        """Wait until nothing is under way."""
        while self._running:
            await asyncio.wait(self._running)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._wake.set()

    async def _deliver(self, due: store.Due) -> None:
        now = self._clock()
        content = message.body(due.event, self._source)
        headers = message.headers(str(due.event.id), content, due.signers, now)
        answer = await post(self._pool, due.url, headers, content, self._bounds.timeout)
        with suppress(DatabaseUnavailable):  # The lease lapses then, and it is delivered again.
            async with self._db.as_service() as conn:
                await self._note(conn, due, answer, now)

    async def _note(self, conn: Connection, due: store.Due, answer: Answer, now: datetime) -> None:
        retry_in = None if answer.ok or answer.gone else pause(due.attempts + 1, self._bounds.draw(*JITTER))
        if retry_in is not None and answer.retry_after is not None:
            retry_in = max(retry_in, answer.retry_after)
        ended: DeliveryState = "delivered" if answer.ok else "dead"
        attempt = {"at": now.isoformat(), "status": answer.status, "ms": answer.ms, "error": answer.error}
        state: DeliveryState = ended if retry_in is None else "pending"
        held = await store.lock_endpoint(conn, due.endpoint_id)
        if held is None or not await store.finish(conn, self._owner, due, state, retry_in, attempt):
            return
        await self._count(conn, due.endpoint_id, *held, fault=answer.fault)
        if answer.ok:
            await store.succeeded(conn, due.endpoint_id)
            return
        await store.failed(conn, due.endpoint_id)
        if answer.retry_after:
            await store.postpone(conn, due.endpoint_id, answer.retry_after)
        if answer.gone:
            await self._disable(conn, due.endpoint_id, "gone")
            return
        # Behind an open breaker few deliveries use up their attempts, so the days count as well.
        given_up = state == "dead" or due.created_at <= held[1] - SILENCE
        if given_up and await store.silent_since(conn, due.endpoint_id, due.created_at):
            await self._disable(conn, due.endpoint_id, "failing")

    async def _count(
        self, conn: Connection, endpoint_id: UUID, breaker: Breaker, now: datetime, *, fault: bool
    ) -> None:
        """Let an attempt change the endpoint's breaker, and tell of its change of state."""
        changed = breaker.after(fault=fault, now=now)
        if changed == breaker:
            return
        await store.note_breaker(conn, endpoint_id, changed)
        if changed.state != breaker.state:
            log.warning("webhook.breaker", endpoint_id=str(endpoint_id), state=changed.state)
            await told(conn, endpoint_id, changed.state)

    async def _disable(self, conn: Connection, endpoint_id: UUID, reason: str) -> None:
        """Send nothing more to an endpoint that takes nothing, and tell so."""
        if await endpoints.disable(conn, endpoint_id, reason, self._clock()):
            if await endpoints.wake(conn, endpoint_id):
                await told(conn, endpoint_id, "closed")
            log.warning("webhook.disabled", endpoint_id=str(endpoint_id), reason=reason)
            await outbox.record(
                conn,
                "webhook.disabled",
                entity_type="webhook_endpoint",
                entity_id=str(endpoint_id),
                data={"reason": reason},
            )

    async def _abandon(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        with suppress(DatabaseUnavailable):
            async with self._db.as_service() as conn:
                await store.give_back(conn, self._owner)


async def prune(db: Database, before: datetime, *, batch: int = 1000) -> int:
    """Delete the log of deliveries that were made before a time, in short transactions; returns how many."""
    deleted = 0
    while True:
        async with db.as_service() as conn:
            count = await store.delete_old(conn, before, batch)
        deleted += count
        if count < batch:
            return deleted
