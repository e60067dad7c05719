"""The mood of English lines, by the lexicon VADER and what it has to be told of dreams.

Hutto, C. & Gilbert, E. (2014): VADER, a parsimonious rule-based model for sentiment analysis of social media text,
ICWSM-14. A lexicon knows words and a few rules (negation, degree, "but"), not what a dream means: see
docs/reference/analytics.md for what it was measured to get right.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from string import punctuation
from typing import Final, Literal

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from oneiro.dreamwork.lexicon import Lexicon
from oneiro.dreamwork.moves import is_foreign

LEXICON: Final = "vader 3.3.2, dreams 1"
Mood = Literal["positive", "neutral", "negative"]

_THRESHOLD: Final = 0.05
"""VADER's own: from here on a compound score counts as positive, and from its opposite on as negative."""
_MAX_PIECE: Final = 500
"""Characters scored at once: the library's time grows with their square."""
_LAST: Final = 2.0
"""Weight of the last sentence: who tells a dream often closes with how it was."""
_SENTENCE: Final = re.compile(r"[^.!?\n]+[.!?\n]*")
_WORD: Final = re.compile(r"[^\W\d_]{2,}")
_JOINT: Final = re.compile(r"[^a-z]")


def covers(text: str, language: str) -> bool:
    """Whether the lexicon can say anything of a line: English by its conversation and by its own words."""
    return language.startswith("en") and bool(_WORD.search(text)) and not is_foreign(text)


def score(text: str, language: str = "en") -> float | None:
    """The compound score of a line, -1 (negative) to 1 (positive); None for what the lexicon does not cover."""
    return compound(text) if covers(text, language) else None


def compound(text: str) -> float:
    """The same for a line that is known to be covered: the mean of its sentences."""
    scores = [_scored(piece) for piece in _pieces(_joined(text.replace("\u2019", "'")))]
    return round((sum(scores) + (_LAST - 1) * scores[-1]) / (len(scores) + _LAST - 1), 4)


def mood(score: float) -> Mood:
    """A score in a word."""
    if score >= _THRESHOLD:
        return "positive"
    return "negative" if score <= -_THRESHOLD else "neutral"


def _scored(piece: str) -> float:
    """VADER's compound score; a piece without a charged word has none, and that is found sooner here."""
    words, lexicon = piece.lower().split(), _vader().lexicon
    if piece.isascii() and not any(word in lexicon or word.strip(punctuation) in lexicon for word in words):
        return 0.0
    found: float = _vader().polarity_scores(piece)["compound"]
    return found


def _joined(text: str) -> str:
    """The text with each set phrase as one word, as the lexicon below has it."""
    spoken, at = "", 0
    for match in _phrases().find(text):
        spoken, at = f"{spoken}{text[at : match.start]}{match.value}", match.end
    return spoken + text[at:]


def _listed() -> Iterator[tuple[str, float]]:
    """What is said of dreams, with its valence."""
    read = tomllib.loads(files("oneiro.analytics").joinpath("moods.toml").read_text(encoding="utf-8"))
    for group in read["words"]:
        for words in group["listed"].replace("\n", " ").split(","):
            yield words.strip(), group["valence"]


@cache
def _phrases() -> Lexicon[str]:
    return Lexicon((words, False, _one(words)) for words, _ in _listed() if " " in words)


def _one(words: str) -> str:
    """A phrase as a word: letters only, since an apostrophe would be heard as a negation."""
    return _JOINT.sub("", words) if " " in words else words


@cache
def _vader() -> SentimentIntensityAnalyzer:
    analyser = SentimentIntensityAnalyzer()
    for words, valence in _listed():
        if valence:
            analyser.lexicon[_one(words)] = valence
        else:  # Not nought: a degree ("very") before it would charge it.
            analyser.lexicon.pop(words, None)
    return analyser


def _pieces(text: str) -> list[str]:
    """The sentences of a text, a long one in parts that can be scored quickly."""
    sentences = _SENTENCE.findall(text) or [text]
    return [
        sentence[start : start + _MAX_PIECE]
        for sentence in sentences
        for start in range(0, len(sentence), _MAX_PIECE)
        if sentence[start : start + _MAX_PIECE].strip()
    ]
