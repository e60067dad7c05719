"""The verbs of a conversation that has started: connect, pause, end, rate, read, delete."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from psycopg.errors import UniqueViolation

from oneiro.auth import Identity
from oneiro.conversations import store
from oneiro.conversations.access import locked, missing
from oneiro.conversations.events import record
from oneiro.conversations.models import Conversation, EndReason, EndRequest, Message, Rating
from oneiro.conversations.slots import service as slots
from oneiro.conversations.slots import store as slot_rows
from oneiro.conversations.state import Action, after, status
from oneiro.conversations.transitions import store as transitions
from oneiro.conversations.wrapup.service import Closing, closing, write
from oneiro.database.pool import Connection, Database
from oneiro.dreamers import store as dreamers
from oneiro.errors import Conflict
from oneiro.http import Cursor, ListOf, Page
from oneiro.settings import Settings


class Conversations:
    """Conversations of a dreamer; every change locks the row first and writes its event beside it."""

    def __init__(self, db: Database, *, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._idle = timedelta(seconds=settings.idle_timeout_seconds)
        self._max_call_seconds = settings.max_call_seconds
        self._clock = clock

    async def connected(self, caller: Identity, conversation_id: UUID, platform_id: str) -> Conversation:
        """Note the platform's id of the latest session; a repeat changes nothing."""
        try:
            async with self._db.as_service() as conn:
                await self._connect(conn, await locked(conn, caller, conversation_id), platform_id)
                return await _read(conn, caller, conversation_id)
        except UniqueViolation:  # Two conversations claimed the same id at the same moment.
            raise _taken() from None

    async def _connect(self, conn: Connection, conversation: store.Locked, platform_id: str) -> None:
        after(conversation.state, "connect")
        known = await transitions.session_of(conn, platform_id)
        if known == conversation.conversation_id:
            return
        if known is not None or conversation.elevenlabs_conversation_id is not None:
            raise _taken()
        now = self._clock()
        await transitions.connect(conn, conversation.conversation_id, conversation.session, platform_id, now)
        if conversation.paused_at is None:
            await slot_rows.lease(conn, conversation.conversation_id, slots.DIRECT, now + self._idle)
        data = {"session": conversation.session, "elevenlabs_conversation_id": platform_id}
        await record(conn, conversation.conversation_id, conversation.user_id, "conversation.connected", data)

    async def pause(self, caller: Identity, conversation_id: UUID) -> Conversation:
        """Let a conversation wait for its dreamer; its slot is free meanwhile, and a repeat changes nothing."""
        async with self._db.as_service() as conn:
            conversation = await locked(conn, caller, conversation_id)
            if after(conversation.state, "pause") is not None:
                await transitions.pause(conn, conversation_id, self._clock())
                await slot_rows.release(conn, conversation_id)
                data = {"session": conversation.session}
                await record(conn, conversation_id, caller.user_id, "conversation.paused", data)
            return await _read(conn, caller, conversation_id)

    async def end(self, caller: Identity, conversation_id: UUID, request: EndRequest) -> Conversation:
        """End a conversation and sum it up in its own words; a repeat changes nothing."""
        now = self._clock()
        async with self._db.as_service() as conn:
            known = await store.look(conn, caller.dreamer(), conversation_id)
            if known is None:
                raise missing()
            if known.ended:
                return await _read(conn, caller, conversation_id)
            material = await closing(conn, known, now)
        # Reading the talk takes a moment, so nobody waits for a row or for the loop meanwhile.
        closed = (await asyncio.to_thread(material.close)).with_summary(request.summary)
        async with self._db.as_service() as conn:
            await self._end(conn, await locked(conn, caller, conversation_id), "end", request.reason, now, closed)
            return await _read(conn, caller, conversation_id)

    async def shut_down(self, conversation_id: UUID, *, by: str | None = None) -> bool:
        """End anybody's conversation because the service or an operator says so; false when it had ended or is gone.

        `by` is the operator. An event of its own names her: the conversation's are shown to its dreamer.
        """
        now = self._clock()
        async with self._db.as_service() as conn:
            held = await store.lock(conn, None, conversation_id)
            if held is None or not await self._end(conn, held, "shut_down", "system_shutdown", now, None):
                return False
            if by is not None:
                await record(conn, conversation_id, held.user_id, "operator.viewed", {"what": "end", "by": by})
            return True

    async def _end(
        self,
        conn: Connection,
        conversation: store.Locked,
        action: Action,
        reason: EndReason,
        now: datetime,
        closed: Closing | None,
    ) -> bool:
        state = after(conversation.state, action)
        if state is None:
            return False
        await transitions.end(conn, conversation.conversation_id, status(state), reason, now)
        await slot_rows.release(conn, conversation.conversation_id)
        if state == "failed":
            await record(
                conn, conversation.conversation_id, conversation.user_id, "conversation.failed", {"code": reason}
            )
            return True
        if closed is not None:
            await write(conn, conversation.conversation_id, conversation.user_id, closed, now)
        seconds = round((now - (conversation.started_at or now)).total_seconds())
        data = {"reason": reason, "seconds": seconds, "messages": conversation.message_count}
        await record(conn, conversation.conversation_id, conversation.user_id, "conversation.ended", data)
        return True

    async def delete(self, caller: Identity, conversation_id: UUID) -> None:
        """Delete a conversation and what was said in it, and tell so; one that is open ends first."""
        async with self._db.as_service() as conn:
            conversation = await locked(conn, caller, conversation_id)
            # Before the rows that go: who takes back a consent holds her own row first and what was read from her then.
            await dreamers.hold(conn, conversation.user_id)
            await self._end(conn, conversation, "end", "user_ended", self._clock(), None)
            # Told here, since the rows that say whose interpreter it was and what the platform has of it are gone.
            data = {
                "interpreter_id": conversation.interpreter_id,
                "max_call_seconds": self._max_call_seconds,
                "sessions": await store.at_platform(conn, conversation_id),
            }
            await store.delete(conn, conversation.user_id, conversation_id)
            await record(conn, conversation_id, conversation.user_id, "conversation.deleted", data)

    async def rate(self, caller: Identity, conversation_id: UUID, rating: Rating) -> Conversation:
        """Note the dreamer's rating, during or after the conversation."""
        async with self._db.as_service() as conn:
            await locked(conn, caller, conversation_id)
            if await store.rate(conn, conversation_id, rating.score, rating.comment):
                await record(conn, conversation_id, caller.user_id, "conversation.rated", {"score": rating.score})
            return await _read(conn, caller, conversation_id)

    async def read(self, caller: Identity, conversation_id: UUID) -> Conversation:
        """One conversation, as row-level security shows it to the caller."""
        async with self._db.as_dreamer(caller.claims) as conn:
            return await _read(conn, caller, conversation_id)

    async def list(self, caller: Identity, page: Page) -> ListOf[Conversation]:
        """A page of conversations, newest first."""
        async with self._db.as_dreamer(caller.claims) as conn:
            found = await store.select(conn, caller.dreamer(), page.limit + 1, page.cursor)
        items = found[: page.limit]
        last = items[-1] if len(found) > page.limit else None
        return ListOf(items=items, next_cursor=last and Cursor(last.created_at, str(last.conversation_id)).encode())

    async def messages(self, caller: Identity, conversation_id: UUID, page: Page) -> ListOf[Message]:
        """A page of what was said, oldest first."""
        async with self._db.as_dreamer(caller.claims) as conn:
            await _read(conn, caller, conversation_id)
            return await said(conn, conversation_id, page)


async def said(conn: Connection, conversation_id: UUID, page: Page) -> ListOf[Message]:
    """A page of what was said in a conversation, oldest first; whoever calls has made sure whose it is."""
    found = await store.select_messages(conn, conversation_id, page.limit + 1, page.cursor)
    items = [message for _, message in found[: page.limit]]
    more = None
    if len(found) > page.limit:
        ordinal, last = found[page.limit - 1]
        more = Cursor(last.occurred_at, str(ordinal)).encode()
    return ListOf(items=items, next_cursor=more)


async def _read(conn: Connection, caller: Identity, conversation_id: UUID) -> Conversation:
    conversation = await store.find(conn, caller.dreamer(), conversation_id)
    if conversation is None:
        raise missing()
    return conversation


def _taken() -> Conflict:
    return Conflict("This conversation was connected under another id.", code="already_connected")
