"""`/v1/dreams`."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, status

from oneiro.dreams.models import Dream, DreamChange, NewDream
from oneiro.dreams.service import Dreams
from oneiro.http import Caller, ListOf, Paged, part
from oneiro.idempotency.service import IdempotencyKey, once

router = APIRouter(prefix="/dreams", tags=["dreams"])


Service = Annotated[Dreams, part("dreams")]


@router.post("", status_code=status.HTTP_201_CREATED)
async def write_dream(caller: Caller, dreams: Service, new: NewDream, idempotency_key: IdempotencyKey = None) -> Dream:
    """Write a dream down."""
    body = new.model_dump(mode="json")
    return await dreams.write(caller, new, once(caller.dreamer(), "dreams", idempotency_key, body))


@router.get("")
async def list_dreams(caller: Caller, dreams: Service, page: Paged) -> ListOf[Dream]:
    """Your journal, newest first."""
    return await dreams.list(caller, page)


@router.get("/{dream_id}")
async def read_dream(caller: Caller, dreams: Service, dream_id: UUID) -> Dream:
    """One dream of your journal."""
    return await dreams.read(caller, dream_id)


@router.patch("/{dream_id}")
async def change_dream(caller: Caller, dreams: Service, dream_id: UUID, change: DreamChange) -> Dream:
    """Change a dream, or keep a draft."""
    return await dreams.change(caller, dream_id, change)


@router.delete("/{dream_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_dream(caller: Caller, dreams: Service, dream_id: UUID) -> None:
    """Delete a dream."""
    await dreams.delete(caller, dream_id)
