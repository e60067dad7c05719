"""Erases a dreamer: what is open ends, all of hers goes in one transaction, then the platform is asked to forget."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID, uuid4

import structlog
from psycopg.errors import ForeignKeyViolation

from oneiro.auth import Identity
from oneiro.conversations.models import EndRequest
from oneiro.conversations.service import Conversations
from oneiro.database.pool import Connection, Database, DatabaseUnavailable
from oneiro.errors import Conflict, NotFound, OneiroError
from oneiro.events import outbox
from oneiro.events.models import Event
from oneiro.interpreters.agents import leaving_store
from oneiro.jobs.queue import enqueue
from oneiro.platform.errors import PlatformLacks
from oneiro.platform.port import HeldConversation, HeldPage
from oneiro.privacy.erasure import store
from oneiro.privacy.erasure.models import Held, Unnamed
from oneiro.settings import Settings

log = structlog.get_logger()

FORGET: Final = "privacy.forget_conversation"
"""The job that has the platform forget one conversation; its payload is `{"platform_id": …}`."""
SEARCH: Final = "privacy.search_conversation"
"""The job that looks for one whose id on the platform is not known; its payload is an `Unnamed`."""
SETTLING: Final = timedelta(minutes=2)
"""How long the platform is left alone with a conversation that is just over, which it still looks through."""
ATTEMPTS: Final = 24
"""Of these jobs; the last one is more than half a day after the first."""
NAMED_AT_MOST: Final = timedelta(days=7)
"""How long `dreamer.erased` names her where somebody could not be told; deliveries are given up within a day."""
_MOST_PAGES: Final = 50
_SLACK: Final = timedelta(minutes=1)


class Forgetful(Protocol):
    """What a `VoicePlatform` is asked here."""

    async def list_conversations(self, started_after: datetime, cursor: str | None = None) -> HeldPage:
        """Conversations that began after a time, the oldest first."""

    async def conversation(self, conversation_id: str) -> HeldConversation:
        """The account of one."""

    async def delete_conversation(self, conversation_id: str) -> None:
        """Let the platform forget one; one that is gone already is no error."""


class Erasure:
    """Forgets dreamers; a repetition finds nothing and does nothing."""

    def __init__(
        self,
        db: Database,
        conversations: Conversations,
        platform: Forgetful,
        *,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self._db, self._conversations, self._platform, self._clock = db, conversations, platform, clock
        self._longest = timedelta(seconds=settings.max_call_seconds)

    async def erase(self, user_id: UUID, *, by: str) -> bool:
        """Erase everything of a dreamer; false when there was nothing.

        Raises `Conflict` (`erasure_blocked`), having erased nothing, where a host application's table holds on to a
        row of hers.
        """
        await self._end_open(user_id)
        # One that was chosen to yield, so that two transactions do not wait for each other, is tried once more.
        with suppress(DatabaseUnavailable):
            return await self._erased(user_id, by)
        return await self._erased(user_id, by)

    async def _end_open(self, user_id: UUID) -> None:
        async with self._db.as_service() as conn:
            waiting = await store.open_conversations(conn, user_id)
        claims = {"role": "authenticated", "sub": str(user_id)}
        as_her = Identity(user_id, "authenticated", operator=False, expires_at=self._clock(), claims=claims)
        for conversation_id in waiting:
            with suppress(NotFound):  # Deleted in the meantime.
                await self._conversations.end(as_her, conversation_id, EndRequest())

    async def _erased(self, user_id: UUID, by: str) -> bool:
        try:
            async with self._db.as_service() as conn:
                return await self._erase(conn, user_id, by)
        except ForeignKeyViolation as error:
            table = error.diag.table_name or "another table"
            log.error("erasure.blocked", table=table)  # noqa: TRY400 - the exception quotes a row.
            raise Conflict(
                f"The application's table {table} holds on to what was to be erased; nothing was. Its team has to let "
                "go of it first.",
                code="erasure_blocked",
            ) from None

    async def _erase(self, conn: Connection, user_id: UUID, by: str) -> bool:
        now = self._clock()
        conversations = await store.lock(conn, user_id)
        held, unnamed = await store.held(conn, user_id), await store.unnamed(conn, user_id)
        await leaving_store.forget_dreamer(conn, user_id, now)
        gone = await store.delete(conn, user_id, conversations, [each.platform_id for each in held])
        gone += await store.delete_profile(conn, user_id)
        if not gone:
            return False
        await _ask_platform(conn, held, unnamed, now, self._longest)
        # Named in the data alone, and for so long only as it takes to tell those who were told of her.
        data = {"user_id": str(user_id), "by": "dreamer" if by == str(user_id) else by}
        await outbox.record(conn, "dreamer.erased", entity_type="erasure", entity_id=str(uuid4()), data=data)
        return True

    async def forget(self, platform_id: str) -> None:
        """Have the platform forget a conversation; raises its errors, then it is asked again."""
        await self._platform.delete_conversation(platform_id)

    async def search(self, wanted: Unnamed) -> int:
        """Look for a session on the platform and have it forgotten; returns how many that were.

        Raises `OneiroError` (`search_unfinished`) where more began there meanwhile than is read through at a time.
        """
        found = 0
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page = await self._platform.list_conversations(wanted.since - _SLACK, cursor)
            for entry in page.entries:
                if entry.started_at is not None and entry.started_at > wanted.until + _SLACK:
                    return found
                if entry.agent_id == wanted.agent_id and await self._is(entry.id, wanted.conversation_id):
                    await self._platform.delete_conversation(entry.id)
                    found += 1
            cursor = page.next_cursor
            if cursor is None:
                return found
        raise OneiroError("More conversations began meanwhile than one search reads through.", code="search_unfinished")

    async def _is(self, platform_id: str, conversation_id: UUID) -> bool:
        try:
            account = await self._platform.conversation(platform_id)
        except PlatformLacks:
            return False
        return account.our_id == str(conversation_id)

    async def forget_names(self, consumers: Sequence[str]) -> int:
        """Take erased dreamers' ids out of the log of events, where all of these consumers and receivers know."""
        async with self._db.as_service() as conn:
            return await store.forget_names(conn, list(consumers), self._clock() - NAMED_AT_MOST)


