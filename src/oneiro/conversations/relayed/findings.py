"""What the crisis gate found in lines that could not be stored: kept, and told as soon as the database is back.

Kept are ids and a tier, no words. A line that is stored after all tells its finding itself.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import structlog

from oneiro.database.pool import DatabaseUnavailable
from oneiro.safety.crisis import Tier

MOST: Final = 1000
"""Findings that a process keeps, and as many that it remembers having told."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 5.0

log = structlog.get_logger(__name__)

LineKey = tuple[UUID, str]
"""A conversation and the event id of a line."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the gate found in one line."""

    conversation_id: UUID
    user_id: UUID
    event_id: str
    tier: Tier

    @property
    def key(self) -> LineKey:
        """Names the line."""
        return self.conversation_id, self.event_id


class Findings:
    """The findings that a process owes; `tell` writes one, unless its line was stored meanwhile.

    There is a task only while there is something to tell. A process that is killed meanwhile forgets what it owes;
    then the line comes again from the client, who got no reply to it.
    """

    def __init__(self, tell: Callable[[Finding], Awaitable[None]], *, pause: float = FIRST_PAUSE) -> None:
        self._tell = tell
        self._pause = pause
        self._owed: OrderedDict[LineKey, Finding] = OrderedDict()
        self._told: OrderedDict[LineKey, None] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    @property
    def owed(self) -> int:
        """How many wait."""
        return len(self._owed)

    def owe(self, findings: Iterable[Finding]) -> None:
        """Keep what could not be written with its lines; the oldest of too many is let go."""
        for finding in findings:
            if finding.key not in self._told:
                self._owed[finding.key] = finding
        while len(self._owed) > MOST:
            key, _ = self._owed.popitem(last=False)
            log.error("safety.finding_lost", conversation_id=str(key[0]))
        if self._owed and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._run(), name="safety findings")

    def settle(self, keys: Iterable[LineKey]) -> None:
        """Forget what was written with its lines."""
        for key in keys:
            self._owed.pop(key, None)

    def told(self, key: LineKey) -> bool:
        """Whether a finding was told without its line."""
        return key in self._told

    async def _run(self) -> None:
        pause = self._pause
        while self._owed:
            # First of all the line's own writer gets its chance.
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            with suppress(DatabaseUnavailable):
                for finding in list(self._owed.values()):
                    await self._tell_one(finding)
                    pause = self._pause

    async def _tell_one(self, finding: Finding) -> None:
        if finding.key not in self._owed:
            return
        try:
            await self._tell(finding)
        except DatabaseUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - one that cannot be written must not keep the others waiting.
            # The error's own message may quote a row.
            log.error(  # noqa: TRY400 - see above.
                "safety.finding_lost", conversation_id=str(finding.conversation_id), error=type(error).__name__
            )
        self._owed.pop(finding.key, None)
        self._told[finding.key] = None
        while len(self._told) > MOST:
            self._told.popitem(last=False)
