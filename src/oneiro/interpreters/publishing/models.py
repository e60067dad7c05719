"""Interpreters and releases as operators send and see them."""

from datetime import date, datetime
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from oneiro import text
from oneiro.interpreters.models import Release

MAX_NOTE = 500
MAX_DEPTH = 32


def _note(value: str) -> str:
    return text.bounded(value, field="note", limit=MAX_NOTE, empty=True)


def _shallow(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what no document needs and what those that walk through it by recursion could not finish."""
    waiting: list[tuple[Any, int]] = [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"may be nested at most {MAX_DEPTH} deep")
        inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
        waiting.extend((one, depth + 1) for one in inner)
    return value


Note = Annotated[str, AfterValidator(_note)]
Data = dict[str, Any]
Sent = Annotated[Data, AfterValidator(_shallow)]


class Body(BaseModel):
    """What operators send: known fields only."""

    model_config = ConfigDict(extra="forbid")


class NewInterpreter(Body):
    """A whole new interpreter."""

    document: Sent
    note: Note = ""
    activate: bool = True


BasedOn = Annotated[int, Field(ge=1)] | None
_BASED_ON: Final = "Number of the default release that you saw; another one is answered with 409."


class Activation(Body):
    """Which release an operator thinks to replace."""

    based_on: BasedOn = Field(None, description=_BASED_ON)


class NewRelease(Body):
    """A release: changes of the default one (RFC 7396), or a whole document."""

    changes: Sent | None = None
    document: Sent | None = None
    note: Note = ""
    activate: bool = False
    based_on: BasedOn = Field(None, description=_BASED_ON)

    @model_validator(mode="after")
    def _one_of_both(self) -> "NewRelease":
        if (self.changes is None) == (self.document is None):
            raise ValueError("send either changes or document")
        return self


class Context(Body):
    """The dreamer and dream that a preview imagines."""

    user_name: Annotated[str, Field(max_length=text.MAX_NAME)] | None = None
    dream: Annotated[str, Field(max_length=text.MAX_CONTEXT)] | None = None
    dream_title: Annotated[str, Field(max_length=200)] | None = None
    symbols: Annotated[list[Annotated[str, Field(max_length=50)]], Field(max_length=50)] = []
    interpretation: Annotated[str, Field(max_length=text.MAX_CONTEXT)] | None = None
    interpretation_date: date | None = None
    remembered: Annotated[str, Field(max_length=text.MAX_CONTEXT)] = ""
    last_time: Annotated[str, Field(max_length=200)] = Field("", description="Makes the opening a follow-up.")
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Z]{2})?$")] = "en"


class PreviewRequest(Body):
    """What to try: the default release as it is, with changes, or a whole document."""

    changes: Sent | None = None
    document: Sent | None = None
    context: Context = Context()


class Length(BaseModel):
    """How long a text is."""

    characters: int
    words: int


class Preview(BaseModel):
    """What the platform and the dreamer would get."""

    system: str = Field(description="As sent to the platform; it fills in what stands in double braces.")
    opening: str
    closing: str
    variables: dict[str, str]
    lengths: dict[str, Length]
    content_hash: str


class ReleaseView(BaseModel):
    """A release without its document."""

    model_config = ConfigDict(from_attributes=True)

    interpreter_id: str
    number: int
    active: bool = Field(description="Whether conversations start with it.")
    activated_at: datetime | None = Field(description="When it last became the default.")
    content_hash: str
    note: str
    created_by: str
    created_at: datetime
    based_on: int | None
    drift: list[str] = Field([], description="Fields that the platform gave back otherwise than they were sent.")


class ReleaseDocument(ReleaseView):
    """A release, whole."""

    document: Data


class InterpreterView(BaseModel):
    """An interpreter as operators see it."""

    id: str
    name: str
    full_name: str
    description: str
    active: bool
    release: int | None = Field(description="Number of the default release; null when it is not active.")
    newest: int = Field(description="Number of the newest release.")
    content_hash: str | None = Field(description="Of the default release, or of the newest when none is active.")
    running_experiment: str | None = Field(description="Id of the experiment that is running.")
    created_at: datetime
    updated_at: datetime
    retired_at: datetime | None


class AgentView(BaseModel):
    """An agent on the voice platform."""

    agent_id: str | None
    release: int
    language: str
    model: str
    state: str
    voice_id: str | None
    drift: list[str]
    error_code: str | None
    created_at: datetime
    leaves_at: datetime | None = Field(description="When it is taken away at the earliest; null while it is wanted.")


class InterpreterDetail(InterpreterView):
    """An interpreter with its document and its agents."""

    document: Data | None
    previous: int | None = Field(description="Number of the release that rolling back leads to.")
    agents: list[AgentView]


def view(release: Release, default: int, drift: list[str] | None = None) -> ReleaseView:
    """A release as operators see it; `default` is the number of the default one, 0 for none."""
    return ReleaseView(
        interpreter_id=release.interpreter_id,
        number=release.number,
        active=release.number == default,
        activated_at=release.activated_at,
        content_hash=release.content_hash,
        note=release.note,
        created_by=release.created_by,
        created_at=release.created_at,
        based_on=release.based_on,
        drift=drift or [],
    )
