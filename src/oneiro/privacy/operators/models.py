"""A dreamer as operators see her: never what she said or wrote."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from oneiro.dreamers.models import Consents

InterpreterId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{1,30}$")]


class DreamerItem(BaseModel):
    """A dreamer in the list, without her name."""

    user_id: UUID
    language: str
    region: str | None
    created_at: datetime
    conversations: int
    last_conversation_at: datetime | None


class DreamerDetail(DreamerItem):
    """One dreamer."""

    name: str | None
    birth_year: int | None
    consents: Consents
    allowed_interpreters: list[str] | None = Field(description="Null: all active ones.")
    dreams: int
    open_conversations: int
    safety_tier: str = Field(description="The gravest that was ever found in a conversation of hers.")


class DreamerPermissions(BaseModel):
    """What operators may change."""

    model_config = ConfigDict(extra="forbid")

    allowed_interpreters: list[InterpreterId] | None = Field(
        max_length=100, description="Interpreters that she may talk to; null: all active ones."
    )
