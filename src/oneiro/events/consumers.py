"""Durable consumers: each has a cursor, one process at a time runs it, nothing is skipped.

The cursor moves in the transaction in which an event is handled, so that what a consumer writes is written exactly
once. An event that it cannot handle is set aside with the later ones of its conversation, tried again after growing
pauses, and then waits for an operator; the events of other conversations go on.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import structlog

from oneiro import tracing
from oneiro.database.pool import Connection, Database, DatabaseUnavailable
from oneiro.errors import OneiroError
from oneiro.events import store
from oneiro.events.bell import STAMPED, Bell
from oneiro.events.models import Event, Filter
from oneiro.events.pace import Pace
from oneiro.events.parked import store as parked

log = structlog.get_logger()

BATCH = 200
# Positions looked at in one go: a consumer of rare events need not search the whole log for its next one.
WINDOW = 10_000
# Seconds until a process asks again for a lease that another one holds.
LONGEST_WAIT = 1.0
# Losses of the database with the same event in hand that count as nobody's fault. An outage is met before any event is
# in hand, so that few are lost in it; one that ends its connection each time is found out.
LOSSES = 5


@dataclass(frozen=True, slots=True)
class Consumer:
    """What is done with events, in the transaction that moves the cursor: `fn(conn, event)`.

    `types` empty: all. `together`: events handled in one transaction; more is faster, and is tried one by one when
    one of them fails. `from_now`: a new consumer begins after the events there are, instead of with the first.
    `concerned`: ids of those among several events with which there is something to do; asked once for each
    transaction, it saves a consumer of frequent events a statement for each of them.
    """

    name: str
    types: Collection[str]
    fn: Callable[[Connection, Event], Awaitable[None]]
    together: int = 1
    from_now: bool = False
    concerned: Callable[[Connection, Sequence[Event]], Awaitable[Collection[UUID]]] | None = None

    async def pick(self, conn: Connection, events: Sequence[Event]) -> Sequence[Event]:
        """The events with which there is something to do."""
        if self.concerned is None or not events:
            return events
        ids = await self.concerned(conn, events)
        return [event for event in events if event.id in ids]


@dataclass(frozen=True, slots=True)
class Emitter:
    """What is done with events outside the database, at least once: `fn(event)` may use the network."""

    name: str
    types: Collection[str]
    fn: Callable[[Event], Awaitable[None]]
    from_now: bool = False


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a failed event is tried, and the pauses in seconds between: `first`, growing by `factor` to `longest`.

    Each pause is drawn between half and one and a half of that, so that consumers do not come back in step.
    """

    attempts: int = 6
    first: float = 0.5
    factor: float = 4.0
    longest: float = 300.0
    draw: Callable[[float, float], float] = field(default=random.uniform)

    def pause(self, failed: int) -> float | None:
        """Seconds until the next attempt after so many failed ones; None when there is none."""
        if failed >= self.attempts:
            return None
        full = min(self.first * self.factor ** (failed - 1), self.longest)
        return full * self.draw(0.5, 1.5)


class LeaseLost(Exception):
    """Another process holds the consumer now, or an operator moved its cursor."""


def fault(error: BaseException) -> str:
    """A fault as it may be written down: class and code, never a text that might repeat what was said."""
    name = type(error).__name__
    return f"{name}: {error.code}" if isinstance(error, OneiroError) else name


@dataclass(frozen=True, slots=True)
class Timing:
    """Times of a consumer, in seconds.

    lease: how long a dead process keeps it. timeout: how long one event may take, shorter than the lease. busy, idle:
    the shortest and the longest pause between two looks.
    """

    lease: float = 30.0
    timeout: float = 20.0
    busy: float = 0.01
    idle: float = 1.0


