"""`/v1/conversations`."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Depends, Request, Response, status
from fastapi.routing import APIRoute
from pydantic import BaseModel

from oneiro.conversations.ingest.service import Ingest
from oneiro.conversations.models import (
    Connected,
    Conversation,
    EndRequest,
    Message,
    NewMessages,
    Rating,
    Started,
    StartRequest,
    Stored,
)
from oneiro.conversations.resume import Resumes
from oneiro.conversations.service import Conversations
from oneiro.conversations.start import Starts
from oneiro.http import Caller, ListOf, Paged, accepting, part
from oneiro.idempotency.service import LONGEST_KEY, IdempotencyKey, once

Asked = TypeVar("Asked", bound=BaseModel)


class PlainRoute(APIRoute):
    """Answers a request as nearly all are without FastAPI's search for its parameters.

    That is a quarter of the work of a report, and a sixth of that of a start when many start. Whatever is not plain
    (another type of body, a value that is not valid, no token) goes the usual way and is refused there; the API's
    description is made from the function as for every route. What the route depends on `plain` has to do by itself.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The plain way, or else FastAPI's."""
        usual = super().get_route_handler()

        async def answer(request: Request) -> Response:
            answered = await self.plain(request)
            if answered is None:
                return await usual(request)
            return Response(answered.model_dump_json(), self.status_code or 200, media_type="application/json")

        return answer

    async def plain(self, request: Request) -> BaseModel | None:
        """The answer to a plain request; None for any other."""
        raise NotImplementedError


class ReportRoute(PlainRoute):
    """The plain way to report lines."""

    async def plain(self, request: Request) -> BaseModel | None:
        """What became of the lines."""
        asked = await _plain(request, NewMessages)
        if asked is None:
            return None
        token, new = asked
        try:
            conversation_id = UUID(request.path_params["conversation_id"])
        except ValueError:
            return None
        parts = request.app.state
        return await report_messages(await parts.tokens.verify(token), parts.ingest, conversation_id, new)


class StartRoute(PlainRoute):
    """The plain way to start a conversation."""

    async def plain(self, request: Request) -> BaseModel | None:
        """The conversation that began."""
        asked = await _plain(request, StartRequest)
        key = request.headers.get("idempotency-key")
        if asked is None or not (key is None or 1 <= len(key) <= LONGEST_KEY):
            return None
        token, wanted = asked
        await accepting(request)
        parts = request.app.state
        return await start_conversation(await parts.tokens.verify(token), parts.starts, request, wanted, key)


async def _plain(request: Request, kind: type[Asked]) -> tuple[str, Asked] | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme != "Bearer" or not token or request.headers.get("content-type") != "application/json":
        return None
    try:
        return token, kind.model_validate_json(await request.body())
    except ValueError:
        return None


router = APIRouter(prefix="/conversations", tags=["conversations"])
lines = APIRouter(prefix="/conversations", tags=["conversations"], route_class=ReportRoute)
starts = APIRouter(prefix="/conversations", tags=["conversations"], route_class=StartRoute)

Starting = Annotated[Starts, part("starts")]
Resuming = Annotated[Resumes, part("resumes")]
Reporting = Annotated[Ingest, part("ingest")]
Service = Annotated[Conversations, part("conversations")]


@starts.post("", status_code=status.HTTP_201_CREATED, dependencies=[Depends(accepting)])
async def start_conversation(
    caller: Caller, service: Starting, asked: Request, request: StartRequest, idempotency_key: IdempotencyKey = None
) -> Started:
    """Start a conversation: open `signed_url` and send `dynamic_variables` in the first frame."""
    body = request.model_dump(mode="json") if idempotency_key else {}
    known = once(caller.dreamer(), "conversations", idempotency_key, body)
    return await service.start(caller, request, known, at=str(asked.base_url))


@router.get("")
async def list_conversations(caller: Caller, conversations: Service, page: Paged) -> ListOf[Conversation]:
    """Your conversations, newest first."""
    return await conversations.list(caller, page)


@router.get("/{conversation_id}")
async def read_conversation(caller: Caller, conversations: Service, conversation_id: UUID) -> Conversation:
    """One of your conversations."""
    return await conversations.read(caller, conversation_id)


@router.delete("/{conversation_id}", status_code=status.HTTP_204_NO_CONTENT)
async def delete_conversation(caller: Caller, conversations: Service, conversation_id: UUID) -> None:
    """Delete a conversation with all that was said in it; an open one ends first, and a dream you kept stays."""
    await conversations.delete(caller, conversation_id)


@router.get("/{conversation_id}/messages")
async def list_messages(caller: Caller, conversations: Service, conversation_id: UUID, page: Paged) -> ListOf[Message]:
    """What was said, oldest first."""
    return await conversations.messages(caller, conversation_id, page)


@router.post("/{conversation_id}/connected")
async def note_connected(
    caller: Caller, conversations: Service, conversation_id: UUID, connected: Connected
) -> Conversation:
    """Tell the platform's id of the conversation, from its first frame."""
    return await conversations.connected(caller, conversation_id, connected.elevenlabs_conversation_id)


@lines.post("/{conversation_id}/messages", status_code=status.HTTP_202_ACCEPTED)
async def report_messages(caller: Caller, ingest: Reporting, conversation_id: UUID, new: NewMessages) -> Stored:
    """Report lines of the transcript (direct transport); the answer holds the safety card, if one is due."""
    return await ingest.report(caller, conversation_id, new.messages)


@router.post("/{conversation_id}/pause")
async def pause_conversation(caller: Caller, conversations: Service, conversation_id: UUID) -> Conversation:
    """Let a conversation wait for you; a repeat changes nothing."""
    return await conversations.pause(caller, conversation_id)


@router.post("/{conversation_id}/resume", dependencies=[Depends(accepting)])
async def resume_conversation(caller: Caller, resumes: Resuming, asked: Request, conversation_id: UUID) -> Started:
    """Go on with a paused conversation, or with one whose socket broke off: a new address, and no second greeting."""
    return await resumes.resume(caller, conversation_id, at=str(asked.base_url))


@router.post("/{conversation_id}/end")
async def end_conversation(
    caller: Caller, conversations: Service, conversation_id: UUID, request: EndRequest | None = None
) -> Conversation:
    """End a conversation; a repeat changes nothing."""
    return await conversations.end(caller, conversation_id, request or EndRequest())


@router.put("/{conversation_id}/rating")
async def rate_conversation(
    caller: Caller, conversations: Service, conversation_id: UUID, rating: Rating
) -> Conversation:
    """Say how it was, in stars and a word."""
    return await conversations.rate(caller, conversation_id, rating)
