"""The sweeper: ends what nobody ends, on any replica, as often as it is called."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from oneiro.conversations.sweep import store
from oneiro.conversations.wrapup.service import wrap_up_waiting
from oneiro.database.pool import Database
from oneiro.settings import Settings

_AT_ONCE = 500


@dataclass(slots=True)
class Swept:
    """How many conversations a sweep ended, by why, and how many it summed up."""

    lapsed: int = 0
    idle: int = 0
    paused: int = 0
    shut_down: int = 0
    abandoned: int = 0
    wrapped_up: int = 0


class Sweeper:
    """Ends overdue conversations; two at once share the work and do none of it twice."""

    def __init__(self, db: Database, *, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._idle = timedelta(seconds=settings.idle_timeout_seconds)
        self._pause = timedelta(seconds=settings.pause_seconds)
        self._clock = clock

    async def sweep(self) -> Swept:
        """End what is idle, abandoned, paused for too long or never connected; sum up what nobody has summed up yet."""
        now, swept = self._clock(), Swept()
        deadlines = store.Deadlines(now=now, idle=now - self._idle, paused=now - self._pause)
        more = True
        while more:
            async with self._db.as_service() as conn:
                ended = await store.end_overdue(conn, deadlines, _AT_ONCE)
            for verdict, count in ended.items():
                setattr(swept, verdict, getattr(swept, verdict) + count)
            more = sum(ended.values()) == _AT_ONCE
        async with self._db.as_service() as conn:
            await store.free_lapsed(conn, min(deadlines.idle, deadlines.paused))
        swept.wrapped_up = await wrap_up_waiting(self._db, now)
        return swept

    async def interrupt(self, conversation_ids: Collection[UUID]) -> int:
        """Pause the conversations of a process that stops; those not resumed in time end as `system_shutdown`."""
        async with self._db.as_service() as conn:
            return await store.interrupt(conn, list(conversation_ids), self._clock())
