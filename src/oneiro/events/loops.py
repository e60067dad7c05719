"""The background loops of a process: started together, kept alive, ended together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import structlog

log = structlog.get_logger()

RESTART_PAUSE = 1.0


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
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