async def _ask_platform(
    conn: Connection, held: Sequence[Held], unnamed: Sequence[Unnamed], now: datetime, longest: timedelta
) -> None:
    """Write the jobs by which the platform forgets, too; each is run when the platform is done with its own.

    `longest` is how long a call may take: its client may talk on with the platform alone, until that hangs up.
    """
    for each in held:
        over = each.over_at or now - SETTLING
        await _enqueue(conn, FORGET, {"platform_id": each.platform_id}, max(now, over + SETTLING))
        if each.direct and over + longest > now:
            await _enqueue(conn, FORGET, {"platform_id": each.platform_id}, over + longest + SETTLING)
    for one in unnamed:
        await _enqueue(conn, SEARCH, _payload(one), max(now, one.until) + SETTLING)
        if one.until + longest > now:
            await _enqueue(conn, SEARCH, _payload(one), one.until + longest + SETTLING)


async def _enqueue(conn: Connection, kind: str, payload: dict[str, object], run_at: datetime) -> None:
    await enqueue(conn, kind, payload, run_at=run_at, max_attempts=ATTEMPTS)


def _payload(one: Unnamed) -> dict[str, object]:
    return {
        "conversation_id": str(one.conversation_id),
        "agent_id": one.agent_id,
        "since": one.since.isoformat(),
        "until": one.until.isoformat(),
    }


async def forget_deleted(conn: Connection, event: Event) -> None:
    """Handle `conversation.deleted`: what the platform has of it is forgotten, too."""
    if event.conversation_id is not None:
        held, unnamed = (
            await store.held_of(conn, event.conversation_id),
            await store.unnamed_of(conn, event.conversation_id),
        )
        longest = timedelta(seconds=event.data.get("max_call_seconds", 0))
        await _ask_platform(conn, held, unnamed, event.time, longest)
