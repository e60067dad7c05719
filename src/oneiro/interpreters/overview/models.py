"""What operators see of the voice platform."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class BreakerView(BaseModel):
    """A circuit breaker of this process."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    state: Literal["closed", "open", "half-open"]
    failure_count: int
    success_count: int
    last_failure_time: datetime | None


class Drift(BaseModel):
    """An agent that the platform gives back otherwise than it was sent."""

    id: UUID
    agent_id: str
    interpreter_id: str
    release: int
    language: str
    model: str
    fields: list[str]


class Slots(BaseModel):
    """Conversations at once."""

    used: int
    limit: int


class Counts(BaseModel):
    """What the tables say."""

    cached_agents: int = Field(description="Agents on the platform that conversations use.")
    cached_voices: int = Field(description="Voices that were designed.")
    slots_used: int
    unreconciled: int = Field(description="Sessions whose account by the platform is due and has not arrived.")


class Settling(BaseModel):
    """What became of a database that is not where its agents were made."""

    model_config = ConfigDict(extra="forbid")

    database: Literal["moved", "copied"] = Field(
        description="`moved`: the former one is gone, and its agents are this one's. `copied`: the former one lives on "
        "and keeps them; this one makes its own, under marks of its own."
    )


class PlatformView(BaseModel):
    """The voice platform at a glance; breakers are those of the process that answers."""

    breakers: list[BreakerView]
    cached_agents: int
    cached_voices: int
    slots: Slots
    drift: list[Drift]
    unreconciled: int
    home: Literal["here", "elsewhere"] = Field(
        description="`elsewhere`: the database was copied or moved since it made its agents. Nothing is deleted on the "
        "platform until an operator tells which."
    )
