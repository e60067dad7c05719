"""What of an erasure happens afterwards: the platform forgets, and so does the log of events."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from oneiro.events.consumers import Consumer
from oneiro.events.store import SEQUENCER
from oneiro.jobs.models import JobFunction, Periodic
from oneiro.privacy.erasure.models import Unnamed
from oneiro.privacy.erasure.service import FORGET, SEARCH, Erasure, forget_deleted

FORGET_NAMES: Final = "privacy.forget_names"


class HasErasure(Protocol):
    """The part of a worker's services that these jobs need; `consumers` are the names of all durable consumers."""

    @property
    def erasure(self) -> Erasure:
        """Erasures."""

    @property
    def consumers(self) -> Sequence[str]:
        """Names of the durable consumers, of this process or not."""


async def forget(services: HasErasure, payload: Mapping[str, Any]) -> None:
    """Have the platform forget one conversation."""
    await services.erasure.forget(payload["platform_id"])


async def search(services: HasErasure, payload: Mapping[str, Any]) -> None:
    """Find a session whose id is not known, and have it forgotten."""
    since, until = datetime.fromisoformat(payload["since"]), datetime.fromisoformat(payload["until"])
    await services.erasure.search(Unnamed(UUID(payload["conversation_id"]), payload["agent_id"], since, until))


async def forget_names(services: HasErasure, payload: Mapping[str, Any]) -> None:
    """Take the ids of erased dreamers out of events that everybody has seen."""
    await services.erasure.forget_names([SEQUENCER, *services.consumers])


FUNCTIONS: Final[Mapping[str, JobFunction[HasErasure]]] = {
    FORGET: forget,
    SEARCH: search,
    FORGET_NAMES: forget_names,
}
PERIODIC: Final = (Periodic(FORGET_NAMES, every=60.0),)
CONSUMER: Final = Consumer("forgetting", ("conversation.deleted",), forget_deleted)
