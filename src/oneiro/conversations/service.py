"""The verbs of a conversation that has started: connect, end, rate, read."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from oneiro.auth import Identity
from oneiro.conversations import store
from oneiro.conversations.access import locked, missing
from oneiro.conversations.events import record
from oneiro.conversations.models import Conversation, EndRequest, Message, Rating
from oneiro.conversations.state import after
from oneiro.database.pool import Connection, Database
from oneiro.dreamwork.summary import summarise
from oneiro.errors import Conflict
from oneiro.http import Cursor, ListOf, Page
from oneiro.interpreters import store as interpreters


class Conversations:
    """Conversations of a dreamer; every change locks the row first and writes its event beside it."""

    def __init__(self, db: Database, *, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._clock = clock

    async def connected(self, caller: Identity, conversation_id: UUID, platform_id: str) -> Conversation:
        """Note the platform's id of the open conversation; a repeat changes nothing."""
        async with self._db.as_service() as conn:
            conversation = await locked(conn, caller, conversation_id)
            after(conversation.status, "connect")
            if conversation.elevenlabs_conversation_id not in {None, platform_id}:
                raise Conflict("This conversation was connected under another id.", code="already_connected")
            if conversation.elevenlabs_conversation_id is None:
                session = await store.connect(conn, conversation_id, platform_id, self._clock())
                data = {"session": session, "elevenlabs_conversation_id": platform_id}
                await record(conn, conversation_id, caller.user_id, "conversation.connected", data)
            return await _read(conn, caller, conversation_id)

    async def end(self, caller: Identity, conversation_id: UUID, request: EndRequest) -> Conversation:
        """End a conversation and sum it up in its own words; a repeat changes nothing."""
        now = self._clock()
        async with self._db.as_service() as conn:
            conversation = await locked(conn, caller, conversation_id)
            status = after(conversation.status, "end")
            if status is not None:
                lines = await store.transcript(conn, conversation_id)
                seconds = round((now - (conversation.started_at or now)).total_seconds())
                name = await interpreters.name(conn, conversation.interpreter_id)
                summary = request.summary or summarise(lines, name=name, seconds=seconds)
                await store.end(conn, conversation_id, status, request.reason, summary, now)
                data = {"reason": request.reason, "seconds": seconds, "messages": len(lines)}
                await record(conn, conversation_id, caller.user_id, "conversation.ended", data)
            return await _read(conn, caller, conversation_id)

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
