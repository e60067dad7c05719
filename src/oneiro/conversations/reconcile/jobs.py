"""Jobs that take over the platform's accounts: one for each webhook, and a search for those that never came."""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from uuid import UUID

from oneiro.conversations.reconcile.service import Reconciler
from oneiro.jobs.models import JobFunction, Periodic
from oneiro.webhooks.inbox.service import HANDLE

RECONCILE: Final = "conversations.reconcile"


class HasReconciler(Protocol):
    """The part of a worker's services that these jobs need."""

    @property
    def reconciler(self) -> Reconciler:
        """Takes accounts over."""


async def handle_webhook(services: HasReconciler, payload: Mapping[str, Any]) -> None:
    """Take over the account in one webhook; `inbox_id` is its row."""
    await services.reconciler.handle(UUID(payload["inbox_id"]))


async def reconcile(services: HasReconciler, payload: Mapping[str, Any]) -> None:
    """Ask for accounts that are overdue."""
    await services.reconciler.run()


FUNCTIONS: Final[Mapping[str, JobFunction[HasReconciler]]] = {HANDLE: handle_webhook, RECONCILE: reconcile}
PERIODIC: Final = (Periodic(RECONCILE, every=300.0),)
