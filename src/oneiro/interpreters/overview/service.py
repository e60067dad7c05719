"""The voice platform at a glance."""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from oneiro.breaker import CircuitBreaker
from oneiro.database.pool import Database
from oneiro.errors import Conflict
from oneiro.interpreters.agents import home_store
from oneiro.interpreters.overview import store
from oneiro.interpreters.overview.models import BreakerView, PlatformView, Settling, Slots

log = structlog.get_logger(__name__)


class PlatformOverview:
    """Reads it together; asks the platform nothing."""

    def __init__(
        self, db: Database, breakers: Sequence[CircuitBreaker], *, slots: int, clock: Callable[[], datetime]
    ) -> None:
        self._db = db
        self._breakers = breakers
        self._slots = slots
        self._clock = clock

    async def read(self) -> PlatformView:
        """Breakers of this process, and what the tables say."""
        now = self._clock()
        async with self._db.as_service() as conn:
            counts, drift = await store.counts(conn, now), await store.drifts(conn)
            away = await home_store.elsewhere(conn)
        return PlatformView(
            breakers=[BreakerView.model_validate(breaker.stats(now)) for breaker in self._breakers],
            cached_agents=counts.cached_agents,
            cached_voices=counts.cached_voices,
            slots=Slots(used=counts.slots_used, limit=self._slots),
            drift=drift,
            unreconciled=counts.unreconciled,
            home="elsewhere" if away else "here",
        )

    async def settle(self, settling: Settling) -> None:
        """Make this place the installation's, of a copy with marks of its own; raises `Conflict` when it is already."""
        now = self._clock()
        async with self._db.as_service() as conn:
            if not await home_store.move(conn, now):
                raise Conflict("This database is where its agents were made.", code="database_at_home")
            if settling.database == "copied":
                await home_store.part(conn, now)
        log.info("database.settled", database=settling.database)
