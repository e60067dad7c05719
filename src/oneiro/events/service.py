"""What operators and the process itself do with events: look, retry, replay, measure, prune."""

from collections.abc import Sequence
from datetime import datetime

from oneiro.database.pool import Database
from oneiro.errors import NotFound
from oneiro.events import store
from oneiro.events.models import ConsumerState, Event, Filter, ParkedEvent
from oneiro.events.parked import store as parked


class Events:
    """The log of events and its consumers."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def after(self, position: int, wanted: Filter, limit: int) -> list[Event]:
        """Stamped events after a position, oldest first."""
        async with self._db.as_service() as conn:
            return await store.select(conn, (position, None), wanted, limit)

    async def latest(self, before: int | None, wanted: Filter, limit: int) -> list[Event]:
        """Stamped events before a position, or before the end, newest first."""
        async with self._db.as_service() as conn:
            return await store.select_latest(conn, before, wanted, limit)

    async def consumers(self) -> list[ConsumerState]:
        """Every durable consumer, by name."""
        async with self._db.as_service() as conn:
            return await store.states(conn)

    async def lag(self) -> dict[str, int]:
        """Events that each consumer is not done with, the parked ones included (`oneiro_consumer_lag_events`)."""
        return {state.consumer: state.lag + state.parked for state in await self.consumers()}

    async def parked(self, consumer: str | None, after: tuple[str, int] | None, limit: int) -> list[ParkedEvent]:
        """Parked events, by consumer and position."""
        async with self._db.as_service() as conn:
            return await parked.select(conn, consumer, after, limit)

    async def retry(self, consumer: str, position: int) -> None:
        """Let a consumer try a parked event again; raises `NotFound` when it is not parked."""
        async with self._db.as_service() as conn:
            if not await parked.retry(conn, consumer, position):
                raise _not_parked()

    async def drop(self, consumer: str, position: int) -> None:
        """Let a consumer go on without a parked event; raises `NotFound` when it is not parked."""
        async with self._db.as_service() as conn:
            if not await parked.delete(conn, consumer, position):
                raise _not_parked()

    async def replay(self, consumer: str, *, position: int = 0, time: datetime | None = None) -> int:
        """Let a consumer handle again what comes after a position, or what was written since a time.

        Returns the position after which it goes on; raises `NotFound` for a consumer that never ran.
        """
        async with self._db.as_service() as conn:
            start = position if time is None else await store.position_before(conn, time)
            if not await store.rewind(conn, consumer, start):
                raise NotFound("There is no such consumer.", code="consumer_not_found")
            await parked.delete_after(conn, consumer, start)
        return start

    async def prune(self, before: datetime, consumers: Sequence[str], *, batch: int = 1000) -> int:
        """Delete events written before a time which these consumers are done with; returns how many.

        Each batch is a transaction, so that no lock is held for long. Parked events stay, and what a webhook still
        has to deliver.
        """
        deleted = 0
        while True:
            async with self._db.as_service() as conn:
                count = await store.delete_old(conn, before, consumers, batch)
            deleted += count
            if count < batch:
                return deleted


def _not_parked() -> NotFound:
    return NotFound("This event is not parked at this consumer.", code="parked_event_not_found")
