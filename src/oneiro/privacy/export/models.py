"""The shape of an export. Each section's fields are the columns that `store` reads; a test holds them together."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

VERSION: Final = 1
"""Grows when a field changes its meaning or goes away; fields may be added without that."""


class Section(BaseModel):
    """A row of an export."""

    model_config = ConfigDict(extra="forbid")


class ExportedProfile(Section):
    """The dreamer, and what she agreed to."""

    user_id: UUID
    name: str | None
    language: str
    region: str | None
    birth_year: int | None
    consents: dict[str, bool]
    allowed_interpreters: list[str] | None
    created_at: datetime
    updated_at: datetime


class ExportedDream(Section):
    """A dream of her journal."""

    id: UUID
    title: str | None
    content: str
    symbols: list[str]
    interpretation: str | None
    interpretation_date: datetime | None
    status: str
    conversation_id: UUID | None = Field(description="The conversation in which she told it.")
    created_at: datetime
    updated_at: datetime


class ExportedConversation(Section):
    """A conversation as a whole: its summary, her rating and comment, what the crisis gate found."""

    id: UUID
    interpreter_id: str
    dream_id: UUID | None
    status: str
    transport: str | None
    text_only: bool
    language: str
    model: str | None
    priority: str
    release_id: UUID | None = Field(
        description="Which release of the interpreter led it; null: one of an application's."
    )
    arm_id: UUID | None = Field(description="Which arm of an experiment, if any.")
    agent_id: str | None = Field(description="The agent at the voice platform.")
    prompt_sha256: str | None = Field(description="A hash of the interpreter's prompt.")
    variable_names: list[str] = Field(description="Names of the values that the interpreter was given.")
    created_at: datetime
    started_at: datetime | None
    paused_at: datetime | None
    last_activity_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    error_code: str | None
    summary: str | None
    rating: int | None
    rating_comment: str | None
    connection_count: int
    message_count: int
    degraded: bool
    safety_tier: str
    metadata: Any = Field(description="What her client said of it when it began.")


class ExportedSession(Section):
    """A connection of a conversation to the voice platform."""

    conversation_id: UUID
    session: int
    elevenlabs_conversation_id: str | None
    agent_id: str | None
    session_status: str | None
    session_start_time: datetime | None
    connected_at: datetime | None
    session_end_time: datetime | None
    connection_count: int | None
    close_code: int | None
    degraded: bool
    session_metadata: Any
    error_log: Any


class ExportedMessage(Section):
    """A line that was said."""

    id: str
    conversation_id: UUID
    event_id: str
    session: int
    sender: str
    content: str
    original_content: str | None = Field(description="What stood here before it was corrected.")
    occurred_at: datetime
    metadata: Any


class ExportedAnalytics(Section):
    """What was computed from a conversation."""

    conversation_id: UUID
    session_duration_seconds: int | None
    message_count: int | None
    user_satisfaction_score: float | None
    engagement_score: float | None
    completion_reason: str | None
    topics_discussed: Any
    sentiment_analysis: Any
    response_time_ms: Any
    snapshot: Any
    counts: dict[str, Any] = Field(description="What of it is added up in sums over many conversations.")
    counts_of_words: dict[str, Any] = Field(description="The same of what was read from her words.")
    created_at: datetime | None
    updated_at: datetime


class ExportedMeasure(Section):
    """What was measured of an agent in a conversation."""

    conversation_id: UUID
    agent_id: str | None
    type: str
    value: float | None
    metadata: Any
    time: datetime | None


class ExportedExperiment(Section):
    """Which version of an interpreter she was given for a comparison."""

    experiment_id: UUID
    interpreter_id: str
    experiment: str
    arm: str
    assigned_at: datetime


class ExportedFlag(Section):
    """What the crisis gate found in a line of hers."""

    type: str
    tier: str | None
    conversation_id: UUID | None
    message_id: str | None
    time: datetime
    acknowledged_at: datetime | None = Field(description="When somebody of ours saw to it.")


class ExportedEvent(Section):
    """That something happened, and when; an operator's look says of what and by whom."""

    type: str
    conversation_id: UUID | None
    data: dict[str, Any] = Field(description="Ids, counts and codes; never what was said.")
    time: datetime


class Export(Section):
    """Everything we have of a dreamer."""

    format: Literal["oneiro.export"]
    version: Literal[1]
    exported_at: datetime
    profile: ExportedProfile
    dreams: list[ExportedDream]
    conversations: list[ExportedConversation]
    sessions: list[ExportedSession]
    messages: list[ExportedMessage]
    analytics: list[ExportedAnalytics]
    measures: list[ExportedMeasure]
    experiments: list[ExportedExperiment]
    safety: list[ExportedFlag]
    events: list[ExportedEvent]
