"""A dream in the journal as the API takes and shows it."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from oneiro import text


def _content(value: str) -> str:
    return text.bounded(value, field="content", limit=text.MAX_CONTEXT)


def _title(value: str | None) -> str | None:
    return None if value is None else text.bounded(value, field="title", limit=200, empty=True) or None


def _symbol(value: str) -> str:
    return text.bounded(value, field="symbols", limit=text.MAX_SYMBOL)


def _interpretation(value: str | None) -> str | None:
    if value is None:
        return None
    return text.bounded(value, field="interpretation", limit=text.MAX_CONTEXT, empty=True) or None


def _moment(value: datetime) -> datetime:
    """The moment in UTC; one that no calendar of ours holds is refused."""
    try:
        moment = value.astimezone(UTC)
    except (OverflowError, ValueError):
        raise ValueError("is not a moment between the years 1 and 9999") from None
    return moment


Moment = Annotated[datetime, AfterValidator(_moment)]
Content = Annotated[str, AfterValidator(_content)]
Title = Annotated[str | None, AfterValidator(_title)]
Symbols = Annotated[list[Annotated[str, AfterValidator(_symbol)]], Field(max_length=50)]
Interpretation = Annotated[str | None, AfterValidator(_interpretation)]


class NewDream(BaseModel):
    """A dream to write down."""

    model_config = ConfigDict(extra="forbid")

    title: Title = None
    content: Content
    symbols: Symbols = []
    interpretation: Interpretation = None
    interpretation_date: Moment | None = None


class DreamChange(BaseModel):
    """Fields of a dream to change; those left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    title: Title = None
    content: Content | None = None
    symbols: Symbols | None = None
    interpretation: Interpretation = None
    interpretation_date: Moment | None = None
    status: Literal["kept"] | None = Field(None, description="Keeps a draft.")


class Dream(BaseModel):
    """A dream of the journal."""

    id: UUID
    title: str | None
    content: str
    symbols: list[str]
    interpretation: str | None
    interpretation_date: datetime | None
    status: Literal["draft", "kept"] = Field(description="A dream told aloud is a draft until it is kept.")
    conversation_id: UUID | None = Field(
        None, description="The conversation in which it was told, while that is there."
    )
    created_at: datetime
    updated_at: datetime
