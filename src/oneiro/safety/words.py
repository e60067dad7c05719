"""From what somebody typed or said to plain tokens, and patterns over such tokens.

A pattern is a row of places: `kill`, `kill|hurt`, `$want` (a named set), `?really` (may be missing), `?a|?the|?my`
(up to four of these words, in any order), `*` (up to two words of any kind), `**` (up to five) and `***` (up to ten).
A source with `<phrase>` stands for one pattern with each line of that phrase.
No place repeats without a bound, so matching costs a constant per token.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

BOUNDARY = "."
T = TypeVar("T")
_APOSTROPHES = re.compile("['\u2018\u2019\u02bc\u0060\u00b4]")
_TOKEN = re.compile(r"[^\W_]+(?:[$@!][^\W_]+)*|[.?!;:\n\u2014\u2026]")
_RUN = re.compile(r"(.)\1{2,}")
_LEET = str.maketrans("013457$@!", "oieastsai")
_GAPS = {"*": 2, "**": 5, "***": 10}
_FILLERS = 4
_SHORTEST = 6
_PHRASE = re.compile(r"<(\w+)>")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How words are brought to one form: `spellings` a word to words, `pairs` two words to one, `known` all words.

    `slips` leads from every word with one letter left out to the word that a slip of the pen is taken for.
    """

    spellings: Mapping[str, tuple[str, ...]]
    pairs: Mapping[tuple[str, str], str]
    known: frozenset[str]
    slips: Mapping[str, str]


def tokens(text: str, vocabulary: Vocabulary) -> list[str]:
    """The words in one spelling, sentence ends (and the end) as `BOUNDARY`; one pass over the text."""
    plain = _APOSTROPHES.sub("", unicodedata.normalize("NFKC", text)).casefold()
    words: list[str] = []
    letters: list[str] = []
    seen: dict[str, Sequence[str]] = {}
    for found in _TOKEN.findall(plain):
        if len(found) == 1 and found.isalpha():
            letters.append(found)
            continue
        if letters:
            words += _joined(letters, found)
            letters = []
        spelled = seen.get(found)
        if spelled is None:
            spelled = seen[found] = _spelled(found, vocabulary)
        words += spelled
    words += (*_joined(letters, ""), BOUNDARY)
    return _paired(words, vocabulary.pairs)


def _joined(letters: list[str], following: str) -> list[str]:
    """Single letters in a row are one word spelled out (`k m s`), unless they are fewer than three."""
    return ["".join(letters)] if len(letters) >= 3 and following != BOUNDARY else letters


def _spelled(found: str, vocabulary: Vocabulary) -> Sequence[str]:
    if not found[0].isalnum():
        return (BOUNDARY,)
    if found.isdecimal() and found not in vocabulary.known:
        return ("many#",) if 2 <= len(found) <= 3 else ("few#",)
    word = found
    if word not in vocabulary.known and not word.isalpha() and any(char.isalpha() for char in word):
        word = word.translate(_LEET)
    if _RUN.search(word):
        twice = _RUN.sub(r"\1\1", word)
        word = twice if twice in vocabulary.known else _RUN.sub(r"\1", word)
    if word in vocabulary.spellings:
        return vocabulary.spellings[word]
    return (word if word in vocabulary.known else _unslipped(word, vocabulary.slips),)


def _unslipped(word: str, slips: Mapping[str, str]) -> str:
    """The word meant by one with a letter missing, added, wrong, or two swapped; the word itself otherwise."""
    if len(word) < _SHORTEST - 1:
        return word
    for shorter in (word, *_shortened(word)):
        meant = slips.get(shorter)
        if meant and meant[0] == word[0]:
            return meant
    return word


def _shortened(word: str) -> Iterator[str]:
    return (word[:at] + word[at + 1 :] for at in range(len(word)))


def _paired(words: list[str], pairs: Mapping[tuple[str, str], str]) -> list[str]:
    joined: list[str] = []
    last = ""
    for word in words:
        one = pairs.get((last, word))
        if one is None:
            joined.append(word)
        else:
            joined[-1] = one
        last = joined[-1]
    return joined


@dataclass(frozen=True, slots=True)
class Place:
    """One place of a pattern: `least` to `most` words out of `words`, or any words when the set is empty."""

    words: frozenset[str]
    least: int = 1
    most: int = 1


Pattern: TypeAlias = tuple[Place, ...]


def patterns(
    source: str, sets: Mapping[str, Sequence[str]], phrases: Mapping[str, Sequence[str]] | None = None
) -> list[Pattern]:
    """Reads one line of the rules; raises KeyError for an unknown set or phrase."""
    named = _PHRASE.search(source)
    if named is None:
        return [tuple(_place(part, sets) for part in source.split())]
    lines = (phrases or {})[named[1]]
    written = (source[: named.start()] + line + source[named.end() :] for line in lines)
    return [read for line in written for read in patterns(line, sets, phrases)]


