"""The voice platform at a glance."""

from collections.abc import Callable, Sequence
from datetime import datetime

from oneiro.breaker import CircuitBreaker
from oneiro.database.pool import Database
from oneiro.interpreters.overview import store
from oneiro.interpreters.overview.models import BreakerView, PlatformView, Slots


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
        return PlatformView(
            breakers=[BreakerView.model_validate(breaker.stats(now)) for breaker in self._breakers],
            cached_agents=counts.cached_agents,
            cached_voices=counts.cached_voices,
            slots=Slots(used=counts.slots_used, limit=self._slots),
            drift=drift,
            unreconciled=counts.unreconciled,
        )
