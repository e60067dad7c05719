"""What a start asks of the rows, what they say, and what is settled by it."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from oneiro.conversations.models import StartRequest, Transport
from oneiro.dreamers.models import Dreamer
from oneiro.interpreters.models import Release
from oneiro.interpreters.variables import DreamMaterial
from oneiro.interpreters.words.recall import Memory


@dataclass(frozen=True, slots=True)
class Asked:
    """What the rows are read for; the language is `wanted`, hers if it is offered, or the first that is."""

    user_id: UUID
    interpreter_id: str
    dream_id: UUID | None
    wanted: str | None
    offered: tuple[str, ...]
    model: str


@dataclass(frozen=True, slots=True)
class ReadyAgent:
    """The agent of a release, language and model, as its row has it."""

    release_id: UUID
    agent_id: str
    config_sha256: str | None
    prompt_sha256: str | None
    drift: list[str]
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Found:
    """What the rows say.

    release: of the arm that she has, else the default one; none when the interpreter is not active. undrawn: an
    experiment runs in which she has no arm yet.
    """

    dreamer: Dreamer
    language: str
    release: Release | None
    arm_id: UUID | None
    arm: str | None
    undrawn: bool
    dream: DreamMaterial | None
    agent: ReadyAgent | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is settled before anything is written; `began` is when, by `time.perf_counter`."""

    conversation_id: UUID
    request: StartRequest
    dreamer: Dreamer
    release: Release
    arm_id: UUID | None
    arm: str | None
    dream: DreamMaterial | None
    memory: Memory | None
    language: str
    model: str
    transport: Transport
    text_only: bool
    agent: ReadyAgent | None
    began: float
