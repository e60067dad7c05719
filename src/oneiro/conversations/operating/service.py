"""Lets operators look at conversations and end them; each look is noted in the transaction in which it happens."""

from typing import Literal
from uuid import UUID

from oneiro.auth import Identity
from oneiro.conversations import store as conversations
from oneiro.conversations.events import record
from oneiro.conversations.flags import store as flags
from oneiro.conversations.models import Message
from oneiro.conversations.operating import store
from oneiro.conversations.operating.models import ConversationDetail, ConversationItem, WantedConversations
from oneiro.conversations.service import Conversations, said
from oneiro.database.pool import Connection, Database
from oneiro.dreamers import store as dreamers
from oneiro.errors import NotFound
from oneiro.events import outbox
from oneiro.http import Cursor, ListOf, Page


class ConversationsForOperators:
    """Everybody's conversations as operators see them."""

    def __init__(self, db: Database, conversations: Conversations) -> None:
        self._db, self._conversations = db, conversations

    async def list(self, caller: Identity, wanted: WantedConversations, page: Page) -> ListOf[ConversationItem]:
        """A page of conversations, the newest first; where it was asked for one dreamer's, the look is at her."""
        async with self._db.as_service() as conn:
            known = wanted.user_id is not None and await dreamers.hold(conn, wanted.user_id)
            found = await store.select(conn, wanted, page.limit + 1, page.cursor)
            items = found[: page.limit]
            await outbox.record(
                conn,
                "operator.viewed",
                entity_type="dreamer",
                entity_id=str(wanted.user_id) if known else "",
                data={"what": "conversations", "by": caller.actor, "count": len(items)},
                user_id=wanted.user_id if known else None,
            )
        more = (
            Cursor(items[-1].created_at, str(items[-1].conversation_id)).encode() if len(found) > page.limit else None
        )
        return ListOf(items=items, next_cursor=more)

    async def read(self, caller: Identity, conversation_id: UUID) -> ConversationDetail:
        """One conversation with its sessions, metrics and flags; raises `NotFound`."""
        async with self._db.as_service() as conn:
            await _view(conn, caller, conversation_id, "conversation")
            found = await store.detail(conn, conversation_id)
            if found is None:
                raise _missing()
            return found.model_copy(
                update={
                    "sessions": await store.sessions(conn, conversation_id),
                    "metrics": await store.metrics(conn, conversation_id),
                    "flags": await flags.of_conversation(conn, conversation_id),
                }
            )

    async def messages(self, caller: Identity, conversation_id: UUID, page: Page) -> ListOf[Message]:
        """A page of what was said, oldest first; every page is a look. Raises `NotFound`."""
        async with self._db.as_service() as conn:
            await _view(conn, caller, conversation_id, "transcript")
            return await said(conn, conversation_id, page)

    async def end(self, caller: Identity, conversation_id: UUID) -> ConversationItem:
        """End a conversation, wherever its relay is; one that has ended stays as it is. Raises `NotFound`."""
        await self._conversations.shut_down(conversation_id, by=caller.actor)
        async with self._db.as_service() as conn:
            found = await store.item(conn, conversation_id)
        if found is None:
            raise _missing()
        return found


async def _view(
    conn: Connection, caller: Identity, conversation_id: UUID, what: Literal["conversation", "transcript"]
) -> None:
    """Note a look at a conversation, holding it as every writer of its events does."""
    held = await conversations.lock(conn, None, conversation_id)
    if held is None:
        raise _missing()
    await record(conn, conversation_id, held.user_id, "operator.viewed", {"what": what, "by": caller.actor})


def _missing() -> NotFound:
    return NotFound("There is no such conversation.", code="conversation_not_found")
