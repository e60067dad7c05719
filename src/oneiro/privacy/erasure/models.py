"""What an erasure asks for, and what it has to remember for the platform."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class ErasureRequest(BaseModel):
    """The sentence without which nothing is erased, so that no stray request ends a life's journal."""

    model_config = ConfigDict(extra="forbid")

    confirm: Literal["delete everything"] = Field(description="Say so in these words.")


@dataclass(frozen=True, slots=True)
class Held:
    """A conversation that the platform has, by its own id.

    `over_at` is when it ended here; `direct`: its client has a socket of its own, which we cannot close.
    """

    platform_id: str
    over_at: datetime | None
    direct: bool


@dataclass(frozen=True, slots=True)
class Unnamed:
    """A session whose id on the platform nobody told us: it began there between these times, with this agent."""

    conversation_id: UUID
    agent_id: str
    since: datetime
    until: datetime
