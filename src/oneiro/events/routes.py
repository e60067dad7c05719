"""`/v1/conversations/{id}/events` for dreamers, `/v1/admin/events…` for operators."""

from datetime import datetime
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Depends, Header, Query, Request, Response, status
from pydantic import BaseModel, Field

from oneiro.errors import ValidationError
from oneiro.events.models import ConsumerState, EventItem, Filter, ParkedEvent
from oneiro.events.service import Events
from oneiro.events.stream import Streams
from oneiro.http import Caller, ListOf, Operator, part

router = APIRouter(tags=["events"])

MAX_POSITION = 2**63 - 1
STREAM = "text/event-stream"

Streaming = Annotated[Streams, part("streams")]
Service = Annotated[Events, part("events")]
Limit = Annotated[int, Query(ge=1, le=100, description="Items on a page.")]
Place = Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")]


async def _last_event_id(
    last_event_id: Annotated[
        str | None, Header(max_length=40, description="Position of the last event that was received.")
    ] = None,
) -> int | None:
    return None if not last_event_id else _position(last_event_id, "Last-Event-ID")


LastEventId = Annotated[int | None, Depends(_last_event_id)]


def _position(text: str, field: str) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) > MAX_POSITION:
        raise ValidationError(
            f"{field} is not a position of an event.", errors=[{"field": field, "message": "is not a position"}]
        )
    return int(text)


class _Asked(NamedTuple):
    wanted: Filter
    after: int | None
    limit: int
    cursor: str | None


async def _asked(
    types: Annotated[
        list[str] | None, Query(alias="type", max_length=50, description="Only these; repeatable.")
    ] = None,
    interpreter: Annotated[str | None, Query(max_length=40)] = None,
    after: Annotated[int | None, Query(ge=0, le=MAX_POSITION, description="Only later ones, oldest first.")] = None,
    limit: Limit = 20,
    cursor: Place = None,
) -> _Asked:
    return _Asked(Filter(types=frozenset(types or ()), interpreter_id=interpreter), after, limit, cursor)


Asked = Annotated[_Asked, Depends(_asked)]


@router.get(
    "/conversations/{conversation_id}/events",
    response_class=Response,
    responses={200: {"content": {STREAM: {}}, "description": "Events as they happen."}},
)
async def follow_conversation(caller: Caller, streams: Streaming, conversation_id: UUID, last: LastEventId) -> Response:
    """The events of your conversation as they happen, after `Last-Event-ID` or from its beginning."""
    return await streams.conversation(caller, conversation_id, last)


@router.get(
    "/admin/events",
    response_model=ListOf[EventItem],
    responses={200: {"content": {STREAM: {}}, "description": "A page, or with `Accept: text/event-stream` a stream."}},
)
async def list_events(
    caller: Operator, events: Service, streams: Streaming, request: Request, asked: Asked, last: LastEventId
) -> Any:
    """The log: newest first, or after a position oldest first; as a stream from then (else from now) on."""
    if STREAM in request.headers.get("accept", ""):
        return await streams.operator(caller, asked.wanted, asked.after if last is None else last)
    place = None if asked.cursor is None else _position(asked.cursor, "cursor")
    if asked.after is not None:
        found = await events.after(asked.after if place is None else place, asked.wanted, asked.limit + 1)
    else:
        found = await events.latest(place, asked.wanted, asked.limit + 1)
    items = [EventItem.model_validate(event) for event in found[: asked.limit]]
    return ListOf(items=items, next_cursor=str(items[-1].position) if len(found) > asked.limit else None)


@router.get("/admin/events/consumers")
async def list_consumers(caller: Operator, events: Service) -> ListOf[ConsumerState]:
    """The durable consumers and how far they have come."""
    return ListOf(items=await events.consumers(), next_cursor=None)


class Replay(BaseModel):
    """From where a consumer is to handle events again: after a position, or since a time."""

    position: int | None = Field(None, ge=0, le=MAX_POSITION)
    time: datetime | None = None


class Replaying(BaseModel):
    """The position after which a consumer goes on."""

    position: int


@router.post("/admin/events/consumers/{consumer}/replay", status_code=status.HTTP_202_ACCEPTED)
async def replay_events(caller: Operator, events: Service, consumer: str, replay: Replay) -> Replaying:
    """Let a consumer handle events again."""
    if (replay.position is None) == (replay.time is None):
        raise ValidationError("Give either a position or a time.")
    return Replaying(position=await events.replay(consumer, position=replay.position or 0, time=replay.time))


@router.get("/admin/events/parked")
async def list_parked(
    caller: Operator, events: Service, consumer: str | None = None, limit: Limit = 20, cursor: Place = None
) -> ListOf[ParkedEvent]:
    """Events that a consumer could not handle, and those that wait behind them."""
    name, _, position = (cursor or "").rpartition("/")
    after = (name, _position(position, "cursor")) if cursor else None
    found = await events.parked(consumer, after, limit + 1)
    more = len(found) > limit
    last = found[limit - 1] if more else None
    return ListOf(items=found[:limit], next_cursor=last and f"{last.consumer}/{last.position}")


@router.post("/admin/events/parked/{consumer}/{position}/retry", status_code=status.HTTP_202_ACCEPTED)
async def retry_parked(caller: Operator, events: Service, consumer: str, position: int) -> None:
    """Let a consumer try a parked event again; those behind it follow."""
    await events.retry(consumer, position)


@router.delete("/admin/events/parked/{consumer}/{position}", status_code=status.HTTP_204_NO_CONTENT)
async def drop_parked(caller: Operator, events: Service, consumer: str, position: int) -> None:
    """Let a consumer go on without a parked event; those behind it follow."""
    await events.drop(consumer, position)
