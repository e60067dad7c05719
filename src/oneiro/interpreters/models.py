"""The interpreter document: everything that makes an interpreter, as one frozen value with a hash."""

import hashlib
import json
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

MAX_TEMPLATE_BYTES = 32 * 1024
MAX_ITEMS = 32
MAX_PROMPTS = 24
COLOUR = r"^#[0-9a-fA-F]{6}$"
PROMPT_NAME = r"^[a-z0-9][a-z0-9_-]{0,39}$"
IDENTIFIER = r"^[a-z][a-z0-9_]{0,39}$"
INTERPRETER_ID = r"^[a-z][a-z0-9-]{1,30}$"
APPROACH = r"^\w[\w-]{0,39}$"

PromptType = Literal["system", "greeting", "follow_up", "closing"]
PROMPT_TYPES: tuple[PromptType, ...] = get_args(PromptType)
ResponseLength = Literal["brief", "moderate", "detailed"]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces, so that equal content has equal bytes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _line_ends(value: Any) -> Any:
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value


def _storable(value: str) -> str:
    """Refuse what PostgreSQL or JSON cannot hold, and what no reader could see."""
    for char in value:
        if char not in "\n\t" and unicodedata.category(char) in {"Cc", "Cs"}:
            raise ValueError(f"must not hold the control character U+{ord(char):04X}")
    return value


def _one_line(value: str) -> str:
    if "\n" in value or "\t" in value:
        raise ValueError("must be one line")
    return value


def _visible(value: str) -> str:
    if not any(unicodedata.category(char)[0] in "LNSP" for char in value):
        raise ValueError("must not be empty")
    return value


def _template_size(value: str) -> str:
    size = len(value.encode())
    if size > MAX_TEMPLATE_BYTES:
        raise ValueError(f"may have at most {MAX_TEMPLATE_BYTES} bytes, this has {size}")
    return value


def _two_decimals(value: float) -> float:
    if round(value, 2) != value:
        raise ValueError("may have at most two decimals")
    return value


Text = Annotated[str, BeforeValidator(_line_ends), AfterValidator(_storable), AfterValidator(_visible)]
Line = Annotated[Text, StringConstraints(strip_whitespace=True), AfterValidator(_one_line)]
Name = Annotated[Line, StringConstraints(min_length=1, max_length=80)]
Word = Annotated[Line, StringConstraints(min_length=1, max_length=80)]
Approach = Annotated[str, StringConstraints(pattern=APPROACH)]
InterpreterId = Annotated[str, StringConstraints(pattern=INTERPRETER_ID)]
Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER)]
PromptName = Annotated[str, StringConstraints(pattern=PROMPT_NAME)]
Colour = Annotated[str, StringConstraints(pattern=COLOUR)]
Share = Annotated[float, Field(ge=0, le=1), AfterValidator(_two_decimals)]
Speed = Annotated[float, Field(ge=0.7, le=1.2), AfterValidator(_two_decimals)]


class Part(BaseModel):
    """Frozen, strict, and without room for keys nobody reads."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Appearance(Part):
    """How the interpreter looks on the talk page."""

    accent: Colour = Field("#8fa3c8", description="Colour of buttons and the voice's ring; read on a dark page.")
    glow: Colour = Field("#3d4f7a", description="Colour of the light behind the portrait.")
    portrait_alt: Annotated[Line, StringConstraints(max_length=200)] = Field(
        "A quiet light in the dark", description="What a screen reader says for the portrait."
    )
    tagline: Annotated[Line, StringConstraints(max_length=120)] = Field(
        "Tell me your dream.", description="One line under the name."
    )


class ConversationStyle(Part):
    """How the interpreter speaks."""

    greeting: Word = "warm_welcome"
    questioning_style: Word = "open"
    response_length: ResponseLength = Field(
        "moderate", description="Bounds a turn: 80, 120 or 200 words and 150, 250 or 400 tokens."
    )
    emotional_tone: Word = "warm"
    language_complexity: Word = "moderate"
    pacing_preference: Word = "measured"


class ResponsePattern(Part):
    """What the interpreter does when something comes up."""

    trigger: Word
    response: Annotated[Line, StringConstraints(max_length=300)]


class Personality(Part):
    """The school, the character and the manner."""

    approach: Approach = Field(
        description="jungian, spiritual, freudian, cognitive or any other word; sets the temperature."
    )
    traits: Annotated[tuple[Word, ...], Field(strict=False, max_length=MAX_ITEMS)] = ()
    conversation_style: ConversationStyle = ConversationStyle()
    expertise: Annotated[tuple[Word, ...], Field(strict=False, max_length=MAX_ITEMS)] = ()
    response_patterns: Annotated[tuple[ResponsePattern, ...], Field(strict=False, max_length=MAX_ITEMS)] = ()


class Voice(Part):
    """The voice: a configured id, else one designed from the description, else the default voice."""

    voice_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = Field(
        None, description="The platform's voice; null: one is designed from `voice_description`."
    )
    voice_description: Annotated[Line, StringConstraints(min_length=20, max_length=1000)] | None = Field(
        None, description="What the voice sounds like, 20 to 1000 characters."
    )
    stability: Share = 0.8
    similarity_boost: Share = 0.7
    style: Share = Field(0.3, description="Used for voices that were designed here.")
    speaking_rate: Speed = Field(0.9, description="1 is the voice's own pace.")
    use_speaker_boost: bool = Field(True, description="Used for voices that were designed here.")


class Variable(Part):
    """A constant of one prompt, or the stand-in for a conversation's value that is empty."""

    type: Literal["string", "number", "boolean"] = "string"
    default: (
        Annotated[str, AfterValidator(_storable), StringConstraints(max_length=2000)]
        | bool
        | int
        | Annotated[float, Field(allow_inf_nan=False)]
        | None
    ) = Field(None, description="The value; for a variable of the conversation, what is used when that is empty.")
    description: Annotated[str, AfterValidator(_storable), StringConstraints(max_length=300)] = ""

    @model_validator(mode="after")
    def _default_is_of_the_type(self) -> "Variable":
        if self.default is None:
            return self
        is_boolean, is_text = isinstance(self.default, bool), isinstance(self.default, str)
        actual = "boolean" if is_boolean else "string" if is_text else "number"
        if actual != self.type:
            raise ValueError(f"default is a {actual}, but type says {self.type}")
        return self


