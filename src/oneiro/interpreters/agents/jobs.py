"""Jobs that keep the platform's agents in step with releases.

A sweep each minute with one job for each agent that leaves, readings of those in use, and a comparison of what is there
with what the rows know.
"""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from uuid import UUID

from oneiro.interpreters.agents.inspection import Inspection
from oneiro.interpreters.agents.service import RETIRE, Agents
from oneiro.interpreters.agents.stock import StockTaking
from oneiro.jobs.models import JobFunction, Periodic

SWEEP: Final = "agents.sweep"
INSPECT: Final = "agents.inspect"
TAKE_STOCK: Final = "agents.take_stock"


class HasAgents(Protocol):
    """The part of a worker's services that these jobs need."""

    @property
    def agents(self) -> Agents:
        """The agents."""

    @property
    def inspection(self) -> Inspection:
        """Reads them back."""

    @property
    def stock_taking(self) -> StockTaking:
        """Removes what no row knows."""


async def sweep_agents(services: HasAgents, payload: Mapping[str, Any]) -> None:
    """Find agents that nobody wants any more."""
    await services.agents.sweep()


async def retire_agent(services: HasAgents, payload: Mapping[str, Any]) -> None:
    """Delete one agent on the platform; `row` is its row."""
    await services.agents.retire(UUID(payload["row"]))


async def inspect_agents(services: HasAgents, payload: Mapping[str, Any]) -> None:
    """Read back the agents that were not read for longest."""
    await services.inspection.run()


async def take_stock(services: HasAgents, payload: Mapping[str, Any]) -> None:
    """Remove agents and voices that were left over on the platform."""
    await services.stock_taking.take()


FUNCTIONS: Final[Mapping[str, JobFunction[HasAgents]]] = {
    SWEEP: sweep_agents,
    RETIRE: retire_agent,
    INSPECT: inspect_agents,
    TAKE_STOCK: take_stock,
}
PERIODIC: Final = (
    Periodic(SWEEP, every=60.0),
    Periodic(INSPECT, every=600.0),
    Periodic(TAKE_STOCK, every=21_600.0),
)
