"""`/v1/admin/safety`, for operators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from oneiro.conversations.flags.models import Flag, FlagTier, WantedFlags
from oneiro.conversations.flags.service import SafetyQueue
from oneiro.conversations.models import Status
from oneiro.http import ListOf, Operator, Paged, part

router = APIRouter(prefix="/admin/safety", tags=["safety"])

Queue = Annotated[SafetyQueue, part("safety_queue")]


async def _wanted(
    acknowledged: Annotated[bool | None, Query(description="False: only those that wait.")] = None,
    tier: FlagTier | None = None,
    interpreter: Annotated[str | None, Query(max_length=64)] = None,
    status: Annotated[Status | None, Query(description="Of the conversation.")] = None,
    user: UUID | None = None,
    since: Annotated[AwareDatetime | None, Query(description="Flagged then or later.")] = None,
) -> WantedFlags:
    return WantedFlags(acknowledged, tier, interpreter, status, user, since)


@router.get("")
async def list_flags(
    caller: Operator, queue: Queue, wanted: Annotated[WantedFlags, Depends(_wanted)], page: Paged
) -> ListOf[Flag]:
    """Lines that the crisis gate flagged, the newest first: never what was said."""
    return await queue.list(wanted, page)


@router.post("/{flag_id}/acknowledge")
async def acknowledge_flag(caller: Operator, queue: Queue, flag_id: UUID) -> Flag:
    """Say that you have seen to a flagged line; a repeat changes nothing, and whoever was first stays."""
    return await queue.acknowledge(caller, flag_id)