class Worker:
    """Runs one consumer while this process holds its lease."""

    def __init__(
        self,
        db: Database,
        bell: Bell,
        consumer: Consumer | Emitter,
        *,
        retries: Retries | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._db = db
        self._consumer = consumer
        self._name = consumer.name
        self._wanted = Filter(types=frozenset(consumer.types))
        self._retries = retries or Retries()
        self._timing = timing or Timing()
        self._clock = clock
        self._owner = uuid4().hex
        self._position: int | None = None
        self._renew_at = self._try_at = 0.0
        self._registered = False
        self._losses: Counter[tuple[int, bool]] = Counter()
        self._pace = Pace(bell.listener(STAMPED), shortest=self._timing.busy, longest=self._timing.idle)

    async def run(self) -> None:
        """Handle events until cancelled, then give the lease back."""
        try:
            while True:
                worked = False
                with suppress(DatabaseUnavailable):
                    worked = await self.step()
                if not worked:
                    await self._pace.rest(worked=False)
        finally:
            with suppress(DatabaseUnavailable):
                await self.release()

    async def step(self) -> bool:
        """Retry what is due and handle one batch; false when there was nothing to do, or not for this process."""
        try:
            await self._hold()
            if self._position is None:
                return False
            retried = await self._retry_due()
            return await self._batch() or retried
        except LeaseLost:
            log.info("consumer.lease_lost", consumer=self._name)
            self._position = None
            return False

    async def release(self) -> None:
        """Give the lease back, if this process holds it."""
        if self._position is not None:
            self._position = None
            async with self._db.as_service() as conn:
                await store.release_lease(conn, self._name, self._owner)

    async def _hold(self) -> None:
        now = self._clock()
        if now < (self._try_at if self._position is None else self._renew_at):
            return
        async with self._db.as_service() as conn:
            if not self._registered:
                from_now = self._consumer.from_now
                await store.register(conn, self._name, from_now=from_now)
            self._position = await store.take_lease(conn, self._name, self._owner, self._timing.lease)
        self._registered = True
        self._renew_at = now + self._timing.lease / 3
        # Who does not hold it is woken as often as who does, and need not ask each time.
        self._try_at = 0.0 if self._position is not None else now + min(self._timing.lease / 3, LONGEST_WAIT)

    async def _batch(self) -> bool:
        async with self._db.as_service() as conn:
            # The head is read first: every position up to it is committed and visible to what follows. The cursor is
            # read with it, since an operator may have moved it.
            span = await store.span(conn, self._name, self._owner)
            if span is None:
                raise LeaseLost
            start, head = span
            self._position, end = start, min(head, start + WINDOW)
            if end <= start:
                return False
            events = await store.select(conn, (start, end), self._wanted, BATCH)
            blocked = await parked.blocked(conn, self._name)
        together = self._consumer.together if isinstance(self._consumer, Consumer) else 1
        for first in range(0, len(events), together):
            await self._handle(events[first : first + together], blocked)
        if len(events) < BATCH and self._held() < end:
            async with self._db.as_service() as conn:
                await self._move(conn, end)
            self._position = end
        return True

    async def _handle(self, events: list[Event], blocked: set[UUID]) -> None:
        """Handle events in one transaction; on a fault one by one, setting aside what fails alone."""
        try:
            await self._done(events, blocked)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a consumer raises is its event's fault, not the loop's
            self._blame(events, error)
            await self._one_by_one(events, blocked, error)
        self._position = events[-1].position
        self._forgive(events[0])

    def _blame(self, events: list[Event], error: Exception) -> None:
        """Raise a loss of the database that is not these events' fault yet; the loop rests, and comes to them again.

        Losses of several events together say nothing of the first one alone, so they are counted apart.
        """
        if isinstance(error, DatabaseUnavailable):
            tried = events[0].position, len(events) == 1
            self._losses[tried] += 1
            if self._losses[tried] <= LOSSES:
                log.info("consumer.database_lost", consumer=self._name, position=events[0].position)
                raise error

    def _forgive(self, event: Event) -> None:
        for alone in (False, True):
            self._losses.pop((event.position, alone), None)

    async def _one_by_one(self, events: list[Event], blocked: set[UUID], error: Exception) -> None:
        if len(events) > 1:
            for event in events:
                await self._handle([event], blocked)
            return
        event, pause = events[0], self._retries.pause(1)
        log.warning("consumer.event_failed", consumer=self._name, position=event.position, error=fault(error))
        async with self._db.as_service() as conn:
            await self._move(conn, event.position)
            await parked.insert(conn, self._name, event, fault(error), pause)
        if event.conversation_id is not None:
            blocked.add(event.conversation_id)

    async def _done(self, events: list[Event], blocked: set[UUID]) -> None:
        free = [event for event in events if event.conversation_id not in blocked]
        if isinstance(self._consumer, Emitter):
            for event in free:
                await self._emit(self._consumer, event)
        async with self._db.as_service() as conn:
            # Moved first: the row's lock keeps another process from handling the same events at the same time.
            await self._move(conn, events[-1].position)
            for event in events:
                if event.conversation_id in blocked:
                    await parked.insert(conn, self._name, event, None, None)
            if isinstance(self._consumer, Consumer):
                async with asyncio.timeout(self._timing.timeout):
                    concerned = await self._consumer.pick(conn, free)
                for event in concerned:
                    async with asyncio.timeout(self._timing.timeout):
                        await self._traced(event, self._consumer.fn(conn, event))

    async def _emit(self, emitter: Emitter, event: Event) -> None:
        async with self._db.as_service() as conn:
            await self._move(conn, self._held())
        async with asyncio.timeout(self._timing.timeout):
            await self._traced(event, emitter.fn(event))

    async def _traced(self, event: Event, work: Awaitable[None]) -> None:
        with tracing.continued(f"consumer.{self._name}", event.traceparent, event=event.type):
            await work

    async def _retry_due(self) -> bool:
        async with self._db.as_service() as conn:
            waiting = await parked.due(conn, self._name, BATCH)
        for attempts, event in waiting:
            try:
                await self._again(event)
            except LeaseLost:
                raise
            except Exception as error:  # noqa: BLE001 - as in _handle
                self._blame([event], error)
                pause = self._retries.pause(attempts + 1)
                log.warning("consumer.retry_failed", consumer=self._name, position=event.position, error=fault(error))
                async with self._db.as_service() as conn:
                    await self._move(conn, self._held())
                    await parked.fail(conn, self._name, event.position, fault(error), pause)
            self._forgive(event)
        return bool(waiting)

    async def _again(self, event: Event) -> None:
        if isinstance(self._consumer, Emitter):
            await self._emit(self._consumer, event)
        async with self._db.as_service() as conn:
            await self._move(conn, self._held())
            if isinstance(self._consumer, Consumer):
                async with asyncio.timeout(self._timing.timeout):
                    await self._traced(event, self._consumer.fn(conn, event))
            await parked.delete(conn, self._name, event.position)

    def _held(self) -> int:
        assert self._position is not None
        return self._position

    async def _move(self, conn: Connection, end: int) -> None:
        if not await store.move(conn, self._name, self._owner, self._timing.lease, (self._held(), end)):
            raise LeaseLost


class Consumers:
    """All durable consumers of a process: `loops` are to be run, each by itself; `names` are those of their cursors."""

    def __init__(self, db: Database, bell: Bell, consumers: Collection[Consumer | Emitter]) -> None:
        names = [consumer.name for consumer in consumers]
        assert len(set(names)) == len(names), "two consumers would share a cursor"
        assert store.SEQUENCER not in names
        self.names = tuple(names)
        self.loops = tuple(Worker(db, bell, consumer) for consumer in consumers)
