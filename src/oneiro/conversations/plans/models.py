"""What a start asks of the rows, what they say, and what is settled by it."""

from dataclasses import dataclass
from uuid import UUID

from oneiro.conversations.models import StartRequest, Transport
from oneiro.dreamers.models import Dreamer
from oneiro.interpreters.agents.store import AgentRow
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
class Found:
    """What the rows say.

    release: of the arm that she has, else the default one; none when the interpreter is not active. undrawn: an
    experiment runs in which she has no arm yet. agent: the one of that release, whoever made it.
    """

    dreamer: Dreamer
    language: str
    release: Release | None
    arm_id: UUID | None
    arm: str | None
    undrawn: bool
    dream: DreamMaterial | None
    agent: AgentRow | None


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
    agent: AgentRow | None
    began: float
