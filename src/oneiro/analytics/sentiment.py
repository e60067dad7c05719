"""The mood of English lines, by the lexicon VADER.

Hutto, C. & Gilbert, E. (2014): VADER, a parsimonious rule-based model for sentiment analysis of social media text,
ICWSM-14. A lexicon knows words and a few rules (negation, degree, "but"), not what a dream means: see
docs/reference/analytics.md for what it was measured to get right.
"""

import re
from functools import cache
from typing import Final, Literal

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from oneiro.dreamwork.moves import is_foreign

LEXICON: Final = "vader 3.3.2"
Mood = Literal["positive", "neutral", "negative"]

_THRESHOLD: Final = 0.05
"""VADER's own: from here on a compound score counts as positive, and from its opposite on as negative."""
_MAX_PIECE: Final = 500
"""Characters scored at once: the library's time grows with their square."""
_SENTENCE: Final = re.compile(r"[^.!?\n]+[.!?\n]*")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")


def covers(text: str, language: str) -> bool:
    """Whether the lexicon can say anything of a line: English by its conversation and by its own words."""
    return language.startswith("en") and bool(_WORD.search(text)) and not is_foreign(text)


def score(text: str, language: str = "en") -> float | None:
    """The compound score of a line, -1 (negative) to 1 (positive); None for what the lexicon does not cover."""
    return compound(text) if covers(text, language) else None


def compound(text: str) -> float:
    """The same for a line that is known to be covered."""
    scores: list[float] = [_vader().polarity_scores(piece)["compound"] for piece in _pieces(text)]
    return round(sum(scores) / len(scores), 4)


def mood(score: float) -> Mood:
    """A score in a word."""
    if score >= _THRESHOLD:
        return "positive"
    return "negative" if score <= -_THRESHOLD else "neutral"


@cache
def _vader() -> SentimentIntensityAnalyzer:
    return SentimentIntensityAnalyzer()


def _pieces(text: str) -> list[str]:
    """The text in runs of whole sentences, none longer than can be scored quickly."""
    pieces = [""]
    for sentence in _SENTENCE.findall(text) or [text]:
        for start in range(0, len(sentence), _MAX_PIECE):
            part = sentence[start : start + _MAX_PIECE]
            if len(pieces[-1]) + len(part) > _MAX_PIECE:
                pieces.append("")
            pieces[-1] += part
    return [piece for piece in pieces if piece.strip()]
