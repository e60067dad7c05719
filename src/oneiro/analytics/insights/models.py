"""What comes back in a dreamer's nights; for her eyes."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, Field


class Place(BaseModel):
    """Where it was: a dream of the journal, or a conversation that was not about one."""

    date: datetime
    dream_id: UUID | None
    conversation_id: UUID | None


class Recurring(BaseModel):
    """Something that came on several nights."""

    name: str
    nights: int = Field(description="On how many nights, of those that were read; a night ends at noon.")
    first: datetime
    latest: datetime
    where: list[Place] = Field(description="The latest dreams and conversations with it, at most 20, newest first.")


class Insights(BaseModel):
    """What comes back in your nights, read from your own dreams and words and stored nowhere.

    A thing recurs when it came on two nights or more.
    """

    symbols: list[Recurring]
    feelings: list[Recurring]
    people: list[Recurring]
    dreams: int = Field(description="Dreams that were read.")
    conversations: int = Field(description="Conversations that were read.")
    left_out: int = Field(description="Dreams and conversations in a language that cannot be read here.")
    older: int = Field(description="Older dreams and conversations, which were not read.")
    since: datetime | None = Field(description="The oldest night that was read; null when there is none.")
    zone: str = Field(description="The time zone whose noon parts one night from the next.")
