"""The job that counts hours anew."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from oneiro.analytics.rollups.service import Rollups
from oneiro.jobs.models import JobFunction, Periodic

REFRESH: Final = "analytics.rollups"
EVERY: Final = 300.0
"""Seconds. A marked hour is read from its conversations until then, so that reports are right and only slower."""


class HasRollups(Protocol):
    """The part of a worker's services that this job needs."""

    @property
    def rollups(self) -> Rollups:
        """The hourly counts."""


async def refresh(services: HasRollups, payload: Mapping[str, Any]) -> None:
    """Count the marked hours anew."""
    await services.rollups.refresh()


FUNCTIONS: Final[Mapping[str, JobFunction[HasRollups]]] = {REFRESH: refresh}
PERIODIC: Final = (Periodic(REFRESH, every=EVERY),)
