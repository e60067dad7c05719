"""`/v1/admin/conversations`, for operators."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime

from oneiro.conversations.models import Message, Status, Tier
from oneiro.conversations.operating.models import ConversationDetail, ConversationItem, WantedConversations
from oneiro.conversations.operating.service import ConversationsForOperators
from oneiro.http import ListOf, Operator, Paged, part

router = APIRouter(prefix="/admin/conversations", tags=["conversations"])

Service = Annotated[ConversationsForOperators, part("conversations_for_operators")]


async def _wanted(
    interpreter: Annotated[str | None, Query(max_length=64)] = None,
    status: Status | None = None,
    tier: Annotated[Tier | None, Query(description="The gravest that was found in it.")] = None,
    user: UUID | None = None,
    since: Annotated[AwareDatetime | None, Query(description="Asked for then or later.")] = None,
) -> WantedConversations:
    return WantedConversations(interpreter, status, tier, user, since)


@router.get("")
async def list_everybodys_conversations(
    caller: Operator, conversations: Service, wanted: Annotated[WantedConversations, Depends(_wanted)], page: Paged
) -> ListOf[ConversationItem]:
    """Everybody's conversations, the newest first: never what was said."""
    return await conversations.list(caller, wanted, page)


@router.get("/{conversation_id}")
async def read_anybodys_conversation(
    caller: Operator, conversations: Service, conversation_id: UUID
) -> ConversationDetail:
    """One conversation: what it was led with, its sessions, figures and flags; that it was looked at is noted."""
    return await conversations.read(caller, conversation_id)


@router.get("/{conversation_id}/messages")
async def read_transcript(
    caller: Operator, conversations: Service, conversation_id: UUID, page: Paged
) -> ListOf[Message]:
    """What was said in a conversation, oldest first; that it was read is noted."""
    return await conversations.messages(caller, conversation_id, page)


@router.post("/{conversation_id}/end")
async def end_anybodys_conversation(
    caller: Operator, conversations: Service, conversation_id: UUID
) -> ConversationItem:
    """End a conversation; its relay closes both sockets. A repeat changes nothing."""
    return await conversations.end(caller, conversation_id)
