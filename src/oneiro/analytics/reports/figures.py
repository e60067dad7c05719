"""From counts, as rollups and conversations hold them, to what a report shows."""

from collections.abc import Iterable, Mapping
from typing import Final

from oneiro.analytics import histogram
from oneiro.analytics.conversations.timing import CLOCKS
from oneiro.analytics.conversations.words import PHASES
from oneiro.analytics.reports.models import Completion, Creations, Faults, Figures, Ratings, Sentiment, Spread, Topic

Counts = Mapping[str, float]
_AGENTS: Final = "agents:"
_CODES: Final = 20
"""Codes of failures that are shown, the most frequent ones."""
_SCORES: Final = (1, 2, 3, 4, 5)


def together(parts: Iterable[Counts]) -> Counts:
    """The counts of several added up."""
    added: dict[str, float] = {}
    for part in parts:
        for name, found in part.items():
            added[name] = added.get(name, 0) + found
    return added


def figures(counts: Counts) -> Figures:
    """The figures of some conversations."""

    def number(name: str) -> int:
        return round(counts.get(name, 0))

    ended = {reason: number(f"end:{reason}") for reason in ("natural_end", "user_ended", "timeout", "error")}
    conversations = number("conversations")
    topics = sorted(_named(counts, "topic").items(), key=lambda item: (-item[1], item[0]))
    return Figures(
        conversations=conversations,
        messages=number("messages"),
        completion=Completion(**ended, rate=_share(ended["natural_end"] + ended["user_ended"], conversations)),
        ratings=_ratings(counts),
        duration_seconds=_spread(_named(counts, "duration"), counts.get("seconds", 0)),
        response_time_ms={
            clock: _spread(_named(counts, f"response:{clock}"), counts.get(f"response_ms:{clock}", 0))
            for clock in CLOCKS
        },
        engagement=_share(counts.get("engagement", 0), counts.get("engagement_n", 0), digits=2),
        topics=[Topic(topic=topic, conversations=round(found)) for topic, found in topics],
        sentiment=_sentiment(counts),
        reached={phase: number(f"reached:{phase}") for phase in PHASES},
        faults=_faults(counts),
        known_agent_rate=_share(number("agent_known"), number("agent_known_n")),
        cost=round(counts.get("cost", 0), 6) if number("cost_n") else None,
        cost_known=number("cost_n"),
    )


def has_talks(counts: Counts) -> bool:
    """Whether conversations are counted here, and not only agents."""
    return any(not name.startswith(_AGENTS) for name in counts)


def creations(counts: Counts) -> Creations:
    """The agents that were made, or were not; percentiles are of those that were."""
    took = _spread(_named(counts, "agents:ms"), 0)
    failures = sorted(_named(counts, "agents:error").items(), key=lambda item: (-item[1], item[0]))
    return Creations(
        created=round(counts.get("agents:created", 0)),
        failed=round(counts.get("agents:failed", 0)),
        p50_ms=took.p50,
        p95_ms=took.p95,
        errors={code: round(found) for code, found in failures[:_CODES]},
    )


def _faults(counts: Counts) -> Faults:
    failed, ended_by_error = round(counts.get("failed", 0)), counts.get("end:error", 0)
    return Faults(
        failed_starts=failed,
        never_connected=round(counts.get("never_connected", 0)),
        errors=round(counts.get("errors", 0)),
        reconnects=round(counts.get("reconnects", 0)),
        degraded=round(counts.get("degraded", 0)),
        rate=_share(failed + ended_by_error, failed + counts.get("conversations", 0)),
    )


def _ratings(counts: Counts) -> Ratings:
    given = {score: round(counts.get(f"rating:{score}", 0)) for score in _SCORES}
    count = sum(given.values())
    mean = _share(sum(score * found for score, found in given.items()), count, digits=2)
    return Ratings(count=count, mean=mean, distribution={str(score): found for score, found in given.items()})


def _sentiment(counts: Counts) -> Sentiment:
    judged = counts.get("sentiment_n", 0)
    moods = {name: round(counts.get(f"mood:{name}", 0)) for name in ("positive", "neutral", "negative")}
    return Sentiment(conversations=round(judged), mean=_share(counts.get("sentiment", 0), judged), **moods)


def _spread(buckets: Mapping[str, float], total: float) -> Spread:
    found = {int(index): count for index, count in buckets.items()}
    count = sum(found.values())
    return Spread(
        count=round(count),
        mean=_share(total, count, digits=1),
        p50=histogram.percentile(found, 0.5),
        p95=histogram.percentile(found, 0.95),
    )


def _named(counts: Counts, kind: str) -> dict[str, float]:
    """The counts of one kind by what follows its name: `topic:water` by `water`."""
    return {
        name.removeprefix(f"{kind}:"): found for name, found in counts.items() if name.startswith(f"{kind}:") and found
    }


def _share(part: float, whole: float, *, digits: int = 4) -> float | None:
    return round(part / whole, digits) if whole else None
