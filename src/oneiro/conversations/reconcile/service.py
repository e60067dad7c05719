"""The two ways to the platform's account: its webhook, and asking for what never arrived."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import UUID

import structlog

from oneiro.conversations.reconcile import store
from oneiro.conversations.reconcile.account import SETTLED, identify, take_over
from oneiro.database.pool import Connection, Database
from oneiro.jobs.queue import enqueue
from oneiro.platform.errors import PlatformLacks, PlatformRefused
from oneiro.platform.held import read
from oneiro.platform.port import HeldConversation, HeldPage
from oneiro.webhooks.inbox import store as inbox
from oneiro.webhooks.inbox.service import HANDLE

log = structlog.get_logger()

OVERDUE: Final = timedelta(minutes=5)
"""How long after a session's end its webhook may take; `/metrics` counts what is later as unreconciled."""
AGAIN: Final = timedelta(minutes=5)
LOST: Final = timedelta(days=1)
"""After which an account that the platform does not give is not asked for any more."""
PATIENCE: Final = timedelta(minutes=10)
"""How long a webhook waits for a session that is still open here, whose last lines may be on their way."""
SOON: Final = timedelta(seconds=30)
PER_RUN: Final = 100
"""Accounts asked for in one run."""
MOST_PAGES: Final = 20


class Accounts(Protocol):
    """What a `VoicePlatform` is asked here."""

    async def list_conversations(self, started_after: datetime, cursor: str | None = None) -> HeldPage:
        """Conversations that began after a time, the oldest first."""

    async def conversation(self, conversation_id: str) -> HeldConversation:
        """The account of one."""


class Reconciler:
    """Has every session accounted for once; whatever comes twice changes nothing."""

    def __init__(self, db: Database, platform: Accounts, *, clock: Callable[[], datetime]) -> None:
        self._db, self._platform, self._clock = db, platform, clock

    async def handle(self, inbox_id: UUID) -> None:
        """Take over a webhook's account and forget its body; a repeat does nothing."""
        now = self._clock()
        async with self._db.as_service() as conn:
            waiting = await inbox.waiting(conn, inbox_id)
        if waiting is None:
            return
        held = await asyncio.to_thread(read, waiting.body.get("data"))
        async with self._db.as_service() as conn:
            if held is None:
                await inbox.finish(conn, inbox_id, "unreadable", now)
                return
            key = await identify(conn, held)
            if key is None:
                await inbox.finish(conn, inbox_id, "not_ours", now)
            elif now < waiting.received_at + PATIENCE and not await _settled(conn, key):
                await enqueue(conn, HANDLE, {"inbox_id": str(inbox_id)}, run_at=now + SOON)
            else:
                taken = await take_over(conn, key, held, now)
                await inbox.finish(conn, inbox_id, None if taken else "not_ours", now)

    async def run(self) -> int:
        """Ask the platform for accounts that are overdue, so many of them; returns how many were taken over.

        Raises the platform's errors: then the rest waits for the next run.
        """
        now = self._clock()
        async with self._db.as_service() as conn:
            due = await store.due(conn, now - OVERDUE, now, PER_RUN)
        done = 0
        for session in due:
            if session.platform_id is not None:
                done += await self._fetch(session, session.platform_id, now)
        nameless = [session for session in due if session.platform_id is None]
        return done + (await self._search(nameless, now) if nameless else 0)

    async def _fetch(self, session: store.Due, platform_id: str, now: datetime) -> bool:
        try:
            held = await self._platform.conversation(platform_id)
        except PlatformLacks:
            await self._give_up(session.key, "gone", now)
            return False
        except PlatformRefused:  # Perhaps an id that a client made up: the others must not wait behind it.
            await self._later(session, "refused", now)
            return False
        if held.state == "open":
            await self._later(session, "unfinished", now)
            return False
        taken = await self._take_over(session.key, held, now)
        if not taken:
            await self._give_up(session.key, "not_ours", now)
        return taken

    async def _search(self, nameless: Sequence[store.Due], now: datetime) -> int:
        """Look through the platform's list, from the oldest of these sessions on, for conversations unknown here."""
        done = 0
        for platform_id in await self._unknown(min(session.session_start_time for session in nameless)):
            try:
                held = await self._platform.conversation(platform_id)
            except (PlatformLacks, PlatformRefused):
                continue
            async with self._db.as_service() as conn:
                key = await identify(conn, held)
            if key is not None and held.state == "over":
                done += await self._take_over(key, held, now)
        for session in nameless:
            async with self._db.as_service() as conn:
                found = await store.session(conn, session.key)
            if found is not None and found.reconciled_at is None:
                await self._later(session, "never_listed", now)
        return done

    async def _unknown(self, since: datetime) -> list[str]:
        """Conversations with agents of ours that no session of ours is known to be, the oldest first."""
        unknown: list[str] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._platform.list_conversations(since - timedelta(minutes=1), cursor)
            async with self._db.as_service() as conn:
                ours = await store.our_agents(conn, [each.agent_id for each in page.entries if each.agent_id])
                unknown += await store.unknown(conn, [each.id for each in page.entries if each.agent_id in ours])
            cursor = page.next_cursor
            if cursor is None or len(unknown) >= PER_RUN:
                break
        return unknown[:PER_RUN]

    async def _take_over(self, key: store.Key, held: HeldConversation, now: datetime) -> bool:
        async with self._db.as_service() as conn:
            taken = await take_over(conn, key, held, now)
        if taken is not None and taken.filled:
            log.info("conversation.reconciled", conversation_id=str(key.conversation_id), filled=taken.filled)
        return taken is not None

    async def _later(self, session: store.Due, why: str, now: datetime) -> None:
        if now - session.session_end_time > LOST:
            await self._give_up(session.key, why, now)
            return
        async with self._db.as_service() as conn:
            await store.postpone(conn, session.key, now + AGAIN)

    async def _give_up(self, key: store.Key, why: str, now: datetime) -> None:
        """The platform gives no account; what we have ourselves is all there is."""
        log.warning("conversation.unaccounted", conversation_id=str(key.conversation_id), why=why)
        async with self._db.as_service() as conn:
            await store.settle(conn, key, {"missing": why}, None, now)


async def _settled(conn: Connection, key: store.Key) -> bool:
    session = await store.session(conn, key)
    return session is None or session.session_status in SETTLED
