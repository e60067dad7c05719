"""Talks that dreamers may have had: drawn from a seed, and computed by what computes real ones.

A history of a million conversations is made of some hundreds of talks at other times and with other dreamers: its
numbers are those that the product would compute, and cost no time.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from oneiro.analytics.conversations.models import Facts, Line, Session
from oneiro.analytics.conversations.service import analyse
from oneiro.analytics.history.lines import LANGUAGES
from oneiro.analytics.history.models import LINES, Measure, Outline, Plan, Said, Sitting, Talk
from oneiro.conversations.models import Sender

KINDS: Final = tuple((language, consented) for language in LANGUAGES for consented in (True, False))
"""What of her decides which talks a dreamer may have: her language, and whether she lets her words be read."""
MOST: Final = 100
"""Talks of one kind."""
_NOBODY: Final = UUID(int=0)
_THEN: Final = datetime(2000, 1, 1, tzinfo=UTC)
_ENDS: Final = ("user_ended", "agent_ended", "timeout", "error", "system_shutdown")
_OF_ENDS: Final = (62, 22, 12, 3, 1)
_STARS: Final = {"error": (30, 30, 20, 15, 5), "system_shutdown": (20, 30, 30, 15, 5)}
_USUAL_STARS: Final = (3, 6, 16, 37, 38)
_UNREACHED: Final = 0.025
_REFUSED: Final = 0.01
_CREDITS: Final = 1.7
"""A second; the platform's own unit."""