class Prompt(Part):
    """A template; the one named `default` of a type is used, others may be included by name."""

    type: PromptType
    name: PromptName = "default"
    template: Annotated[Text, AfterValidator(_template_size)]
    variables: Annotated[dict[Identifier, Variable], Field(max_length=MAX_ITEMS)] = Field(default_factory=dict)


class Card(Part):
    """What anyone may see of an interpreter; never its prompts."""

    id: str
    name: str
    full_name: str
    description: str
    approach: str
    traits: Annotated[tuple[str, ...], Field(strict=False)]
    expertise: Annotated[tuple[str, ...], Field(strict=False)]
    appearance: Appearance


class InterpreterDocument(Part):
    """An interpreter, whole: the YAML file, the release and the operator API speak of this one thing."""

    id: InterpreterId = Field(description="Lower-case letters, digits and hyphens; never changes.")
    name: Name = Field(description="What people call the interpreter; any script.")
    full_name: Name
    description: Annotated[Line, StringConstraints(min_length=1, max_length=500)]
    appearance: Appearance = Appearance()
    personality: Personality
    voice: Voice | None = Field(None, description="Without one the default voice speaks.")
    prompts: Annotated[tuple[Prompt, ...], Field(strict=False, max_length=MAX_PROMPTS)] = Field(
        (), description="Without a system prompt a release cannot be activated."
    )

    @model_validator(mode="after")
    def _prompts_are_distinct(self) -> "InterpreterDocument":
        seen: set[tuple[str, str]] = set()
        for prompt in self.prompts:
            key = (prompt.type, prompt.name)
            if key in seen:
                raise ValueError(f"prompts: there are two prompts {prompt.type}/{prompt.name}")
            seen.add(key)
        return self

    def prompt(self, kind: PromptType, name: str = "default") -> Prompt | None:
        """The prompt of this type and name, if there is one."""
        return next((prompt for prompt in self.prompts if (prompt.type, prompt.name) == (kind, name)), None)

    def data(self) -> dict[str, Any]:
        """The document as plain data with every default written out, so that later defaults leave it unchanged."""
        return self.model_dump(mode="json")

    @cached_property
    def content_hash(self) -> str:
        """The sha256 of the canonical JSON, in hex."""
        return hashlib.sha256(canonical_json(self.data()).encode()).hexdigest()

    def __hash__(self) -> int:
        """Equal content has an equal hash, so that what is made from a document can be cached by it."""
        return hash(self.content_hash)

    def card(self) -> Card:
        """The public face of the interpreter."""
        return Card(
            id=self.id,
            name=self.name,
            full_name=self.full_name,
            description=self.description,
            approach=self.personality.approach,
            traits=self.personality.traits,
            expertise=self.personality.expertise,
            appearance=self.appearance,
        )


@dataclass(frozen=True, slots=True)
class Release:
    """One frozen document of an interpreter; the default release is the one conversations start with."""

    id: UUID
    interpreter_id: str
    number: int
    document: InterpreterDocument
    content_hash: str
    note: str
    created_by: str
    created_at: datetime
    based_on: int | None
    activated_at: datetime | None
