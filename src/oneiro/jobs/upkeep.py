"""Jobs that keep the log of events and the table of jobs from growing for ever."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from oneiro.events.service import Events
from oneiro.jobs.models import JobFunction, Periodic
from oneiro.jobs.service import Jobs

PRUNE_EVENTS: Final = "events.prune"
PRUNE_JOBS: Final = "jobs.prune"

EVENTS_KEPT: Final = timedelta(days=90)
# Longer than the longest period of a periodic job: its row is the proof that it ran.
JOBS_KEPT: Final = timedelta(days=30)


class HasLogs(Protocol):
    """The part of a worker's services that these jobs need; `consumers` are the names of all durable consumers."""

    @property
    def events(self) -> Events:
        """The log of events."""

    @property
    def jobs(self) -> Jobs:
        """The table of jobs."""

    @property
    def consumers(self) -> Sequence[str]:
        """Names of the durable consumers, of this process or not."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """The time of day."""


async def prune_events(services: HasLogs, payload: Mapping[str, Any]) -> None:
    """Delete old events that every consumer is done with."""
    await services.events.prune(services.clock() - EVENTS_KEPT, services.consumers)


async def prune_jobs(services: HasLogs, payload: Mapping[str, Any]) -> None:
    """Delete jobs that were done, or dead, long ago."""
    await services.jobs.prune(services.clock() - JOBS_KEPT)


FUNCTIONS: Final[Mapping[str, JobFunction[HasLogs]]] = {PRUNE_EVENTS: prune_events, PRUNE_JOBS: prune_jobs}
PERIODIC: Final = (Periodic(PRUNE_EVENTS, every=3600.0), Periodic(PRUNE_JOBS, every=3600.0))
