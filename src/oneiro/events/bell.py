"""Wakes whoever waits for news: in this process at once, in others by a coalesced NOTIFY after the commit.

A bell only shortens a wait. Nothing is lost when it stays silent (a pooler without LISTEN, a broken connection): who
waits on it looks for itself before long.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn
from uuid import uuid4
from weakref import WeakKeyDictionary

import psycopg
import structlog

from oneiro.database.pool import Connection
from oneiro.events import store

WRITTEN = "oneiro_written"  # Events were committed and want a position.
STAMPED = "oneiro_stamped"  # Events have got one.
JOBS = "oneiro_jobs"  # A job was committed.
CHANNELS = (WRITTEN, STAMPED, JOBS)

log = structlog.get_logger()

_marked: WeakKeyDictionary[Connection, set[str]] = WeakKeyDictionary()


def mark(conn: Connection, channel: str) -> None:
    """Note that this connection's transaction has news; `Bell.committed` rings for it."""
    _marked.setdefault(conn, set()).add(channel)


class Bell:
    """One bell for a process.

    gap: seconds between two NOTIFYs of this process, so that a thousand commits a second are not a thousand
    notifications, each of which takes a lock of the whole cluster. pause: seconds before a new connection is tried.
    """

    def __init__(self, url: str, *, gap: float = 0.005, pause: float = 1.0) -> None:
        self._url = url
        self._gap = gap
        self._pause = pause
        self._name = uuid4().hex
        self._listeners: dict[str, list[asyncio.Event]] = {channel: [] for channel in CHANNELS}
        self._due: set[str] = set()
        self._pending = asyncio.Event()
        self.listening = asyncio.Event()

    def listener(self, channel: str) -> asyncio.Event:
        """An event that is set at each ring of the channel; who waits on it clears it."""
        event = asyncio.Event()
        self._listeners[channel].append(event)
        return event

    def ring(self, channel: str) -> None:
        """Wake this process now and the others soon; never blocks."""
        self._wake(channel)
        self._due.add(channel)
        self._pending.set()

    def committed(self, conn: Connection) -> None:
        """Ring for what was marked on this connection; to be called after each commit."""
        for channel in _marked.pop(conn, ()):
            self.ring(channel)

    async def run(self) -> None:
        """Carry rings between processes until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep(self._listen))
            tasks.create_task(self._keep(self._notify))

    def _wake(self, channel: str) -> None:
        for event in self._listeners[channel]:
            event.set()

    async def _keep(self, carry: Callable[[Connection], Awaitable[None]]) -> NoReturn:
        """Run with a connection of its own, and with a new one when it breaks."""
        while True:
            with suppress(psycopg.OperationalError):
                async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as conn:
                    await carry(conn)
            self.listening.clear()
            log.warning("bell.interrupted", part=carry.__name__)
            await asyncio.sleep(self._pause)

    async def _notify(self, conn: Connection) -> NoReturn:
        await store.forget_flushes(conn)
        while True:
            await self._pending.wait()
            self._pending.clear()
            due, self._due = self._due, set()
            await store.notify(conn, due, self._name)
            await asyncio.sleep(self._gap)

    async def _listen(self, conn: Connection) -> None:
        await store.listen(conn, CHANNELS)
        self.listening.set()
        for channel in CHANNELS:
            self._wake(channel)  # What was rung while nobody listened is unknown.
        async for notification in conn.notifies():
            if notification.payload != self._name:
                self._wake(notification.channel)
