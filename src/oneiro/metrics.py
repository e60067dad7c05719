"""What a process measures, for Prometheus; the names are fixed, `docs/reference/metrics.md` describes each.

Labels are bounded: templates of routes instead of paths, codes instead of texts, and no more interpreters than
`MOST_INTERPRETERS`. Nothing here holds a dreamer's id or words. What stands in the database is not counted here but
read at each scrape, see `Snapshot`: every replica then shows the same figures.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
MOST_INTERPRETERS: Final = 100
OTHER: Final = "other"

REQUEST_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
START_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 45.0, 120.0)
"""A known agent takes milliseconds; one that has to be made first, several calls of the platform."""
PLATFORM_SECONDS: Final = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 45.0)
"""The last ones are the bounds of the platform's calls."""
AGENT_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0)
"""An agent is made, read back, and may need a voice that is designed, kept and tuned first."""
TURN_SECONDS: Final = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
LAG_SECONDS: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LAG_EVERY: Final = 0.5

# A second series for each, with the time of its making, that nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]  # The library declares no types for it.

BreakerState = Literal["closed", "open", "half-open"]
_BREAKER_VALUES: Final[Mapping[BreakerState, int]] = {"closed": 0, "half-open": 1, "open": 2}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the database says at one moment.

    slots: how many are `taken` and `free`; jobs: by state; lag, parked: events by consumer; unreconciled: sessions
    whose account by the platform is due and has not arrived; unacknowledged: flagged lines that nobody has seen to, by
    tier.
    """

    active: int
    slots: Mapping[str, int]
    jobs: Mapping[str, int]
    lag: Mapping[str, int]
    unreconciled: int
    parked: Mapping[str, int]
    unacknowledged: Mapping[str, int]

    def families(self) -> Iterator[GaugeMetricFamily]:
        """The figures as Prometheus takes them."""
        yield GaugeMetricFamily("oneiro_conversations_active", "Conversations that go on now.", value=self.active)
        yield _family("oneiro_slots", "Slots for conversations at the same time.", "state", self.slots)
        yield _family("oneiro_jobs", "Jobs in the table.", "state", self.jobs)
        yield _family("oneiro_consumer_lag_events", "Events a consumer is not done with.", "consumer", self.lag)
        yield _family("oneiro_parked_events", "Events that a consumer has set aside.", "consumer", self.parked)
        yield GaugeMetricFamily(
            "oneiro_unreconciled_conversations",
            "Sessions that ended and whose account by the platform has not arrived.",
            value=self.unreconciled,
        )
        yield _family(
            "oneiro_safety_unacknowledged", "Flagged lines that nobody has seen to.", "tier", self.unacknowledged
        )


def _family(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in values.items():
        family.add_metric([key], value)
    return family


@dataclass(frozen=True, eq=False)
class _Shown(Collector):
    """A snapshot as a collector, which a registry tells from others by identity."""

    snapshot: Snapshot

    def collect(self) -> Iterable[GaugeMetricFamily]:
        return self.snapshot.families()


@dataclass(slots=True)
class _Bounded:
    """Lets so many different values of a label pass and calls the others `other`."""

    most: int
    known: set[str] = field(default_factory=set)

    def __call__(self, value: str) -> str:
        if value not in self.known and len(self.known) >= self.most:
            return OTHER
        self.known.add(value)
        return value


class Metrics:
    """The measurements of one process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._interpreter = _Bounded(MOST_INTERPRETERS)
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._starts = self._counter(
            "oneiro_conversation_starts", "Starts of conversations, by how they went.", "interpreter", "outcome"
        )
        self._start_seconds = self._histogram(
            "oneiro_conversation_start_seconds", "From the request of a conversation to its answer.", START_SECONDS
        )
        self._agent_seconds = self._histogram(
            "oneiro_agent_creation_seconds", "Making an agent.", AGENT_SECONDS, "interpreter", "success"
        )
        self._turns = self._histogram(
            "oneiro_turn_latency_seconds",
            "From a dreamer's turn to the reply's beginning.",
            TURN_SECONDS,
            "interpreter",
        )
        self._messages = self._counter("oneiro_messages", "Lines that were stored.", "sender")
        self._frames = self._counter("oneiro_relay_frames", "Frames through the relay.", "direction", "kind")
        self._breakers = Gauge(
            "oneiro_breaker_state", "0 closed, 1 half-open, 2 open.", ["name"], registry=self.registry
        )
        self._platform_seconds = self._histogram(
            "oneiro_platform_request_seconds", "Calls of the voice platform.", PLATFORM_SECONDS, "call", "outcome"
        )
        self._safety = self._counter("oneiro_safety", "Lines that the crisis gate flagged.", "tier")
        # From zero on, so that the first one is seen to be an increase.
        for sender in ("user", "interpreter"):
            self._messages.labels(sender)
        for tier in ("passive_ideation", "active_danger"):
            self._safety.labels(tier)
        self._requests = self._histogram(
            "oneiro_http_request_seconds",
            "From a request's arrival to the beginning of its answer.",
            REQUEST_SECONDS,
            "route",
            "method",
            "status",
        )
        self._loop_lag = self._histogram(
            "oneiro_event_loop_lag_seconds", "How late the event loop comes back to a task that slept.", LAG_SECONDS
        )

    def start(self, interpreter: str, outcome: str, seconds: float) -> None:
        """A start of a conversation: `ok` or the error's code."""
        self._starts.labels(self._interpreter(interpreter), outcome).inc()
        self._start_seconds.observe(seconds)

    def agent_created(self, interpreter: str, seconds: float, *, success: bool) -> None:
        """An agent was made, or could not be."""
        self._agent_seconds.labels(self._interpreter(interpreter), str(success).lower()).observe(seconds)

    def turn(self, interpreter: str, seconds: float) -> None:
        """A reply began so long after the dreamer's turn."""
        self._turns.labels(self._interpreter(interpreter)).observe(seconds)

    def messages(self, sender: Literal["user", "interpreter"], count: int = 1) -> None:
        """Lines were stored."""
        self._messages.labels(sender).inc(count)

    def frames(self, direction: str, kind: str, count: int = 1) -> None:
        """Frames went through the relay or were dropped by it: direction and kind from its own short lists."""
        self._frames.labels(direction, kind).inc(count)

    def breaker(self, name: str, state: BreakerState) -> None:
        """A breaker's state; fits `CircuitBreaker(report=…)`."""
        self._breakers.labels(name).set(_BREAKER_VALUES[state])

    def platform_call(self, call: str, outcome: str, seconds: float) -> None:
        """A call of the platform; fits `ElevenLabsPlatform(observe=…)`."""
        self._platform_seconds.labels(call, outcome).observe(seconds)

    def safety(self, tier: str) -> None:
        """The crisis gate flagged a line."""
        self._safety.labels(tier).inc()

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request was answered; `route` is a template, never a path."""
        self._requests.labels(route, method, str(status)).observe(seconds)

    def loop_lag(self, seconds: float) -> None:
        """The event loop came back so late."""
        self._loop_lag.observe(seconds)

    def render(self, snapshot: Snapshot | None) -> bytes:
        """Everything in the text format; without a snapshot only what this process measured itself."""
        own: bytes = generate_latest(self.registry)
        if snapshot is None:
            return own
        # A registry for this one answer, so that a figure which could not be read is missing and not stale.
        read = CollectorRegistry()
        read.register(_Shown(snapshot))
        shared: bytes = generate_latest(read)
        return own + shared

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, registry=self.registry, buckets=buckets)


class LoopLag:
    """Measures again and again how late the event loop comes back to a task that slept: its sign of saturation."""

    def __init__(
        self, metrics: Metrics, *, every: float = LAG_EVERY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._metrics, self._every, self._clock = metrics, every, clock

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            began = self._clock()
            await asyncio.sleep(self._every)
            self._metrics.loop_lag(max(0.0, self._clock() - began - self._every))
