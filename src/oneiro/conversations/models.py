"""A conversation as the API takes and shows it."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from oneiro import text
from oneiro.safety.cards import Card
from oneiro.safety.disclosure import Disclosure

Status = Literal["initializing", "active", "completed", "failed"]
Sender = Literal["user", "interpreter"]
Transport = Literal["relay", "direct"]
EndReason = Literal["user_ended", "timeout", "error", "system_shutdown", "agent_ended", "never_connected"]
Tier = Literal["none", "dream_content", "passive_ideation", "active_danger"]

MAX_METADATA = 4096
# The platform's transcripts are stored whole; this only keeps one line from filling a body.
MAX_SPOKEN = 20_000


def _small(value: dict[str, Any]) -> dict[str, Any]:
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        written.encode()
    except (ValueError, RecursionError):
        raise ValueError("must be plain JSON: finite numbers, whole characters, not too deep") from None
    if len(written) > MAX_METADATA:
        raise ValueError(f"may have at most {MAX_METADATA} characters as JSON")
    # PostgreSQL's jsonb cannot hold this character; an escaped backslash before a u is no such character.
    if "\\u0000" in written.replace("\\\\", ""):
        raise ValueError("may not hold the character U+0000")
    return value


Metadata = Annotated[dict[str, Any], AfterValidator(_small)]


class StartOptions(BaseModel):
    """What a start may choose; models and priorities above `normal` are for operators."""

    model_config = ConfigDict(extra="forbid")

    language: str | None = None
    model: str | None = None
    priority: Literal["low", "normal", "high"] = "normal"


class StartRequest(BaseModel):
    """A conversation to start."""

    model_config = ConfigDict(extra="forbid")

    interpreter_id: str = Field(max_length=64, pattern=r"^[^\x00-\x1f]*$")
    dream_id: UUID | None = None
    text_only: bool = False
    transport: Transport | None = None
    metadata: Metadata = {}
    options: StartOptions = StartOptions()


class Started(BaseModel):
    """A conversation that can be opened at `signed_url` until `expires_at`."""

    conversation_id: UUID
    status: Status
    transport: Transport
    text_only: bool
    signed_url: str
    expires_at: datetime
    agent_id: str
    interpreter_name: str
    opening: str
    dynamic_variables: dict[str, str]
    disclosure: Disclosure
    safety_coverage: Literal["rules", "none"]
    help_card: Card | None = Field(None, description="Help lines to show at all times where no rules exist.")
    demo: bool = Field(description="The platform is simulated.")
    degraded: bool = Field(default=False, description="The platform is away: this conversation goes on in writing.")


class Conversation(BaseModel):
    """A conversation of the dreamer."""

    conversation_id: UUID
    interpreter_id: str
    dream_id: UUID | None
    status: Status
    transport: Transport | None
    created_at: datetime
    started_at: datetime | None
    paused_at: datetime | None = Field(description="Since when it waits for its dreamer.")
    ended_at: datetime | None
    end_reason: str | None
    summary: str | None
    rating: int | None
    connection_count: int
    message_count: int
    degraded: bool
    safety_tier: Tier


class Message(BaseModel):
    """A line of a transcript."""

    id: str
    event_id: str
    sender: Sender
    content: str
    original_content: str | None = Field(description="What stood here before it was corrected.")
    occurred_at: datetime
    metadata: dict[str, Any]


class NewMessage(BaseModel):
    """A line that a client reports."""

    model_config = ConfigDict(extra="forbid")

    event_id: str = Field(min_length=1, max_length=200, description="Names the line; a repeat changes nothing.")
    sender: Sender
    content: str
    timestamp: AwareDatetime | None = None
    metadata: Metadata = {}

    def checked(self, place: int) -> "NewMessage":
        """The message with its content cleaned; raises `ValidationError` naming the field and its bound."""
        limit = text.MAX_MESSAGE if self.sender == "user" else MAX_SPOKEN
        field = f"messages.{place}.content"
        return self.model_copy(
            update={
                "event_id": text.bounded(self.event_id, field=f"messages.{place}.event_id", limit=200),
                "content": text.bounded(self.content, field=field, limit=limit),
            }
        )


class NewMessages(BaseModel):
    """Lines that a client reports."""

    model_config = ConfigDict(extra="forbid")

    messages: list[NewMessage] = Field(min_length=1, max_length=100)


class Safety(BaseModel):
    """What the crisis gate found in the dreamer's words, and the card to show."""

    tier: Tier
    card: Card | None


class Stored(BaseModel):
    """How many of the lines are new, known or amended, and what the crisis gate found."""

    stored: int
    duplicates: int
    corrected: int = Field(0, description="Known lines whose words were amended.")
    safety: Safety | None = None


class Connected(BaseModel):
    """The platform's id of the conversation, which its first frame tells."""

    model_config = ConfigDict(extra="forbid")

    elevenlabs_conversation_id: str = Field(pattern=r"^[!-~]{1,200}$")


def _summary(value: str | None) -> str | None:
    return None if value is None else text.bounded(value, field="summary", limit=text.MAX_CONTEXT, empty=True) or None


class EndRequest(BaseModel):
    """How a conversation ended, as its client saw it."""

    model_config = ConfigDict(extra="forbid")

    reason: Literal["user_ended", "agent_ended", "error"] = "user_ended"
    summary: Annotated[str | None, AfterValidator(_summary)] = None


def _comment(value: str | None) -> str | None:
    return None if value is None else text.bounded(value, field="comment", limit=text.MAX_MESSAGE, empty=True) or None


class Rating(BaseModel):
    """The dreamer's own judgement."""

    model_config = ConfigDict(extra="forbid")

    score: int = Field(ge=1, le=5)
    comment: Annotated[str | None, AfterValidator(_comment)] = None
