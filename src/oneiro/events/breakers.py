"""Changes of circuit breakers as events: told in the middle of a call, written down behind it."""

import asyncio
from contextlib import suppress
from typing import Final

from oneiro.database.pool import Database, DatabaseUnavailable
from oneiro.events import outbox
from oneiro.events.models import EventType

TYPES: Final[dict[str, EventType]] = {
    "open": "breaker.opened",
    "half-open": "breaker.half_opened",
    "closed": "breaker.closed",
}
# More changes than this cannot wait to be written; those beyond are only counted in the metrics.
MOST_WAITING: Final = 256


class BreakerEvents:
    """Writes an event for each change it is told of; `tell` never blocks and needs no database.

    pause: seconds until it tries again while the database is away.
    """

    def __init__(self, db: Database, *, pause: float = 2.0) -> None:
        self._db, self._pause = db, pause
        self._told: asyncio.Queue[tuple[str, str]] = asyncio.Queue(MOST_WAITING)

    def tell(self, name: str, state: str) -> None:
        """Note that a breaker has changed to a state."""
        with suppress(asyncio.QueueFull):
            self._told.put_nowait((name, state))

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            name, state = await self._told.get()
            while not await self._written(name, TYPES[state]):  # noqa: ASYNC110 - nobody tells when it is back.
                await asyncio.sleep(self._pause)

    async def _written(self, name: str, event_type: EventType) -> bool:
        try:
            async with self._db.as_service() as conn:
                await outbox.record(conn, event_type, entity_type="breaker", entity_id=name, data={"name": name})
        except DatabaseUnavailable:
            return False
        return True
