"""Logs are kept for their time and no longer."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from oneiro.database.pool import Database
from oneiro.events.bell import Bell
from oneiro.events.service import Events
from oneiro.jobs import upkeep
from oneiro.jobs.runner import Runner
from oneiro.jobs.service import Jobs

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]


@dataclass(frozen=True)
class Services:
    events: Events
    jobs: Jobs
    consumers: Sequence[str]
    clock: Callable[[], datetime]


async def test_what_is_old_enough_goes_by_itself(database: Database, bell: Bell, look: Look) -> None:
    await look(
        "INSERT INTO system_events (event_type, event_data, position, created_at)"
        " SELECT 'agent.retired', '{}', n, now() - make_interval(days => 92 - n) FROM generate_series(1, 3) AS n"
    )
    await look("INSERT INTO event_cursors (consumer, position) VALUES ('sequencer', 3), ('analytics', 3)")
    await look(
        "INSERT INTO jobs (kind, state, finished_at)"
        " VALUES ('old', 'dead', now() - interval '31 days'), ('young', 'done', now())"
    )
    services = Services(Events(database), Jobs(database), ["analytics"], lambda: datetime.now(UTC))
    runner: Runner[upkeep.HasLogs] = Runner(database, bell, services, upkeep.FUNCTIONS, periodic=upkeep.PERIODIC)
    while await runner.step():
        await runner.settled()

    assert await look("SELECT position FROM system_events ORDER BY 1") == [(3,)]
    assert await look("SELECT kind, state FROM jobs ORDER BY 1") == [
        ("events.prune", "done"),
        ("jobs.prune", "done"),
        ("young", "done"),
    ]
