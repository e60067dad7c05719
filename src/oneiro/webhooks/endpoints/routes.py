"""`/v1/admin/webhooks`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, status

from oneiro.http import ListOf, Operator, Paged, part
from oneiro.webhooks.endpoints.models import (
    Delivery,
    DeliveryState,
    Endpoint,
    EndpointChange,
    EndpointWithSecret,
    NewEndpoint,
    Redelivery,
    Requeued,
    Rotation,
)
from oneiro.webhooks.endpoints.service import Webhooks

router = APIRouter(prefix="/admin/webhooks", tags=["operators: webhooks"])


Service = Annotated[Webhooks, part("webhooks")]


@router.get("")
async def list_endpoints(caller: Operator, webhooks: Service, page: Paged) -> ListOf[Endpoint]:
    """Where events are posted to, the newest first."""
    return await webhooks.list(page)


@router.post("", status_code=status.HTTP_201_CREATED)
async def create_endpoint(caller: Operator, webhooks: Service, new: NewEndpoint) -> EndpointWithSecret:
    """Post events to an address from now on; the answer holds the secret, this once."""
    return await webhooks.create(caller, new)


@router.get("/{endpoint_id}")
async def read_endpoint(caller: Operator, webhooks: Service, endpoint_id: UUID) -> Endpoint:
    """One endpoint."""
    return await webhooks.read(endpoint_id)


@router.patch("/{endpoint_id}")
async def change_endpoint(caller: Operator, webhooks: Service, endpoint_id: UUID, change: EndpointChange) -> Endpoint:
    """Change its address, its events, or switch it off and on."""
    return await webhooks.change(endpoint_id, change)


@router.delete("/{endpoint_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_endpoint(caller: Operator, webhooks: Service, endpoint_id: UUID) -> None:
    """Post nothing more to it and forget what was posted."""
    await webhooks.delete(endpoint_id)


@router.post("/{endpoint_id}/rotate-secret")
async def rotate_secret(
    caller: Operator, webhooks: Service, endpoint_id: UUID, rotation: Rotation | None = None
) -> EndpointWithSecret:
    """Give it another secret; for a while both sign, so that no receiver misses one."""
    return await webhooks.rotate(endpoint_id, (rotation or Rotation()).overlap_seconds)


@router.get("/{endpoint_id}/deliveries")
async def list_deliveries(
    caller: Operator,
    webhooks: Service,
    endpoint_id: UUID,
    page: Paged,
    state: Annotated[DeliveryState | None, Query(description="Only those in this state.")] = None,
) -> ListOf[Delivery]:
    """What was posted to it or waits, the newest first, with each attempt."""
    return await webhooks.deliveries(endpoint_id, state, page)


@router.post("/{endpoint_id}/deliveries/{delivery_id}/redeliver", status_code=status.HTTP_202_ACCEPTED)
async def redeliver(caller: Operator, webhooks: Service, endpoint_id: UUID, delivery_id: UUID) -> Delivery:
    """Post one event again."""
    return await webhooks.redeliver(endpoint_id, delivery_id)


@router.post("/{endpoint_id}/redeliver", status_code=status.HTTP_202_ACCEPTED)
async def redeliver_since(caller: Operator, webhooks: Service, endpoint_id: UUID, redelivery: Redelivery) -> Requeued:
    """Post again all that was given up since a time."""
    return Requeued(requeued=await webhooks.redeliver_since(endpoint_id, redelivery.since))