def talks(plan: Plan) -> Iterator[tuple[int, Talk]]:
    """Talks with the index of their kind, always the same ones for a plan's seed and sizes."""
    rng = Random(f"{plan.seed}:talks:{plan.messages}")  # noqa: S311 - nothing here is a secret.
    each = max(8, min(MOST, plan.conversations // 20))
    for kind, (language, consented) in enumerate(KINDS):
        for _ in range(each):
            yield kind, finished(_outline(rng, plan.messages, language, consented=consented))


def finished(outline: Outline) -> Talk:
    """A talk with its numbers."""
    lines = [
        Line(said.sender, said.content, _at(said.before_ms), said.session, said.metadata, corrected=False)
        for said in outline.lines
    ]
    analysis = analyse(_facts(outline), lines, [_session(sitting, outline) for sitting in outline.sittings])
    return Talk(outline, analysis, tuple(_measures(outline, analysis.completion_reason, analysis.snapshot)))


def _outline(rng: Random, messages: float, language: str, *, consented: bool) -> Outline:
    drawn = rng.random()
    transport = "relay" if rng.random() < 0.85 else "direct"
    known = rng.random() < 0.97
    calls = (0 if transport == "relay" else 1) + (0 if known else 3)
    if drawn < _UNREACHED + _REFUSED:
        reason = "never_connected" if drawn < _UNREACHED else "error"
        waiting = (Sitting(1, 900_000, None, 0, 0, None, "ended", (), {}),) if reason == "never_connected" else ()
        milliseconds = 900_000 if waiting else rng.randint(900, 8000)
        return Outline(
            language, consented, "failed", reason, transport, False, milliseconds, None, calls, False, (), waiting
        )
    return _held(rng, messages, language, transport, calls, consented=consented)


def _held(rng: Random, messages: float, language: str, transport: str, calls: int, *, consented: bool) -> Outline:
    reason = rng.choices(_ENDS, _OF_ENDS)[0]
    degraded = rng.random() < 0.015
    broken = rng.random() < 0.05
    measured = transport == "relay"
    told = list(_conversation(rng, messages, language, goodbye=reason in {"user_ended", "agent_ended"}))
    spoken = _timed(rng, told, broken_at=len(told) // 2 if broken else None, measured=measured)
    tail = rng.randint(600, 4000) if reason != "timeout" else 1_800_000
    length = (spoken[-1][2] if spoken else rng.randint(3000, 40_000)) + tail
    stars = rng.choices(range(1, 6), _STARS.get(reason, _USUAL_STARS))[0] if rng.random() < 0.35 else None
    lines = tuple(_said(spoken, length))
    sittings = tuple(_sittings(rng, lines, length, reason, charged=measured and not degraded, broken=broken))
    return Outline(
        language,
        consented,
        "completed",
        reason,
        transport,
        rng.random() < 0.3,
        length,
        stars,
        calls,
        degraded,
        lines,
        sittings,
    )


def _conversation(rng: Random, messages: float, language: str, *, goodbye: bool) -> Iterator[tuple[Sender, str]]:
    """Turn by turn; the number of lines is skewed as it is in life: many short talks and a few long ones."""
    words = LANGUAGES[language]
    count = min(round(rng.gammavariate(2.5, messages / 2.5)), LINES - 1) if messages else 0
    for place in range(count):
        if place == 0:
            yield "interpreter", rng.choice(words.openings)
        elif place % 2 == 0:
            yield "interpreter", rng.choice(words.asked)
        else:
            last = goodbye and place >= count - 2 and place > 1
            yield "user", rng.choice(words.goodbyes if last else words.told)


def _timed(
    rng: Random, told: Sequence[tuple[Sender, str]], *, broken_at: int | None, measured: bool
) -> list[tuple[Sender, str, int, int, dict[str, Any]]]:
    """Lines with milliseconds since the start, session and metadata: who listens thinks, and who speaks takes time."""
    at, spoken = rng.randint(400, 1500), []
    for place, (sender, text) in enumerate(told):
        metadata: dict[str, Any] = {}
        if sender == "interpreter" and place:
            latency = round(rng.lognormvariate(7.0, 0.35))
            at += latency
            if measured:
                metadata = {"latency": {"clock": "relay_monotonic", "ms": latency}}
            if rng.random() < 0.03:
                metadata["interrupted"] = True
        elif place:
            at += round(rng.lognormvariate(8.6, 0.6))
        session = 2 if broken_at is not None and place >= max(broken_at, 1) else 1
        spoken.append((sender, text, at, session, metadata))
        at += 60 * len(text)
    return spoken


def _said(spoken: Sequence[tuple[Sender, str, int, int, dict[str, Any]]], length: int) -> Iterator[Said]:
    for place, (sender, text, at, session, metadata) in enumerate(spoken):
        yield Said(sender, text, length - at, session, f"{session}:{sender}:{place + 1}", metadata)


def _sittings(
    rng: Random, lines: Sequence[Said], length: int, reason: str, *, charged: bool, broken: bool
) -> Iterator[Sitting]:
    opened = length - rng.randint(150, 390)
    second = [line.before_ms for line in lines if line.session == 2]
    close = 1011 if reason == "error" else 1000
    if broken and second:
        lost = max(second) + 250
        yield Sitting(1, length, opened, lost, 1, 1006, "error", ({"code": "upstream_closed"},), _cost(opened - lost))
        yield Sitting(2, lost, lost - 120, 0, 1, close, "ended", (), _cost(lost - 120) if charged else {})
        return
    errors = ({"code": "upstream_failed"},) if reason == "error" else ()
    yield Sitting(1, length, opened, 0, 1, close, "ended", errors, _cost(opened) if charged else {})


def _cost(milliseconds: int) -> dict[str, Any]:
    seconds = milliseconds // 1000
    return {"platform": {"seconds": seconds, "cost": round(seconds * _CREDITS)}}


def _facts(outline: Outline) -> Facts:
    return Facts(
        conversation_id=_NOBODY,
        user_id=_NOBODY,
        interpreter_id="",
        release_id=_NOBODY,
        arm_id=None,
        status=outline.status,
        transport=outline.transport,
        language=outline.language,
        started_at=_at(outline.milliseconds) if outline.status == "completed" else None,
        ended_at=_THEN,
        end_reason=outline.end_reason,
        rating=outline.rating,
        upstream_calls=outline.upstream_calls,
        degraded=outline.degraded,
        agent_known=outline.agent_known,
        consented=outline.consented,
        start_ms=outline.start_ms,
    )


def _session(sitting: Sitting, outline: Outline) -> Session:
    return Session(
        session=sitting.session,
        began_at=_at(sitting.began_ms),
        connected_at=None if sitting.connected_ms is None else _at(sitting.connected_ms),
        ended_at=_at(sitting.ended_ms),
        connection_count=sitting.connection_count,
        close_code=sitting.close_code,
        degraded=outline.degraded,
        errors=[str(error["code"]) for error in sitting.errors],
        platform=sitting.metadata.get("platform", {}),
    )


def _measures(outline: Outline, completion: str | None, snapshot: dict[str, Any]) -> Iterator[Measure]:
    """What the consumer of agents writes of such a talk."""
    if outline.agent_known:
        yield Measure("agent_cache_hit", float(outline.start_ms), {"success": True, "from_cache": True})
    if outline.status != "completed":
        return
    natural = completion in {"natural_end", "user_ended"}
    about = {"success": natural, "completion_reason": completion, "degraded": outline.degraded}
    yield Measure("completion_rate", float(natural), about)
    times = snapshot["response_time"]
    if times["answers"]:
        about = {"success": True, "clock": times["clock"], "answers": times["answers"], "p95": times["p95"]}
        yield Measure("response_time", times["p50"], about)
    if outline.rating is not None:
        yield Measure("user_satisfaction", outline.rating, {"success": True})


def _at(before_ms: int) -> datetime:
    return _THEN - timedelta(milliseconds=before_ms)
