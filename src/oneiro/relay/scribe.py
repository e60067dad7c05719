"""The lines of one session: their event ids, what corrects them, whose echo they are, how long a reply took."""

from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from oneiro.conversations.models import Sender
from oneiro.conversations.relayed.models import Amendment, Line
from oneiro.safety.crisis import Tier

CLOCK: Final = "relay_monotonic"
"""The clock of turn latencies: seconds of this process between a frame's arrival and the first frame of the reply."""
_REMEMBERED: Final = 64


class Scribe:
    """Names the lines of one session in the order in which they come by."""

    def __init__(self, session: int, *, now: Callable[[], datetime], seconds: Callable[[], float]) -> None:
        self._session, self._now, self._seconds = session, now, seconds
        self._counts: dict[Sender, int] = {"user": 0, "interpreter": 0}
        self._replies: deque[tuple[int, str]] = deque(maxlen=_REMEMBERED)
        self._unechoed: deque[str] = deque(maxlen=_REMEMBERED)
        self._turn: tuple[str, float] | None = None
        self._latency: dict[str, Any] | None = None

    def typed(self, text: str, tier: Tier) -> Line:
        """A message that the dreamer wrote."""
        self._unechoed.append(_plain(text))
        return self._line("user", text, {"medium": "text"}, tier)

    def heard(self, text: str, tier: Tier) -> Line | None:
        """What she said aloud; None when it is the platform's echo of a message that she wrote."""
        if _plain(text) in self._unechoed:
            self._unechoed.remove(_plain(text))
            return None
        return self._line("user", text, {"medium": "audio"}, tier)

    def said(self, text: str, event_id: int | None, *, withheld: bool = False) -> Line:
        """A reply of the interpreter, with how long it took; `withheld` when she was not let hear it."""
        # An echo comes before the reply: what is heard from here on was said aloud.
        self._unechoed.clear()
        metadata: dict[str, Any] = {} if self._latency is None else {"latency": self._latency}
        if withheld:
            metadata["withheld"] = True
        self._latency = None
        line = self._line("interpreter", text, metadata, Tier.none)
        if event_id is not None:
            self._replies.append((event_id, line.event_id))
        return line

    def corrected(self, text: str, event_id: int | None) -> Amendment | None:
        """What remains of a reply, if we know the reply."""
        for known, line_id in reversed(self._replies):
            if known == event_id:
                return Amendment(line_id, text)
        return None

    def turn_ended(self, signal: str) -> None:
        """The dreamer has finished; `signal` is the frame that told us."""
        self._turn = signal, self._seconds()

    def reply_began(self, signal: str) -> float | None:
        """The first frame of a reply; returns the seconds since the dreamer finished, once for each turn."""
        if self._turn is None:
            return None
        (since, began), self._turn = self._turn, None
        seconds = self._seconds() - began
        self._latency = {"ms": round(seconds * 1000), "from": since, "to": signal, "clock": CLOCK}
        return seconds

    def _line(self, sender: Sender, text: str, metadata: dict[str, Any], tier: Tier) -> Line:
        number = self._counts[sender]
        self._counts[sender] += 1
        return Line(f"{self._session}:{sender}:{number}", sender, text, self._now(), metadata, tier)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
