"""How long a loop rests: not at all while there is work, longer and longer while there is none."""

import asyncio
from contextlib import suppress


class Pace:
    """A pause that doubles from `shortest` to `longest` seconds, and ends at once when `wake` is set."""

    def __init__(self, wake: asyncio.Event, *, shortest: float, longest: float) -> None:
        self._wake = wake
        self._shortest = shortest
        self._longest = longest
        self._pause = shortest

    async def rest(self, *, worked: bool) -> None:
        """Rest for the present pause; work done makes the next one short."""
        if worked:
            self._pause = self._shortest
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause):
                await self._wake.wait()
        self._pause = self._shortest if self._wake.is_set() else min(self._pause * 2, self._longest)
        self._wake.clear()
