"""What the reports show."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from oneiro.events.models import ConsumerState
from oneiro.interpreters.overview.models import BreakerView, Slots


class Spread(BaseModel):
    """A distribution; percentiles are at most 9.1 % and half a unit off, the mean is exact.

    Null where nothing was measured.
    """

    count: int
    mean: float | None
    p50: int | None
    p95: int | None


class Completion(BaseModel):
    """How conversations ended. `rate`: the share that the dreamer or the interpreter ended; null without any."""

    natural_end: int
    user_ended: int
    timeout: int
    error: int
    rate: float | None


class Ratings(BaseModel):
    """What dreamers said of it; `distribution` has 1 to 5."""

    count: int
    mean: float | None
    distribution: dict[str, int]


class Topic(BaseModel):
    """A theme, and in how many conversations it was named."""

    topic: str
    conversations: int


class Sentiment(BaseModel):
    """The mood of her words, of the `conversations` that could be judged: -1 to 1, null without any."""

    conversations: int
    mean: float | None
    positive: int
    neutral: int
    negative: int


class Faults(BaseModel):
    """What went wrong.

    `rate`: conversations that ended by an error or could not start, of all that were asked for and not left unopened.
    """

    failed_starts: int
    never_connected: int = Field(description="Asked for and never opened; in no rate.")
    errors: int = Field(description="Entries of error logs.")
    reconnects: int
    degraded: int
    rate: float | None


class Figures(BaseModel):
    """Conversations that ended in a time."""

    conversations: int
    messages: int
    completion: Completion
    ratings: Ratings
    duration_seconds: Spread
    response_time_ms: dict[Literal["relay_monotonic", "line_times", "message_times"], Spread] = Field(
        description="By the clock that measured; each answer counts."
    )
    engagement: float | None = Field(description="Mean, 1 to 5.")
    topics: list[Topic] = Field(description="Of consenting dreamers' English words, the most frequent first.")
    sentiment: Sentiment
    reached: dict[Literal["opening", "exploration", "insight", "closing"], int] = Field(
        description="How far conversations came."
    )
    faults: Faults
    known_agent_rate: float | None = Field(
        description="Share of starts whose agent was there already, of those for which the platform was there."
    )
    cost: float | None = Field(description="In the platform's own units, of those whose cost is known; null if none.")
    cost_known: int = Field(description="Conversations whose cost is known.")


class Creations(BaseModel):
    """Agents made on the platform; percentiles as those of a `Spread`."""

    created: int
    failed: int
    p50_ms: int | None
    p95_ms: int | None
    errors: dict[str, int] = Field(description="Codes of those that failed; at most 20.")


class ReleaseFigures(Figures):
    """The same of one release, and of one arm where an experiment gave it."""

    release: int | None = Field(description="Null when the release was deleted.")
    arm: str | None
    experiment: str | None


class Performance(BaseModel):
    """An interpreter from `start` until before `end`."""

    interpreter_id: str
    start: datetime
    end: datetime
    total: Figures
    releases: list[ReleaseFigures] = Field(description="Newest release first; at most 500.")
    agents: Creations


class InterpreterFigures(BaseModel):
    """One interpreter on the dashboard."""

    interpreter_id: str
    name: str
    active_conversations: int
    last_24_hours: Figures
    previous_24_hours: Figures


class Health(BaseModel):
    """How the system is. Breakers are those of the process that answers."""

    breakers: list[BreakerView]
    slots: Slots
    consumers: list[ConsumerState]
    jobs: dict[str, int]
    unreconciled: int = Field(description="Sessions whose account by the platform is overdue.")
    hours_to_count: int = Field(description="Hours that reports read from their conversations until they are counted.")


class Dashboard(BaseModel):
    """The last day beside the one before."""

    time: datetime
    active_conversations: int
    last_24_hours: Figures
    previous_24_hours: Figures
    interpreters: list[InterpreterFigures]
    system_health: Health
