"""What a call has still to write down: sound never waits for it, and whatever was noted is tried until it is written.

Each call has one writer. It takes all that has come together while it last wrote, so that a busy call makes larger
transactions instead of more of them, and the lines of a call are written in their order.
"""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from oneiro.conversations.relayed.models import Entry
from oneiro.errors import OneiroError
from oneiro.events.loops import end

Write = Callable[[list[Entry]], Awaitable[None]]

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 3.0
MOST: Final = 64
"""Entries of one transaction."""

log = structlog.get_logger(__name__)


class Unwritten(Exception):
    """It was not written in time, or cannot be."""


class Ledger:
    """The entries of one call on their way to the database; `run` writes them."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._entries: list[tuple[Entry, asyncio.Future[None]]] = []
        self._refused: set[asyncio.Future[None]] = set()
        self._news = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def note(self, entry: Entry) -> asyncio.Future[None]:
        """Have an entry written; the future is done when it is."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # A failure is logged where it happens; who only notes need not look.
        done.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._entries.append((entry, done))
        self._idle.clear()
        self._news.set()
        return done

    async def keep(self, entry: Entry, *, within: float) -> None:
        """Have an entry written and wait for it; raises `Unwritten`."""
        done = self.note(entry)
        try:
            async with asyncio.timeout(within):
                await asyncio.shield(done)
        except BaseException as error:
            self._refused.add(done)
            if isinstance(error, TimeoutError):
                raise Unwritten from None
            raise

    async def settled(self, *, within: float) -> bool:
        """Wait until nothing is left to write; False when time ran out first."""
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def catch_up(self, *, within: float) -> None:
        """Write in place of `run`, which has ended, what is left and was not refused."""
        self._entries = [(entry, done) for entry, done in self._entries if done not in self._refused]
        writer = asyncio.create_task(self.run(), name="relay writer")
        self._news.set()
        try:
            await self.settled(within=within)
        finally:
            await end([writer])

    def left(self) -> list[Entry]:
        """What is not written yet."""
        return [entry for entry, _ in self._entries]

    async def run(self) -> None:
        """Write what is noted, until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._entries:
                batch = self._entries[:MOST]
                await self._insist([entry for entry, _ in batch], [done for _, done in batch])
                del self._entries[: len(batch)]
            self._idle.set()

    async def _insist(self, entries: list[Entry], waiting: list[asyncio.Future[None]]) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._write(entries)
            except OneiroError as error:
                if error.retryable:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
                    continue
                self._give_up(error, waiting)
                return
            except Exception as error:  # noqa: BLE001 - one call's fault must not stop its writer for good.
                self._give_up(error, waiting)
                return
            for done in waiting:
                if not done.done():
                    done.set_result(None)
            return

    @staticmethod
    def _give_up(error: Exception, waiting: list[asyncio.Future[None]]) -> None:
        # The error's own message may quote a row, and so what was said.
        places = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        log.error("relay.unwritten", error=type(error).__name__, entries=len(waiting), where=places[-3:])
        for done in waiting:
            if not done.done():
                done.set_exception(Unwritten())
