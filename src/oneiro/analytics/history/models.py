"""What a made-up history consists of, and how its rows are known again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from oneiro.analytics.conversations.models import Analysis
from oneiro.conversations.models import Sender

SEEDS: Final = 1 << 24
LINES: Final = 1 << 8
"""Room for lines of one conversation, and for its sessions and measurements."""
_PREFIX: Final = int.from_bytes(b"oneiro")


def identity(seed: int, number: int = 0) -> UUID:
    """The id of the made-up row with this number: a UUID of version 8 (RFC 9562), whose bits are ours to choose.

    48 bits `oneiro`, 24 bits seed, 48 bits number: an id that is drawn at random or by time has another version.
    """
    named = _PREFIX << 80 | 0x8 << 76 | (seed >> 12) << 64 | 0b10 << 62 | (seed & 0xFFF) << 48
    return UUID(int=named | number)


FIRST: Final = identity(0)
LAST: Final = identity(SEEDS - 1, (1 << 48) - 1)
"""Every made-up row of every seed lies between these two."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many conversations ended in the `days` before `until`; `messages` is the mean of lines of one."""

    conversations: int
    until: datetime
    days: int = 365
    messages: float = 6.0
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Said:
    """A line of a talk, `before_ms` milliseconds before its end."""

    sender: Sender
    content: str
    before_ms: int
    session: int
    event_id: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sitting:
    """A session of a talk; times are milliseconds before its end."""

    session: int
    began_ms: int
    connected_ms: int | None
    ended_ms: int
    connection_count: int
    close_code: int | None
    status: str
    errors: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outline:
    """What a talk is but for its words and numbers; a NULL `seconds` is one that never began."""

    language: str
    consented: bool
    status: str
    end_reason: str
    transport: str
    text_only: bool
    milliseconds: int
    rating: int | None
    upstream_calls: int
    degraded: bool
    lines: Sequence[Said]
    sittings: Sequence[Sitting]

    @property
    def agent_known(self) -> bool | None:
        """Whether the start found its agent: a signed address is one call, the relay's address none."""
        return None if self.degraded else self.upstream_calls <= (1 if self.transport == "direct" else 0)

    @property
    def start_ms(self) -> int:
        """What such a start takes."""
        return (12 if self.transport == "relay" else 140) + (0 if self.agent_known else 900)


@dataclass(frozen=True, slots=True)
class Measure:
    """What `agent_metrics` holds of a talk."""

    type: str
    value: float
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Talk:
    """A talk that many dreamers may have had, with the numbers that the product computes for it."""

    outline: Outline
    analysis: Analysis
    measures: Sequence[Measure]


@dataclass(frozen=True, slots=True)
class Lead:
    """Who may lead a conversation: a release of an interpreter that is there, and an arm of an experiment of its."""

    interpreter_id: str
    release_id: UUID
    arm_id: UUID | None
    agent_id: str | None


class Dreamer(NamedTuple):
    """A made-up dreamer, and when she came first (milliseconds since 1970)."""

    number: int
    language: str
    region: str
    birth_year: int
    consented: bool
    came_ms: int


class Night(NamedTuple):
    """A conversation that took place: numbers of its dreamer, talk and lead, and its end (ms since 1970)."""

    number: int
    dreamer: int
    talk: int
    lead: int
    ended_ms: int
