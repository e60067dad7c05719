"""Endpoints as operators keep them."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from oneiro.auth import Identity
from oneiro.database.pool import Connection, Database
from oneiro.errors import Conflict, NotFound
from oneiro.http import Cursor, ListOf, Page
from oneiro.webhooks.delivery import store as deliveries
from oneiro.webhooks.delivery.breaker import told
from oneiro.webhooks.delivery.message import new_secret
from oneiro.webhooks.endpoints import store
from oneiro.webhooks.endpoints.address import checked
from oneiro.webhooks.endpoints.models import (
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointChange,
    EndpointWithSecret,
    NewEndpoint,
)

MOST_ENDPOINTS: Final = 100
"""Each event is one row for each endpoint that wants it."""


class Webhooks:
    """Where events are posted to, and what was posted."""

    def __init__(self, db: Database, *, allow_private: bool, clock: Callable[[], datetime]) -> None:
        self._db, self._allow_private, self._clock = db, allow_private, clock

    async def create(self, caller: Identity, new: NewEndpoint) -> EndpointWithSecret:
        """Register an endpoint; raises `ValidationError` for an address that events cannot go to."""
        secret = new_secret()
        row = store.NewRow(
            url=checked(new.url, allow_private=self._allow_private),
            description=new.description,
            event_types=list(dict.fromkeys(new.event_types)),
            secret=secret,
            created_by=str(caller.user_id or caller.role),
        )
        async with self._db.as_service() as conn:
            if await store.count(conn) >= MOST_ENDPOINTS:
                raise Conflict(f"There are {MOST_ENDPOINTS} endpoints already.", code="too_many_endpoints")
            made = await store.insert(conn, row)
        return EndpointWithSecret(**made.model_dump(), secret=secret)

    async def list(self, page: Page) -> ListOf[Endpoint]:
        """Endpoints, the newest first."""
        async with self._db.as_service() as conn:
            found = await store.select(conn, page.limit + 1, page.cursor)
        items = found[: page.limit]
        last = items[-1] if len(found) > page.limit else None
        return ListOf(items=items, next_cursor=last and Cursor(last.created_at, str(last.id)).encode())

    async def read(self, endpoint_id: UUID) -> Endpoint:
        """One endpoint; raises `NotFound`."""
        async with self._db.as_service() as conn:
            return await _read(conn, endpoint_id)

    async def change(self, endpoint_id: UUID, change: EndpointChange) -> Endpoint:
        """Change what is given; one that is switched off gives up what waited, which can be sent again later."""
        url = None if change.url is None else checked(change.url, allow_private=self._allow_private)
        types = None if change.event_types is None else list(dict.fromkeys(change.event_types))
        async with self._db.as_service() as conn:
            await store.update(conn, endpoint_id, url, change.description, types)
            if url is not None or change.is_active is not None:
                await wake(conn, endpoint_id)
            if change.is_active:
                await store.enable(conn, endpoint_id)
            elif change.is_active is False:
                await store.disable(conn, endpoint_id, "operator", self._clock())
            return await _read(conn, endpoint_id)

    async def rotate(self, endpoint_id: UUID, overlap_seconds: int) -> EndpointWithSecret:
        """Give an endpoint another secret; both sign until the overlap is over."""
        secret = new_secret()
        async with self._db.as_service() as conn:
            await store.rotate(conn, endpoint_id, secret, self._clock() + timedelta(seconds=overlap_seconds))
            return EndpointWithSecret(**(await _read(conn, endpoint_id)).model_dump(), secret=secret)

    async def delete(self, endpoint_id: UUID) -> None:
        """Delete an endpoint with its log; raises `NotFound`."""
        async with self._db.as_service() as conn:
            if not await store.delete(conn, endpoint_id):
                raise _missing()

    async def deliveries(self, endpoint_id: UUID, state: DeliveryState | None, page: Page) -> ListOf[Delivery]:
        """What was posted to an endpoint, or is to be, the newest first."""
        async with self._db.as_service() as conn:
            await _read(conn, endpoint_id)
            found = await deliveries.select(conn, endpoint_id, state, page.limit + 1, page.cursor)
        items = found[: page.limit]
        last = items[-1] if len(found) > page.limit else None
        return ListOf(items=items, next_cursor=last and Cursor(last.created_at, str(last.id)).encode())

    async def redeliver(self, endpoint_id: UUID, delivery_id: UUID) -> Delivery:
        """Post an event again, whatever came of it; raises `NotFound`, or `Conflict` while the endpoint is off."""
        async with self._db.as_service() as conn:
            _on(await _read(conn, endpoint_id))
            await wake(conn, endpoint_id)
            await deliveries.requeue(conn, endpoint_id, delivery_id)
            delivery = await deliveries.find(conn, endpoint_id, delivery_id)
            if delivery is None:
                raise NotFound("There is no such delivery.", code="delivery_not_found")
            return delivery

    async def redeliver_since(self, endpoint_id: UUID, since: datetime) -> int:
        """Post again what was given up since a time; returns how many; raises as `redeliver`."""
        async with self._db.as_service() as conn:
            _on(await _read(conn, endpoint_id))
            await wake(conn, endpoint_id)
            return await deliveries.requeue_dead(conn, endpoint_id, since)


async def wake(conn: Connection, endpoint_id: UUID) -> None:
    """Let an endpoint rest no longer: something about it was changed, or somebody wants it tried."""
    if await store.wake(conn, endpoint_id):
        await told(conn, endpoint_id, "closed")


async def _read(conn: Connection, endpoint_id: UUID) -> Endpoint:
    endpoint = await store.find(conn, endpoint_id)
    if endpoint is None:
        raise _missing()
    return endpoint


def _on(endpoint: Endpoint) -> None:
    if not endpoint.is_active:
        raise Conflict("The endpoint is switched off; switch it on first.", code="endpoint_disabled")


def _missing() -> NotFound:
    return NotFound("There is no such endpoint.", code="webhook_not_found")
