"""A line on its way into the database, and what came of it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from oneiro.conversations.models import Sender, Status, Transport
from oneiro.safety.crisis import Tier


@dataclass(frozen=True, slots=True)
class Facts:
    """What never changes of a conversation, so that a process may remember it."""

    user_id: UUID
    transport: Transport | None
    language: str
    created_at: datetime
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Line:
    """One line of one dreamer's conversation, checked so that PostgreSQL cannot refuse it.

    `metadata` is JSON text; `tier` is what the gate found; `occurred_at` lies between the conversation's beginning
    and now.
    """

    conversation_id: UUID
    user_id: UUID
    event_id: str
    sender: Sender
    content: str
    occurred_at: datetime
    metadata: str
    tier: Tier

    @property
    def key(self) -> tuple[UUID, str]:
        """What makes two lines the same line."""
        return self.conversation_id, self.event_id

    @property
    def weight(self) -> int:
        """What it takes of the queue's room, in characters."""
        return len(self.content) + len(self.metadata) + 200


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one line; `status` is None where this dreamer has no such conversation."""

    status: Status | None
    paused: bool
    transport: Transport | None
    region: str | None
    stored: bool
    corrected: bool
