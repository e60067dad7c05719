"""The tail of the log in this process: every stamped event from now on, in memory, to whoever subscribed.

One query a look, however many subscribers. Nobody can hold it up: a subscriber that does not keep up loses what was
waiting for it and is told so.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from oneiro.database.pool import Database, DatabaseUnavailable
from oneiro.events import store
from oneiro.events.bell import STAMPED, Bell
from oneiro.events.models import Event, Filter
from oneiro.events.pace import Pace

PAGE = 1000
EVERYTHING = Filter()


class Lagged(Exception):
    """The subscriber was too slow: events between the last one it took and the next one were dropped."""


class Closed(Exception):
    """The process is about to end; nothing more comes."""


class Subscription:
    """What one subscriber has not taken yet, at most `size` events."""

    __slots__ = ("_closed", "_items", "_lagged", "_matches", "_ready", "_size")

    def __init__(self, matches: Callable[[Event], bool], size: int) -> None:
        self._matches = matches
        self._size = size
        self._items: deque[Event] = deque()
        self._ready = asyncio.Event()
        self._lagged = False
        self._closed = False

    def offer(self, event: Event) -> None:
        """Take an event if it is asked for; when full, drop all and remember that."""
        if not self._matches(event):
            return
        if len(self._items) >= self._size:
            self._items.clear()
            self._lagged = True
        self._items.append(event)
        self._ready.set()

    def close(self) -> None:
        """Let whoever waits know that nothing more comes."""
        self._closed = True
        self._ready.set()

    async def get(self) -> Event:
        """The next event; raises `Lagged` once after events were dropped, `Closed` at the end."""
        while not self._items and not self._closed:
            self._ready.clear()
            await self._ready.wait()
        if self._lagged:
            self._lagged = False
            raise Lagged
        if not self._items:
            raise Closed
        return self._items.popleft()

    async def take(self) -> list[Event]:
        """All that waits, at least one event; raises as `get` does."""
        events = [await self.get(), *self._items]
        self._items.clear()
        return events

    async def __aiter__(self) -> AsyncIterator[Event]:
        with suppress(Closed):
            while True:
                yield await self.get()


class Tail:
    """The tail of this process; `started` is set once it knows where "now" is.

    busy, idle: the shortest and the longest pause between two looks, in seconds.
    """

    def __init__(self, db: Database, bell: Bell, *, busy: float = 0.005, idle: float = 0.25) -> None:
        self._db = db
        self._bell = bell
        self._everywhere: set[Subscription] = set()
        self._conversations: dict[UUID, set[Subscription]] = {}
        self._position: int | None = None
        self._closed = False
        self._pace = Pace(bell.listener(STAMPED), shortest=busy, longest=idle)
        self.started = asyncio.Event()

    @property
    def subscribers(self) -> int:
        """How many there are."""
        return len(self._everywhere) + sum(map(len, self._conversations.values()))

    @contextmanager
    def subscribe(self, wanted: Filter = EVERYTHING, *, size: int = 256) -> Iterator[Subscription]:
        """Receive from now on what the filter lets through, while the block lasts."""
        subscription = Subscription(wanted.matches, size)
        one = wanted.conversation_id
        group = self._everywhere if one is None else self._conversations.setdefault(one, set())
        group.add(subscription)
        if self._closed:
            subscription.close()
        try:
            yield subscription
        finally:
            group.discard(subscription)
            if one is not None and not group and self._conversations.get(one) is group:
                del self._conversations[one]

    def close(self) -> None:
        """End every subscription, so that open streams do not hold up the end of the process."""
        self._closed = True
        for group in (self._everywhere, *self._conversations.values()):
            for subscription in group:
                subscription.close()

    async def run(self) -> None:
        """Follow the log until cancelled."""
        while True:
            count = 0
            with suppress(DatabaseUnavailable):
                count = await self.step()
            if count < PAGE:
                await self._pace.rest(worked=count > 0)

    async def step(self) -> int:
        """Hand out what is new; returns how many events that were."""
        if self._position is None or not self.subscribers:
            await self._skip()
            # Who subscribed during the look may have read less of the table: look again.
            return PAGE if self.subscribers else 0
        async with self._db.as_service() as conn:
            events = await store.select(conn, (self._position, None), EVERYTHING, PAGE)
        for event in events:
            self._hand_out(event)
            self._position = event.position
        return len(events)

    async def _skip(self) -> None:
        """Go to the head, since nobody has asked for what stands before it."""
        async with self._db.as_service() as conn:
            head = await store.head(conn)
        if self._position is None or not self.subscribers:
            self._position = head
            self.started.set()

    def _hand_out(self, event: Event) -> None:
        for subscription in self._everywhere:
            subscription.offer(event)
        if event.conversation_id is not None:
            for subscription in self._conversations.get(event.conversation_id, ()):
                subscription.offer(event)
