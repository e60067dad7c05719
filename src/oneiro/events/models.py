"""Events: their names, as clients and teams rely on them, and what of an event is delivered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

EventType = Literal[
    "conversation.requested",
    "conversation.started",
    "conversation.connected",
    "conversation.paused",
    "conversation.resumed",
    "conversation.message_received",
    "conversation.message_corrected",
    "conversation.rated",
    "conversation.ended",
    "conversation.timed_out",
    "conversation.failed",
    "conversation.error",
    "conversation.degraded",
    "conversation.restored",
    "conversation.reconciled",
    "conversation.deleted",
    "interpreter.released",
    "interpreter.activated",
    "interpreter.rolled_back",
    "interpreter.retired",
    "agent.provisioned",
    "agent.provision_failed",
    "agent.drifted",
    "agent.retired",
    "agent.cleanup_failed",
    "voice.designed",
    "breaker.opened",
    "breaker.half_opened",
    "breaker.closed",
    "experiment.assigned",
    "experiment.started",
    "experiment.stopped",
    "safety.flagged",
    "safety.escalated",
    "safety.acknowledged",
    "disclosure.given",
    "operator.viewed",
    "dreamer.permitted",
    "dreamer.exported",
    "dreamer.erased",
    "webhook.received",
    "webhook.disabled",
]
EVENT_TYPES: tuple[str, ...] = get_args(EventType)

# What a dreamer's stream shows of her conversation; the rest is the team's.
DREAMER_TYPES: frozenset[str] = frozenset(
    name
    for name in EVENT_TYPES
    if name.startswith("conversation.") or name in {"safety.flagged", "safety.escalated", "disclosure.given"}
)


@dataclass(frozen=True, slots=True)
class Event:
    """A committed event with its place in the order of delivery.

    `interpreter_id` is the interpreter it concerns, by itself or by its conversation; `traceparent` its place in a
    trace, where one was recorded.
    """

    position: int
    id: UUID
    type: str
    entity_type: str | None
    entity_id: str | None
    conversation_id: UUID | None
    interpreter_id: str | None
    data: Mapping[str, Any]
    user_id: UUID | None
    time: datetime
    traceparent: str | None = None

    @property
    def subject(self) -> str:
        """The entity as CloudEvents name it: `conversation/…`."""
        return f"{self.entity_type or ''}/{self.entity_id or ''}"


class EventItem(BaseModel):
    """An event as the API shows it."""

    model_config = ConfigDict(from_attributes=True)

    position: int = Field(description="Place in the order of delivery; the id of the stream's line.")
    id: UUID
    type: str
    subject: str
    entity_type: str | None
    entity_id: str | None
    data: dict[str, Any] = Field(description="Ids, counts and codes; never what was said.")
    user_id: UUID | None
    time: datetime


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are asked for; an empty set of types and None mean: any."""

    types: frozenset[str] = frozenset()
    interpreter_id: str | None = None
    conversation_id: UUID | None = None
    user_id: UUID | None = None

    def matches(self, event: Event) -> bool:
        """Whether an event is asked for; whose it is was checked when the stream was opened."""
        return (
            (not self.types or event.type in self.types)
            and self.interpreter_id in {None, event.interpreter_id}
            and self.conversation_id in {None, event.conversation_id}
        )


class ConsumerState(BaseModel):
    """How far a durable consumer has come."""

    consumer: str
    position: int = Field(description="The last event that it is done with.")
    lag: int = Field(description="Stamped events that it has not seen yet.")
    parked: int = Field(description="Events set aside after a fault, and those that wait behind them.")
    lease_owner: str | None = Field(description="The process that runs it now.")
    updated_at: datetime


class ParkedEvent(BaseModel):
    """An event that a consumer could not handle, or one that waits behind such an event of its conversation."""

    consumer: str
    position: int
    event_id: UUID
    event_type: str
    conversation_id: UUID | None
    attempts: int = Field(description="0: it waits for the event before it.")
    error: str | None = Field(description="The fault's class and code, never its text.")
    parked_at: datetime
    retry_at: datetime | None = Field(description="Null: it waits for an operator, or for the event before it.")
