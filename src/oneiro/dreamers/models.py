"""A dreamer as the API shows and changes her."""

from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from oneiro import text


class Consents(BaseModel):
    """What a dreamer agreed to; nothing is assumed."""

    voice: bool = Field(default=False, description="Her voice may be sent to the voice platform.")
    memory: bool = Field(default=False, description="Interpreters may refer to earlier conversations.")
    analytics: bool = Field(default=False, description="What her talks are about may be counted.")


class Dreamer(BaseModel):
    """The dreamer's own profile."""

    user_id: UUID
    name: str | None
    language: str
    region: str | None
    birth_year: int | None
    consents: Consents
    allowed_interpreters: list[str] | None = Field(description="Interpreters she may talk to; null: all active ones.")
    minutes_today: float = Field(description="Minutes of conversation since midnight UTC.")

    def may_talk_to(self, interpreter_id: str) -> bool:
        """Whether this interpreter is open to her."""
        return self.allowed_interpreters is None or interpreter_id in self.allowed_interpreters


def _name(value: str | None) -> str | None:
    return None if value is None else text.bounded(value, field="name", limit=text.MAX_NAME, empty=True) or None


class ConsentsChange(BaseModel):
    """Consents to change; those left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    voice: bool | None = None
    memory: bool | None = None
    analytics: bool | None = None


class DreamerChange(BaseModel):
    """Fields to change; those left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str | None, AfterValidator(_name)] = None
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")] | None = None
    region: Annotated[str, Field(pattern=r"^[A-Z]{2}$")] | None = Field(None, description="ISO 3166 country.")
    birth_year: Annotated[int, Field(ge=1900, le=2100)] | None = None
    consents: ConsentsChange | None = None
