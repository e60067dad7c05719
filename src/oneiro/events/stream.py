"""Server-sent events: first the table, then the tail, so that nothing is missed and nothing comes twice.

The id of each is its position. No transaction is open while a stream waits, and a stream that waits costs no query.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import datetime
from uuid import UUID

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from oneiro.auth import Identity
from oneiro.database.pool import Database, DatabaseUnavailable
from oneiro.errors import NotFound
from oneiro.events import store
from oneiro.events.models import DREAMER_TYPES, Event, EventItem, Filter
from oneiro.events.tail import Closed, Lagged, Subscription, Tail

PAGE = 500
HEARTBEAT = b": heartbeat\n\n"
# How soon a client should come back, in milliseconds; then why we end a stream.
HELLO = b"retry: 2000\n\n"
EXPIRED = b'event: closing\ndata: {"reason": "token_expired"}\n\n'
ENDING = b'event: closing\ndata: {"reason": "shutting_down"}\n\n'
TROUBLED = b'event: closing\ndata: {"reason": "try_again"}\n\n'

Frames = AsyncGenerator[bytes]


class EventStream(StreamingResponse):
    """A response of server-sent events, whose generator is closed as soon as the client is gone."""

    media_type = "text/event-stream"

    def __init__(self, frames: Frames) -> None:
        super().__init__(frames, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._frames = frames

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the frames end or the client goes."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._frames.aclose()


class Streams:
    """Opens streams for dreamers and operators.

    clock: the time of day, for the token's expiry. heartbeat: seconds of silence after which a sign of life is sent.
    size: events that may wait for a slow client; one that falls further behind is served from the table again.
    """

    def __init__(
        self,
        db: Database,
        tail: Tail,
        *,
        clock: Callable[[], datetime],
        heartbeat: float = 15.0,
        size: int = 256,
    ) -> None:
        self._db = db
        self._tail = tail
        self._clock = clock
        self._heartbeat = heartbeat
        self._size = size

    async def conversation(self, caller: Identity, conversation_id: UUID, last: int | None) -> EventStream:
        """The events of a dreamer's conversation after a position, or from its beginning; raises `NotFound`."""
        user_id = caller.dreamer()
        async with self._db.as_dreamer(caller.claims) as conn:
            if not await store.owns_conversation(conn, user_id, conversation_id):
                raise NotFound("There is no such conversation of yours.", code="conversation_not_found")
        wanted = Filter(types=DREAMER_TYPES, conversation_id=conversation_id, user_id=user_id)
        return EventStream(self._follow(wanted, last or 0, self._deadline(caller)))

    async def operator(self, caller: Identity, wanted: Filter, last: int | None) -> EventStream:
        """All events that match, after a position, or from now on."""
        if last is None:
            async with self._db.as_service() as conn:
                last = await store.head(conn)
        return EventStream(self._follow(wanted, last, self._deadline(caller)))

    def _deadline(self, caller: Identity) -> float:
        left = (caller.expires_at - self._clock()).total_seconds()
        return asyncio.get_running_loop().time() + left

    async def _follow(self, wanted: Filter, last: int, deadline: float) -> Frames:
        yield HELLO
        loop = asyncio.get_running_loop()
        try:
            # Subscribed before the table is read: what is stamped in between comes both ways and is sent once.
            with self._tail.subscribe(wanted, size=self._size) as subscription:
                await self._tail.started.wait()
                while True:
                    while loop.time() < deadline and (page := await self._read(wanted, last)):
                        last = page[-1].position
                        yield b"".join(map(frame, page))
                    try:
                        async for events in self._listen(subscription, deadline):
                            fresh = [event for event in events if event.position > last]
                            if fresh:
                                last = fresh[-1].position
                                yield b"".join(map(frame, fresh))
                            elif not events:
                                yield HEARTBEAT
                    except Lagged:
                        continue
                    break
            yield EXPIRED
        except Closed:
            yield ENDING
        except DatabaseUnavailable:
            yield TROUBLED

    async def _read(self, wanted: Filter, last: int) -> list[Event]:
        async with self._db.as_service() as conn:
            return await store.select(conn, (last, None), wanted, PAGE)

    async def _listen(self, subscription: Subscription, deadline: float) -> AsyncGenerator[list[Event]]:
        """Events of a subscription, as many as wait; none after each silence, until the deadline."""
        loop = asyncio.get_running_loop()
        while (now := loop.time()) < deadline:
            try:
                async with asyncio.timeout_at(min(now + self._heartbeat, deadline)):
                    events = await subscription.take()
            except TimeoutError:
                if loop.time() < deadline:
                    yield []
            else:
                yield events


def frame(event: Event) -> bytes:
    """An event as a server-sent one."""
    data = EventItem.model_validate(event).model_dump_json()
    return f"id: {event.position}\nevent: {event.type}\ndata: {data}\n\n".encode()
