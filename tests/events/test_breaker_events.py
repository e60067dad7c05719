"""Changes of breakers as events: none is lost because the database is away for a moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from oneiro.database.pool import Connection, Database, DatabaseUnavailable
from oneiro.events.breakers import BreakerEvents
from oneiro.events.loops import running

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]


class Away(Database):
    """A database that cannot be reached the first times."""

    times = 3

    @asynccontextmanager
    async def as_service(self, *, snapshot: bool = False) -> AsyncIterator[Connection]:
        if self.times:
            self.times -= 1
            raise DatabaseUnavailable
        async with super().as_service(snapshot=snapshot) as conn:
            yield conn


async def test_what_is_told_while_the_database_is_away_is_written_in_order_when_it_is_back(
    service_url: str, look: Look
) -> None:
    database = Away(service_url)
    await database.open()
    told = BreakerEvents(database, pause=0.01)
    for state in ("open", "half-open", "closed"):
        told.tell("agents", state)

    async with running(told), asyncio.timeout(20):
        while len(rows := await look("SELECT event_type, entity_id FROM system_events ORDER BY seq")) < 3:
            pass
    await database.close()

    assert rows == [(f"breaker.{name}", "agents") for name in ("opened", "half_opened", "closed")]
