"""A flagged line as operators see it: never what was said."""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from pydantic import BaseModel, Field

from oneiro.conversations.models import Status

FlagTier = Literal["passive_ideation", "active_danger"]


class Flag(BaseModel):
    """What the crisis gate found in one line of a dreamer's."""

    id: UUID
    tier: FlagTier
    user_id: UUID
    conversation_id: UUID
    interpreter_id: str | None = Field(description="Null: she deleted the conversation.")
    status: Status | None = Field(description="Of the conversation now; null: she deleted it.")
    message_id: str | None = Field(description="Null: the line itself could not be stored.")
    flagged_at: datetime
    acknowledged_at: datetime | None
    acknowledged_by: str | None = Field(description="An operator's id, or the role of a server.")


class WantedFlags(NamedTuple):
    """Which flags are asked for; None means any."""

    acknowledged: bool | None
    tier: FlagTier | None
    interpreter_id: str | None
    status: Status | None
    user_id: UUID | None
    since: datetime | None
