"""Jobs that keep the tables of webhooks from growing for ever."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from oneiro.database.pool import Database
from oneiro.jobs.models import JobFunction, Periodic
from oneiro.webhooks.delivery import service as delivery
from oneiro.webhooks.inbox.service import Inbox

PRUNE_DELIVERIES: Final = "webhooks.prune_deliveries"
PRUNE_INBOX: Final = "webhooks.prune_inbox"


class HasWebhooks(Protocol):
    """The part of a worker's services that these jobs need."""

    @property
    def database(self) -> Database:
        """The pool."""

    @property
    def inbox(self) -> Inbox:
        """What the platform sends."""

    @property
    def clock(self) -> Callable[[], datetime]:
        """The time of day."""


async def prune_deliveries(services: HasWebhooks, payload: Mapping[str, Any]) -> None:
    """Delete the old part of the log of deliveries."""
    await delivery.prune(services.database, services.clock() - timedelta(days=delivery.KEPT_DAYS))


async def prune_inbox(services: HasWebhooks, payload: Mapping[str, Any]) -> None:
    """Forget what the platform sent long ago."""
    await services.inbox.prune(services.clock())


FUNCTIONS: Final[Mapping[str, JobFunction[HasWebhooks]]] = {
    PRUNE_DELIVERIES: prune_deliveries,
    PRUNE_INBOX: prune_inbox,
}
PERIODIC: Final = (Periodic(PRUNE_DELIVERIES, every=3600.0), Periodic(PRUNE_INBOX, every=3600.0))
