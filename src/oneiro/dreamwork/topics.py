"""The themes a text is about: one taxonomy for replies, summaries and analytics."""

import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from oneiro.dreamwork import symbols
from oneiro.dreamwork.lexicon import Lexicon, Match, inflections, plurals, tokens

_Themes = dict[str, bool]
"""What a word speaks of: theme to whether it says so clearly."""

_TOPICS: Final[dict[str, dict[str, str]]] = tomllib.loads(
    files("oneiro.dreamwork").joinpath("topics.toml").read_text(encoding="utf-8")
)
TOPICS: Final = tuple(topic for topic in _TOPICS if topic)
_DENIED: Final = frozenset({"not", "never", "without", "nor", "neither", "hardly", "no"})
_OF_FEELING: Final = frozenset({"emotions", "fear"})
"""Themes that a "not" before the word takes away: who was not afraid speaks of something else."""
_REACH: Final = 3
"""Words before a feeling in which a "not" is looked for."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A theme met in a text, with the words that speak of it."""

    topic: str
    words: str
    start: int
    end: int


def _listed() -> Iterator[tuple[str, str, bool]]:
    """Every listed word as it may be spoken, with its theme ("" for a phrase that speaks of none)."""
    for topic, lists in _TOPICS.items():
        for strength, listed in lists.items():
            for entry in listed.replace("\n", " ").split(","):
                word = entry.strip()
                for form in _forms(word):
                    yield form, topic, strength == "clear"


def _forms(word: str) -> set[str]:
    """The forms of a single word, so that two themes may share one; a phrase as it is, which its finder inflects."""
    if " " in word:
        return {word}
    return inflections(word.rstrip("*")) if word.endswith("*") else plurals(word)


def _entries() -> list[tuple[str, bool, _Themes]]:
    """Gather the themes of each word, since "naked" speaks of the body and of identity.

    The longest come first: of two entries that share a form, the finder keeps the first, and "exams" is one as well as
    a form of "exam".
    """
    gathered: dict[str, _Themes] = {}
    for form, topic, clear in _listed():
        themes = gathered.setdefault(form, {})
        if topic:
            themes[topic] = clear or themes.get(topic, False)
    ordered = sorted(gathered.items(), key=lambda entry: (-len(entry[0]), entry[0]))
    return [(form.rstrip("*"), form.endswith("*"), themes) for form, themes in ordered]


_LEXICON: Final = Lexicon(_entries())


def find(text: str) -> list[Mention]:
    """Return every theme named in `text`, in order; the words of a symbol bring the symbol's themes."""
    own = [
        Mention(topic, text[match.start : match.end], match.start, match.end)
        for match in _LEXICON.find(text)
        for topic, clear in match.value.items()
        if clear
    ]
    seen = {(mention.topic, mention.start) for mention in own}
    pictured = [
        Mention(topic, sighting.words, sighting.start, sighting.end)
        for sighting in symbols.find(text)
        for topic in sighting.symbol.topics
        if (topic, sighting.start) not in seen
    ]
    return sorted(own + pictured, key=lambda mention: (mention.start, mention.topic))


def named(text: str) -> dict[str, int]:
    """Count the words of each theme that `text` names, the most frequent theme first.

    A theme is named by a word that says it clearly, or by two different ones that may. A symbol may speak of many
    themes; what somebody talks about is told better by the words alone.
    """
    counted, sure, faint = Counter[str](), set[str](), dict[str, set[str]]()
    for match in _LEXICON.find(text):
        denied = not _OF_FEELING.isdisjoint(match.value) and _denied(text, match)
        for topic, clear in match.value.items():
            if denied and topic in _OF_FEELING:
                continue
            counted[topic] += 1
            if clear:
                sure.add(topic)
            else:
                faint.setdefault(topic, set()).add(text[match.start : match.end].lower())
    said = sure | {topic for topic, words in faint.items() if len(words) > 1}
    return dict(sorted(((topic, counted[topic]) for topic in said), key=lambda item: (-item[1], item[0])))


def tally(text: str) -> dict[str, int]:
    """Count the mentions of each theme in `text`, the most frequent first."""
    counted = Counter(mention.topic for mention in find(text))
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def _denied(text: str, match: Match[_Themes]) -> bool:
    before = tokens(text)[max(0, match.first - _REACH) : match.first]
    return any(token.lower in _DENIED or token.lower.endswith("n't") for token in before)
