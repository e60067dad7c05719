"""One source of time for an engine: every delay that imitates a person passes through here."""

import asyncio
import time
from collections.abc import Callable

THINKING = 0.6
"""Seconds before a reply begins, as a listener takes them."""
WORD = 0.04
"""Seconds between two written words."""


class Pacing:
    """The wall clock and the human delays, which `speed` divides."""

    def __init__(self, speed: float, clock: Callable[[], float]) -> None:
        if not speed > 0:
            raise ValueError("speed must be above 0")
        self.speed = speed
        self.now = clock

    async def pause(self, seconds: float) -> None:
        """Wait as long as a person would, divided by the speed; gives way even when nothing remains."""
        await asyncio.sleep(max(0.0, seconds / self.speed))

    def elapsed(self, since: float) -> float:
        """Human seconds since a value of `time.monotonic()`."""
        return (time.monotonic() - since) * self.speed
