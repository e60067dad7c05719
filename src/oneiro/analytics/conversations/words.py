"""What is read from a dreamer's words: themes, mood, and how far the talk came. Nothing here quotes her."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal

from oneiro.analytics import sentiment
from oneiro.analytics.conversations.insight import is_insight
from oneiro.dreamwork import imagery, moves, topics
from oneiro.dreamwork.moves import Move

Phase = Literal["opening", "exploration", "insight", "closing"]
PHASES: Final[tuple[Phase, ...]] = ("opening", "exploration", "insight", "closing")

_FEW: Final = 3
"""Charged lines below which nothing is said of how much they agree."""
_CLOSING: Final = frozenset({Move.goodbye, Move.thanks})
_OPENING: Final = frozenset({Move.greeting, Move.silence, Move.sign, Move.able, Move.wellbeing})


@dataclass(frozen=True, slots=True)
class Words:
    """What was read: themes by how often they were named, scores of the lines that the lexicon covers, phases."""

    topics: dict[str, int]
    scores: list[float]
    phases: list[Phase]

    def sentiment(self) -> dict[str, Any] | None:
        """The mood of the whole; None when no line could be judged."""
        if not self.scores:
            return None
        mean = round(sum(self.scores) / len(self.scores), 4)
        moods = Counter(sentiment.mood(score) for score in self.scores)
        lines = {mood: moods[mood] for mood in ("positive", "neutral", "negative")}
        charged = lines["positive"] + lines["negative"]
        agreement = round(abs(lines["positive"] - lines["negative"]) / charged, 4) if charged >= _FEW else None
        return {
            "overall": sentiment.mood(mean),
            "score": mean,
            "agreement": agreement,
            "lines": lines,
            "lexicon": sentiment.LEXICON,
        }

    def progression(self) -> dict[str, Any]:
        """How far it came, how many of her lines each phase has, and how the mood moved from first to last third."""
        phases = Counter(self.phases)
        return {
            "reached": max(self.phases, key=PHASES.index, default=None),
            "lines": {phase: phases[phase] for phase in PHASES},
            "sentiment": _moved(self.scores),
        }

    def counts(self) -> dict[str, float]:
        """What is added up over conversations."""
        counted: dict[str, float] = {f"topic:{topic}": 1 for topic in self.topics}
        overall = self.sentiment()
        if overall is not None:
            counted |= {f"mood:{overall['overall']}": 1, "sentiment": overall["score"], "sentiment_n": 1}
        if self.phases:
            counted[f"reached:{max(self.phases, key=PHASES.index)}"] = 1
        return counted


def read(said: Sequence[str], language: str) -> Words | None:
    """Read a dreamer's lines in order; None when none of them is English with words in it."""
    named, scores, phases = Counter[str](), list[float](), list[Phase]()
    for line in said:  # One line after the other: what dreamwork finds in a line, it remembers for a moment.
        if sentiment.covers(line, language):
            phases.append(_phase(line, opened=any(phase != "opening" for phase in phases)))
            named.update(topics.named(line))
            scores.append(sentiment.compound(line))
    if not scores:
        return None
    ordered = dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))
    return Words(ordered, scores, _settled(phases))


def _settled(phases: Sequence[Phase]) -> list[Phase]:
    """The phases once all is said: whoever goes on after a goodbye had not closed.

    A talk may go back from insight to exploring, never to its opening.
    """
    return [
        "exploration" if phase == "closing" and after != "closing" else phase
        for phase, after in pairwise([*phases, "closing"])
    ]


def _phase(line: str, *, opened: bool) -> Phase:
    if opened and is_insight(line):
        return "insight"
    move = moves.recognise(line)
    if move in _CLOSING and opened:
        return "closing"
    if not opened and (move in _OPENING or (move is not Move.told and not imagery.find(line))):
        return "opening"
    return "exploration"


def _moved(scores: Sequence[float]) -> dict[str, float | None]:
    """Mean score of the first and of the last third of the lines, and the difference; nulls below two lines."""
    if len(scores) < 2:
        return {"begin": None, "end": None, "change": None}
    third = max(len(scores) // 3, 1)
    begin, end = sum(scores[:third]) / third, sum(scores[-third:]) / third
    return {"begin": round(begin, 4), "end": round(end, 4), "change": round(end - begin, 4)}
