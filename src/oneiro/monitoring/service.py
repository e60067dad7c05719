"""What is measured, put together for one scrape."""

from collections.abc import Callable
from datetime import datetime

from oneiro.database.pool import Database, DatabaseUnavailable
from oneiro.metrics import Metrics, Snapshot
from oneiro.monitoring import store


class Monitoring:
    """Reads what is measured; `slots` is how many conversations there may be at once."""

    def __init__(self, db: Database, metrics: Metrics, *, slots: int, clock: Callable[[], datetime]) -> None:
        self._db, self._metrics, self._slots, self._clock = db, metrics, slots, clock

    async def render(self) -> bytes:
        """The text that Prometheus reads; without the database's figures while the database is away."""
        return self._metrics.render(await self._snapshot())

    async def _snapshot(self) -> Snapshot | None:
        try:
            async with self._db.as_service() as conn:
                return await store.snapshot(conn, self._slots, self._clock())
        except DatabaseUnavailable:
            return None
