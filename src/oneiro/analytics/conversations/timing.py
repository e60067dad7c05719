"""How long things took in a conversation."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from oneiro.analytics.conversations.models import Facts, Line, Session

RELAY: Final = "relay_monotonic"
"""The relay's own clock, from the end of her turn to the first frame of the answer."""
LINE_TIMES: Final = "line_times"
"""The clock of a relayed conversation without such measurements: when the relay or the platform had its lines."""
MESSAGE_TIMES: Final = "message_times"
"""The clock of a conversation that the relay did not see: when its lines were said, as its client reports it."""
CLOCKS: Final = (RELAY, LINE_TIMES, MESSAGE_TIMES)
_LONGEST: Final = 3_600_000
"""Milliseconds; a longer answer is a clock that was set."""


def duration(facts: Facts) -> int | None:
    """Whole seconds from start to end, pauses included; None for a conversation that never began."""
    if facts.started_at is None:
        return None
    return max(int((facts.ended_at - facts.started_at).total_seconds()), 0)


def connected_seconds(sessions: Sequence[Session]) -> float:
    """Seconds for which a session was open, all sessions together."""
    open_for = (
        (session.ended_at - session.connected_at).total_seconds()
        for session in sessions
        if session.ended_at and session.connected_at
    )
    return round(sum(max(seconds, 0.0) for seconds in open_for), 1)


def response_times(facts: Facts, lines: Sequence[Line]) -> tuple[str | None, list[int]]:
    """The clock, and the milliseconds from the end of her words to the beginning of each answer.

    The relay's clock where it measured; a client's metadata is not believed. Without any answer the clock is None.
    """
    if facts.transport == "relay":
        latencies = [latency for line in lines if (latency := _latency(line)) is not None]
        if latencies:
            return RELAY, latencies
    answered = [
        round((answer.occurred_at - said.occurred_at).total_seconds() * 1000)
        for said, answer in pairwise(lines)
        if said.sender == "user" and answer.sender == "interpreter" and said.session == answer.session
    ]
    believable = [milliseconds for milliseconds in answered if 0 <= milliseconds <= _LONGEST]
    clock = LINE_TIMES if facts.transport == "relay" else MESSAGE_TIMES
    return (clock if believable else None), believable


def _latency(line: Line) -> int | None:
    measured: Any = line.metadata.get("latency")
    if line.sender != "interpreter" or not isinstance(measured, dict):
        return None
    clock, milliseconds = measured.get("clock"), measured.get("ms")
    if clock != RELAY or not isinstance(milliseconds, int) or isinstance(milliseconds, bool):
        return None
    return milliseconds if 0 <= milliseconds <= _LONGEST else None


def nearest_rank(values: Sequence[int], share: float) -> int | None:
    """The percentile of a few values: one of them."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1] if ordered else None


def longest_silence(lines: Sequence[Line]) -> int | None:
    """Milliseconds of the longest time between two lines of one session."""
    gaps = [
        round((later.occurred_at - earlier.occurred_at).total_seconds() * 1000)
        for earlier, later in pairwise(lines)
        if earlier.session == later.session
    ]
    return max(gaps, default=None)
