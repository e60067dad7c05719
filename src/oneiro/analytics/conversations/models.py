"""A conversation as it is read for its numbers, and the numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from oneiro.conversations.models import Sender


@dataclass(frozen=True, slots=True)
class Facts:
    """A conversation that is over.

    `consented`: its dreamer lets us read what her talks are about. `agent_known`: None where the platform was away.
    """

    conversation_id: UUID
    user_id: UUID
    interpreter_id: str
    release_id: UUID
    arm_id: UUID | None
    status: str
    transport: str | None
    language: str
    started_at: datetime | None
    ended_at: datetime
    end_reason: str | None
    rating: int | None
    upstream_calls: int
    degraded: bool
    agent_known: bool | None
    consented: bool
    start_ms: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stands now; `corrected` when something else stood there before."""

    sender: Sender
    content: str
    occurred_at: datetime
    session: int
    metadata: Mapping[str, Any]
    corrected: bool


@dataclass(frozen=True, slots=True)
class Session:
    """One upstream session; `errors` are the codes of its log, `platform` what the platform says of it."""

    session: int
    began_at: datetime | None
    connected_at: datetime | None
    ended_at: datetime | None
    connection_count: int
    close_code: int | None
    degraded: bool
    errors: list[str]
    platform: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Analysis:
    """A row of `conversation_analytics`; what was read from her words is None where it was not."""

    facts: Facts
    duration_seconds: int | None
    message_count: int
    completion_reason: str | None
    engagement: float | None
    response_time: dict[str, Any]
    topics: list[str] | None
    sentiment: dict[str, Any] | None
    snapshot: dict[str, Any]
    counts: dict[str, float]
    counts_of_words: dict[str, float]
