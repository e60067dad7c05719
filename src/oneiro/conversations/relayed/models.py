"""What the relay knows of a session, and what it tells of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from oneiro.conversations import models
from oneiro.conversations.models import EndReason, Sender
from oneiro.interpreters.models import Release
from oneiro.safety.crisis import Tier


@dataclass(frozen=True, slots=True)
class Row:
    """A session as its ticket finds it."""

    conversation_id: UUID
    user_id: UUID
    session: int
    agent_id: str
    interpreter_id: str
    release: int
    dream_id: UUID | None
    language: str
    model: str
    text_only: bool
    safety_tier: models.Tier
    status: str
    session_status: str
    started_at: datetime | None
    connected_at: datetime | None
    expires_at: datetime
    traceparent: str | None
    degraded: bool


@dataclass(frozen=True, slots=True)
class Admission:
    """What a ticket admits to.

    `variables` go to the platform with the first frame; `closing` is the interpreter's goodbye; `seconds` is how long
    this call may last, and `bound` names what bounds it. `session_key` names dreamer and dream where agents are made
    for them; `degraded` sessions lead to the stand-in.
    """

    conversation_id: UUID
    user_id: UUID
    session: int
    agent_id: str
    release: Release
    language: str
    model: str
    text_only: bool
    region: str | None
    variables: dict[str, str]
    closing: str
    seconds: float
    bound: Literal["duration", "daily_minutes"]
    session_key: str = ""
    traceparent: str | None = None
    degraded: bool = False

    @property
    def interpreter_id(self) -> str:
        """Who speaks."""
        return self.release.interpreter_id

    @property
    def key(self) -> tuple[UUID, int]:
        """Names the session."""
        return self.conversation_id, self.session


@dataclass(frozen=True, slots=True)
class Line:
    """A line to be stored; `event_id` is `<session>:<sender>:<n>`, so that a repeat changes nothing."""

    event_id: str
    sender: Sender
    text: str
    at: datetime
    metadata: dict[str, Any]
    tier: Tier = Tier.none


@dataclass(frozen=True, slots=True)
class Amendment:
    """What remained of a line that was interrupted."""

    event_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that went wrong: a code of ours or of the platform's, never its words."""

    code: str
    phase: Literal["connect", "relay"] = "relay"


Entry = Line | Amendment | Fault


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a session is over: with its conversation (`reason`), or so that the dreamer may come back."""

    reason: EndReason | None
    close_code: int
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What others did with a session of ours: the conversation is over, or it goes on in another session."""

    conversation_id: UUID
    session: int
    ended: bool
