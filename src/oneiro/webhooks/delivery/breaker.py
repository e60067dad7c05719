"""The circuit breaker of an endpoint, as part of its row.

It is open while the endpoint rests; then one delivery at a time tries it, over all processes; each fault makes it rest
again, and after three answers it is closed. What waits keeps its attempts meanwhile.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from oneiro import breaker
from oneiro.breaker import FAULTS, SUCCESSES, State
from oneiro.database.pool import Connection
from oneiro.events import outbox
from oneiro.events.breakers import TYPES

REST = timedelta(seconds=breaker.REST)


@dataclass(frozen=True, slots=True)
class Breaker:
    """How an endpoint has answered lately."""

    faults: int = 0
    probes: int = 0
    rests_until: datetime | None = None

    @property
    def state(self) -> State:
        """Half-open from the first answer on: until then nobody knows that it is back."""
        if self.rests_until is None:
            return "closed"
        return "half-open" if self.probes else "open"

    def after(self, *, fault: bool, now: datetime) -> "Breaker":
        """What an attempt makes of it: one that was under way when it opened changes nothing."""
        if self.rests_until is not None and self.rests_until > now:
            return self
        if fault:
            faults = self.faults + 1
            opens = self.rests_until is not None or faults >= FAULTS
            return Breaker(faults, 0, now + REST if opens else None)
        if self.rests_until is None or self.probes + 1 >= SUCCESSES:
            return Breaker()
        return Breaker(0, self.probes + 1, self.rests_until)


async def told(conn: Connection, endpoint_id: UUID, state: State) -> None:
    """Record that an endpoint's breaker has another state."""
    name = f"webhooks/{endpoint_id}"
    await outbox.record(conn, TYPES[state], entity_type="breaker", entity_id=name, data={"name": name})
