"""The background loops of a process: started together, kept alive, ended together."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

log = structlog.get_logger()

RESTART_PAUSE = 1.0
# Long enough for a loop to give its leases back.
CANCEL_AGAIN = 0.5


class Loop(Protocol):
    """Something that works in the background."""

    async def run(self) -> None:
        """Work until cancelled, or until there is no more to do."""


@asynccontextmanager
async def running(*loops: Loop) -> AsyncIterator[None]:
    """Run these loops while the block lasts; one that fails is noted and begins again."""
    tasks = [asyncio.create_task(_kept(loop), name=type(loop).__name__) for loop in loops]
    try:
        yield
    finally:
        await end(tasks)


async def end(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel tasks and wait until they have ended.

    Once is not enough on Python 3.11: `asyncio.wait_for`, which psycopg waits with, loses a cancellation that arrives
    together with its result.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_AGAIN)


async def _kept(loop: Loop) -> None:
    while True:
        try:
            await loop.run()
        except Exception as error:  # noqa: BLE001 - a fault of one loop must not end the process's background work
            # Without its text and traceback, which may hold values of a row.
            log.error("loop.failed", loop=type(loop).__name__, error=type(error).__name__)  # noqa: TRY400 - as said
            await asyncio.sleep(RESTART_PAUSE)
        else:
            return
