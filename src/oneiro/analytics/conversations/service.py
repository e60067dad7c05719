"""The numbers of one conversation, computed from its rows."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from oneiro.analytics import histogram
from oneiro.analytics.conversations import timing, words
from oneiro.analytics.conversations.models import Analysis, Facts, Line, Session
from oneiro.analytics.conversations.words import Words
from oneiro.conversations.models import Sender

COMPLETION: Final = {
    "agent_ended": "natural_end",
    "user_ended": "user_ended",
    "timeout": "timeout",
    "error": "error",
    "system_shutdown": "error",
}
_UNSPACED: Final = re.compile(
    r"[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
"""Thai, Lao, Tibetan, Burmese, Khmer, Japanese and Chinese."""
_WENT_WELL: Final = frozenset({1000, None})


def analyse(facts: Facts, lines: Sequence[Line], sessions: Sequence[Session]) -> Analysis:
    """Compute everything; a number that the rows do not give is None, never a guess.

    What is read from her words needs her consent, and English.
    """
    kept, lines = lines, [line for line in lines if not _withheld(facts, line)]
    said = [line.content for line in lines if line.sender == "user"]
    read = words.read(said, facts.language) if facts.consented else None
    seconds = timing.duration(facts)
    clock, times = timing.response_times(facts, lines)
    technical = _technical(facts, sessions)
    response_time: dict[str, Any] = {
        "p50": timing.nearest_rank(times, 0.5),
        "p95": timing.nearest_rank(times, 0.95),
        "clock": clock,
    }
    snapshot: dict[str, Any] = {
        "messages": {**_messages(lines), "withheld": len(kept) - len(lines)},
        "response_time": {**response_time, "answers": len(times)},
        "connected_seconds": timing.connected_seconds(sessions),
        "turn_taking": _turn_taking(facts, lines),
        "technical": technical,
    }
    if read is not None:
        snapshot["words"] = {"topics": read.topics, "progression": read.progression()}
    completion = COMPLETION.get(facts.end_reason or "") if facts.status == "completed" else None
    score = engagement(said=len(said), answers=len(lines) - len(said))
    return Analysis(
        facts=facts,
        duration_seconds=seconds,
        message_count=len(lines),
        completion_reason=completion,
        engagement=score,
        response_time=response_time,
        topics=list(read.topics) if read else None,
        sentiment=read.sentiment() if read else None,
        snapshot=snapshot,
        counts=_counts(facts, completion, seconds, (clock, times), technical) | _talk(len(lines), score),
        counts_of_words=read.counts() if isinstance(read, Words) else {},
    )


def engagement(*, said: int, answers: int) -> float | None:
    """The guide's formula, whose 0 to 7 become 1 to 5; None where she said nothing.

    40 % answers for each of her lines (at most two), 30 % length (full at ten lines), 30 % how often she spoke (full
    at three).
    """
    if said == 0:
        return None
    ratio, length, part = min(answers / said, 2), min((said + answers) / 10, 1), min(said / 3, 1)
    raw = (ratio * 0.4 + length * 0.3 + part * 0.3) * 5
    return round(1 + 4 * raw / 7, 1)


def _messages(lines: Sequence[Line]) -> dict[str, Any]:
    lengths: dict[Sender, list[int]] = {"user": [], "interpreter": []}
    for line in lines:
        lengths[line.sender].append(len(line.content))
    return {
        "count": len(lines),
        "user": len(lengths["user"]),
        "interpreter": len(lengths["interpreter"]),
        "corrected": sum(line.corrected for line in lines),
        "average_length": _mean([*lengths["user"], *lengths["interpreter"]]),
        "average_length_user": _mean(lengths["user"]),
        "average_length_interpreter": _mean(lengths["interpreter"]),
    }


def _withheld(facts: Facts, line: Line) -> bool:
    """A reply that she was not let hear is no answer."""
    return facts.transport == "relay" and line.metadata.get("withheld") is True


def _turn_taking(facts: Facts, lines: Sequence[Line]) -> dict[str, Any]:
    """Turns, her share of the words, and balance: 1 when both said as much, 0 when one was silent.

    Words of scripts that put no spaces between them are not counted: share and balance are None there.
    """
    turns = Counter(sender for sender, _ in groupby(line.sender for line in lines))
    spoken = Counter[Sender]()
    for line in lines:
        spoken[line.sender] += len(line.content.split())
    countable = not any(_UNSPACED.search(line.content) for line in lines)
    total = spoken.total() if countable else 0
    larger = max(spoken.values(), default=0) if countable else 0
    return {
        "turns": {"user": turns["user"], "interpreter": turns["interpreter"]},
        "user_share": round(spoken["user"] / total, 4) if total else None,
        "balance": round(min(spoken["user"], spoken["interpreter"]) / larger, 4) if larger else None,
        "interruptions": _interruptions(facts, lines),
        "longest_silence_ms": timing.longest_silence(lines),
    }


def _interruptions(facts: Facts, lines: Sequence[Line]) -> int | None:
    """How often she spoke into an answer; None where only her client could tell."""
    seen = [
        line
        for line in lines
        if facts.transport == "relay" or line.metadata.get("source") == "platform" or line.corrected
    ]
    return sum(line.metadata.get("interrupted") is True for line in seen) if seen else None


def _technical(facts: Facts, sessions: Sequence[Session]) -> dict[str, Any]:
    connects = sum(session.connection_count for session in sessions)
    opened = [
        round((session.connected_at - session.began_at).total_seconds() * 1000)
        for session in sessions
        if session.connected_at and session.began_at
    ]
    return {
        "sessions": len(sessions),
        "connects": connects,
        "reconnects": max(connects - 1, 0),
        "broken_off": sum(session.close_code not in _WENT_WELL for session in sessions),
        "errors": sum(len(session.errors) for session in sessions),
        "error_codes": dict(Counter(code for session in sessions for code in session.errors)),
        "degraded": facts.degraded or any(session.degraded for session in sessions),
        "start_ms": facts.start_ms,
        "connect_ms": opened[0] if opened else None,
        "platform_calls": facts.upstream_calls,
        "platform_seconds": _sum(session.platform.get("seconds") for session in sessions),
        "cost": _sum(session.platform.get("cost") for session in sessions),
    }


def _counts(
    facts: Facts,
    completion: str | None,
    seconds: int | None,
    measured: tuple[str | None, Sequence[int]],
    technical: dict[str, Any],
) -> dict[str, float]:
    """What is added up over conversations, by name; see docs/reference/analytics.md."""
    if facts.status != "completed":
        return {"never_connected" if facts.end_reason == "never_connected" else "failed": 1}
    counted: dict[str, float] = {"conversations": 1, f"end:{completion or 'unknown'}": 1}
    if facts.rating is not None:
        counted[f"rating:{facts.rating}"] = 1
    if seconds is not None:
        counted |= {"seconds": seconds, f"duration:{histogram.bucket(seconds)}": 1}
    for name in ("errors", "reconnects"):
        if technical[name]:
            counted[name] = technical[name]
    if technical["cost"] is not None:
        counted |= {"cost": technical["cost"], "cost_n": 1}
    if technical["degraded"]:
        counted["degraded"] = 1
    if facts.agent_known is not None:
        counted |= {"agent_known": int(facts.agent_known), "agent_known_n": 1}
    return counted | _answers(*measured)


def _answers(clock: str | None, times: Sequence[int]) -> dict[str, float]:
    counted: dict[str, float] = {
        f"response:{clock}:{index}": found for index, found in Counter(map(histogram.bucket, times)).items()
    }
    return counted | ({f"response_ms:{clock}": sum(times)} if times else {})


def _talk(lines: int, score: float | None) -> dict[str, float]:
    counted: dict[str, float] = {"messages": lines} if lines else {}
    return counted | ({"engagement": score, "engagement_n": 1} if score is not None else {})


def _mean(values: Sequence[int]) -> float | None:
    return round(sum(values) / len(values), 1) if values else None


def _sum(values: Any) -> float | None:
    numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
    return round(sum(numbers), 6) if numbers else None