def _place(part: str, sets: Mapping[str, Sequence[str]]) -> Place:
    if part in _GAPS:
        return Place(frozenset(), 0, _GAPS[part])
    choices = part.split("|")
    names = [choice.removeprefix("?") for choice in choices]
    words = frozenset(word for name in names for word in _members(name, sets))
    if all(choice.startswith("?") for choice in choices):
        return Place(words, 0, min(len(words), _FILLERS))
    return Place(words)


def _members(name: str, sets: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """A word, or the words of a set and of the sets named in it."""
    if not name.startswith("$"):
        yield name
        return
    for member in sets[name[1:]]:
        yield from _members(member, sets)


@dataclass(frozen=True, slots=True)
class Span:
    """Where a pattern matched, and the words that its gaps took in."""

    start: int
    end: int
    passed: tuple[str, ...] = ()


def match(places: Pattern, words: Sequence[str], at: int) -> Span | None:
    """The match of a pattern that begins exactly at `at`, with the shortest gaps.

    A pair (place, word) that failed once is not tried again, so the work is at most places times the pattern's reach.
    """
    passed: list[str] = []
    end = _walk(places, words, (0, at), passed, set())
    return None if end is None else Span(at, end, tuple(passed))


def _walk(
    places: Pattern, words: Sequence[str], state: tuple[int, int], passed: list[str], failed: set[tuple[int, int]]
) -> int | None:
    index, at = state
    if index == len(places):
        return at
    if state in failed:
        return None
    place = places[index]
    for stop in _reach(place, words, at):
        end = _walk(places, words, (index + 1, stop), passed, failed)
        if end is not None:
            passed[:0] = () if place.words else words[at:stop]
            return end
    failed.add(state)
    return None


def _reach(place: Place, words: Sequence[str], at: int) -> Iterator[int]:
    """Where the next place may begin: one word after another, as long as they fit."""
    if place.least == 0:
        yield at
    for stop in range(at, min(at + place.most, len(words))):
        word = words[stop]
        if word not in place.words if place.words else word == BOUNDARY:
            return
        yield stop + 1


Places: TypeAlias = Mapping[str, Sequence[int]]


def positions(words: Sequence[str]) -> Places:
    """Where each word stands."""
    where: dict[str, list[int]] = {}
    for position, word in enumerate(words):
        where.setdefault(word, []).append(position)
    return where


class Index(Generic[T]):
    """Patterns with what they stand for, found in a text by their rarest place first."""

    def __init__(self, entries: Sequence[tuple[Pattern, T]]) -> None:
        frequency: dict[str, int] = {}
        for places, _ in entries:
            for place in places:
                for word in place.words if place.least else ():
                    frequency[word] = frequency.get(word, 0) + 1
        self._by_key: dict[str, list[int]] = {}
        self._entries = entries
        self._required: list[list[frozenset[str]]] = []
        for number, (places, _) in enumerate(entries):
            required = [place.words for place in places if place.words and place.least]
            self._required.append(required)
            for word in min(required, key=_weight(frequency)):
                self._by_key.setdefault(word, []).append(number)

    def find(self, words: Sequence[str], where: Places | None = None) -> Iterator[tuple[Span, T]]:
        """All matches, at most one for each pattern and first word; `where` is `positions(words)` if known."""
        where = positions(words) if where is None else where
        for number in self._possible(frozenset(where)):
            places, meaning = self._entries[number]
            for at in _starts(places, self._required[number][-1], where):
                span = match(places, words, at)
                if span:
                    yield span, meaning

    def _possible(self, present: frozenset[str]) -> Iterator[int]:
        """The patterns whose every required place has one of its words in the text, in order."""
        candidates: set[int] = set()
        for word in self._by_key.keys() & present:
            candidates.update(self._by_key[word])
        for number in sorted(candidates):
            for needed in self._required[number]:  # Not `any(…)`: a generator for each costs more than all the rest.
                if present.isdisjoint(needed):
                    break
            else:
                yield number


def _starts(places: Pattern, last: frozenset[str], where: Places) -> Iterator[int]:
    """Where the first place stands with the last one within the pattern's reach."""
    ends = _standing(last, where)
    reach = sum(place.most for place in places) - 1
    for at in _standing(places[0].words, where):
        following = bisect_left(ends, at)
        if following < len(ends) and ends[following] <= at + reach:
            yield at


def _standing(words: frozenset[str], where: Places) -> list[int]:
    return sorted(position for word in words & where.keys() for position in where[word])


def _weight(frequency: Mapping[str, int]) -> Callable[[frozenset[str]], int]:
    return lambda words: sum(frequency[word] for word in words)


def vocabulary(
    spellings: Mapping[str, str], pairs: Mapping[str, str], known: frozenset[str], near: Sequence[str] = ()
) -> Vocabulary:
    """The vocabulary of a rules file: `{"gonna": "going to"}`, `{"i am": "im"}`, `near` the words to forgive a slip."""
    split = {word: tuple(form.split()) for word, form in spellings.items()}
    slips = {shorter: word for word in near for shorter in (word, *_shortened(word))}
    return Vocabulary(split, {_two(pair): one for pair, one in pairs.items()}, known, slips)


def _two(pair: str) -> tuple[str, str]:
    first, second = pair.split()
    return first, second
