"""The lexicon of dream symbols, and finding them in what a dreamer says."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from oneiro.dreamwork.grammar import listed
from oneiro.dreamwork.lexicon import Lexicon, Match, Token, tokens

_VERBAL_KINDS = frozenset({"action", "event"})
# Weather words are verbs as well; other nouns are not ("stare" is no star, "caring" is no car).
_VERBAL_WORDS = frozenset({"rain", "snow", "flood", "thunder", "bleed", "burn", "melt", "freeze", "drown"})
# Words that are an image only as a noun: "a well", but not "I feel well".
_NOUN_ONLY = listed("noun_only")
_NOT_BEFORE_NOUN = listed("not_before_noun")


@dataclass(frozen=True, slots=True)
class Symbol:
    """One symbol: its words, how memorable it is (1 to 5), its themes, three readings and a question."""

    id: str
    words: tuple[str, ...]
    kind: str
    vividness: int
    topics: tuple[str, ...]
    jungian: str
    spiritual: str
    neutral: str
    question: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """A symbol met in a text, with the dreamer's own words and where they stand."""

    symbol: Symbol
    words: str
    start: int
    end: int


def parse(data: str) -> tuple[Symbol, ...]:
    """Read symbols from TOML text; a missing field or one of the wrong type is a KeyError or ValueError."""
    return tuple(_symbol(entry) for entry in tomllib.loads(data)["symbol"])


def _symbol(entry: dict[str, Any]) -> Symbol:
    texts = {key: " ".join(str(entry[key]).split()) for key in ("jungian", "spiritual", "neutral", "question")}
    return Symbol(
        id=str(entry["id"]),
        words=tuple(str(word).lower() for word in entry["words"]),
        kind=str(entry["kind"]),
        vividness=int(entry["vividness"]),
        topics=tuple(str(topic) for topic in entry["topics"]),
        **texts,
    )


class Finder:
    """Finds a set of symbols in text."""

    def __init__(self, symbols: tuple[Symbol, ...]) -> None:
        entries = [(word, _verbal(symbol, word), symbol) for symbol in symbols for word in symbol.words]
        self._lexicon = Lexicon(entries)

    def find(self, text: str) -> list[Sighting]:
        """Return the sightings in order of the text."""
        words = tokens(text)
        found = (match for match in self._lexicon.find(text) if _is_image(match, words))
        return [Sighting(match.value, text[match.start : match.end], match.start, match.end) for match in found]


def _verbal(symbol: Symbol, word: str) -> bool:
    return symbol.kind in _VERBAL_KINDS or word in _VERBAL_WORDS


def _is_image(match: Match[Symbol], words: tuple[Token, ...]) -> bool:
    """Turn away a noun's word that is used as another part of speech."""
    single = match.first == match.last and match.value.kind not in _VERBAL_KINDS
    if not single or words[match.first].lower not in _NOUN_ONLY:
        return True
    return match.first == 0 or words[match.first - 1].lower not in _NOT_BEFORE_NOUN


@cache
def all_symbols() -> tuple[Symbol, ...]:
    """Return the lexicon in `symbols.toml`, read once."""
    return parse(files("oneiro.dreamwork").joinpath("symbols.toml").read_text(encoding="utf-8"))


@cache
def _finder() -> Finder:
    return Finder(all_symbols())


def find(text: str) -> list[Sighting]:
    """Return the symbols in `text` in the order they were spoken."""
    return _finder().find(text)


class _Symbols:
    """The lexicon as a sequence that is read from disk on first use, so that importing costs nothing."""

    def __iter__(self) -> Iterator[Symbol]:
        return iter(all_symbols())

    def __len__(self) -> int:
        return len(all_symbols())

    def __getitem__(self, at: int) -> Symbol:
        return all_symbols()[at]


SYMBOLS = _Symbols()
