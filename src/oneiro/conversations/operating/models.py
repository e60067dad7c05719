"""A conversation as operators see it: what was said stands in its transcript alone."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel, Field

from oneiro.conversations.flags.models import Flag
from oneiro.conversations.models import Status, Tier, Transport


class ConversationItem(BaseModel):
    """A conversation in the list."""

    conversation_id: UUID
    user_id: UUID
    interpreter_id: str
    release: int
    arm: str | None = Field(description="Of the experiment that chose the release.")
    status: Status
    transport: Transport | None
    text_only: bool
    language: str
    model: str | None
    created_at: datetime
    started_at: datetime | None
    paused_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    error_code: str | None
    connection_count: int
    message_count: int
    degraded: bool
    safety_tier: Tier


class OperatedSession(BaseModel):
    """A connection of a conversation to the voice platform."""

    session: int
    elevenlabs_conversation_id: str | None
    agent_id: str | None
    session_status: str | None
    session_start_time: datetime | None
    connected_at: datetime | None
    session_end_time: datetime | None
    close_code: int | None
    degraded: bool
    reconciled_at: datetime | None
    errors: list[dict[str, Any]] = Field(description="Times, phases and codes.")


class ConversationMetrics(BaseModel):
    """What analytics measured in it."""

    session_duration_seconds: int | None
    message_count: int | None
    user_satisfaction_score: float | None
    engagement_score: float | None
    completion_reason: str | None
    response_time_ms: dict[str, Any]


class ConversationDetail(ConversationItem):
    """One conversation."""

    dream_id: UUID | None
    experiment_id: UUID | None
    agent_id: str | None
    prompt_sha256: str | None
    variable_names: list[str] = Field(description="Of the variables that the platform was given; names only.")
    upstream_calls: int
    rating: int | None
    sessions: list[OperatedSession] = []
    metrics: ConversationMetrics | None = Field(None, description="Null until analytics has come to it.")
    flags: list[Flag] = []


class WantedConversations(NamedTuple):
    """Which conversations are asked for; None means any."""

    interpreter_id: str | None
    status: Status | None
    tier: Tier | None
    user_id: UUID | None
    since: datetime | None
