"""A measurement of an agent."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

MetricType = Literal[
    "agent_creation",
    "agent_cache_hit",
    "agent_cleanup",
    "voice_design",
    "response_time",
    "completion_rate",
    "user_satisfaction",
]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A row of `agent_metrics`: one of each type for an event. Times are milliseconds; `metadata` holds codes only."""

    type: MetricType
    value: float | None
    agent_id: str | None
    interpreter_id: str | None
    source_event: UUID
    recorded_at: datetime
    conversation_id: UUID | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
