"""The safety queue: operators look through it and say what they have seen to."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from oneiro.auth import Identity
from oneiro.conversations import store as conversations
from oneiro.conversations.flags import store
from oneiro.conversations.flags.models import Flag, WantedFlags
from oneiro.database.pool import Connection, Database
from oneiro.dreamers import store as dreamers
from oneiro.errors import NotFound
from oneiro.events import outbox
from oneiro.http import Cursor, ListOf, Page


class SafetyQueue:
    """Flagged lines of everybody's conversations.

    A look at the list is no event, other than one at a transcript: the queue is watched every minute, and that would
    bury the looks that tell something.
    """

    def __init__(self, db: Database, *, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = db, clock

    async def list(self, wanted: WantedFlags, page: Page) -> ListOf[Flag]:
        """A page of flags, the newest first."""
        async with self._db.as_service() as conn:
            found = await store.select(conn, wanted, page.limit + 1, page.cursor)
        items = found[: page.limit]
        more = Cursor(items[-1].flagged_at, str(items[-1].id)).encode() if len(found) > page.limit else None
        return ListOf(items=items, next_cursor=more)

    async def acknowledge(self, caller: Identity, flag_id: UUID) -> Flag:
        """Note that the caller has seen to a flag; whoever was first stays, and a repeat is no event.

        Raises `NotFound` (`flag_not_found`).
        """
        async with self._db.as_service() as conn:
            flag = await _found(conn, flag_id)
            # Held in the order in which an erasure holds them, so that neither waits for the other for ever.
            held = await conversations.lock(conn, None, flag.conversation_id)
            if held is None and not await dreamers.hold(conn, flag.user_id):
                raise _missing()
            if await store.acknowledge(conn, flag_id, caller.actor, self._clock()):
                await outbox.record(
                    conn,
                    "safety.acknowledged",
                    entity_type="safety_flag",
                    entity_id=str(flag_id),
                    data={"tier": flag.tier, "conversation_id": str(flag.conversation_id), "by": caller.actor},
                    user_id=flag.user_id,
                    # `conversation.deleted` is the last event of its conversation.
                    conversation_id=None if held is None else held.conversation_id,
                )
            return await _found(conn, flag_id)


async def _found(conn: Connection, flag_id: UUID) -> Flag:
    flag = await store.find(conn, flag_id)
    if flag is None:
        raise _missing()
    return flag


def _missing() -> NotFound:
    return NotFound("There is no such flag.", code="flag_not_found")
