"""What comes back in a dreamer's nights."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field


class Night(BaseModel):
    """Where it was: a dream of the journal, or a conversation that was not about one."""

    date: datetime
    dream_id: UUID | None
    conversation_id: UUID | None


class Recurring(BaseModel):
    """Something that came on several nights."""

    name: str
    nights: int = Field(description="On how many nights, of those that were read.")
    first: datetime
    latest: datetime
    where: list[Night] = Field(description="The latest of them, at most 20, newest first.")


class Insights(BaseModel):
    """What comes back in your nights, read from your own dreams and words each time you ask, and kept nowhere.

    A thing recurs when it came on two nights or more.
    """

    symbols: list[Recurring]
    feelings: list[Recurring]
    people: list[Recurring]
    dreams: int = Field(description="Dreams that were read, the latest 300 of them.")
    conversations: int = Field(description="Conversations that were read, the latest 100 of them.")
    left_out: int = Field(description="Dreams and conversations in a language that cannot be read here.")
    since: datetime | None = Field(description="The oldest night that was read; null when there is none.")
