"""Jobs that keep the platform's agents in step with releases: a sweep each minute, and one job for each that leaves."""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from uuid import UUID

from oneiro.interpreters.agents.service import RETIRE, Agents
from oneiro.jobs.models import JobFunction, Periodic

SWEEP: Final = "agents.sweep"


class HasAgents(Protocol):
    """The part of a worker's services that these jobs need."""

    @property
    def agents(self) -> Agents:
        """The agents."""


async def sweep_agents(services: HasAgents, payload: Mapping[str, Any]) -> None:
    """Find agents that nobody wants any more."""
    await services.agents.sweep()


async def retire_agent(services: HasAgents, payload: Mapping[str, Any]) -> None:
    """Delete one agent on the platform; `row` is its row."""
    await services.agents.retire(UUID(payload["row"]))


FUNCTIONS: Final[Mapping[str, JobFunction[HasAgents]]] = {SWEEP: sweep_agents, RETIRE: retire_agent}
PERIODIC: Final = (Periodic(SWEEP, every=60.0),)
