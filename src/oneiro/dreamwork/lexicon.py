"""Finding listed words and set phrases in running text: whole words, simple inflections, the longest match first."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

T = TypeVar("T")

_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d+")
_VOWELS = frozenset("aeiou")
_MAX_CHARS = 20_000

# Base form to the forms that spelling rules would miss.
_IRREGULAR: dict[str, tuple[str, ...]] = {
    "tooth": ("teeth",), "foot": ("feet",), "goose": ("geese",), "mouse": ("mice",), "man": ("men",),
    "woman": ("women",), "child": ("children",), "person": ("people",), "wolf": ("wolves",), "knife": ("knives",),
    "wife": ("wives",), "leaf": ("leaves",), "thief": ("thieves",), "shelf": ("shelves",), "half": ("halves",),
    "elf": ("elves",), "calf": ("calves",), "loaf": ("loaves",), "life": ("lives",), "ox": ("oxen",),
    "fall": ("fell", "fallen"), "run": ("ran",), "fly": ("flew", "flown"), "swim": ("swam", "swum"),
    "die": ("dying",), "lie": ("lying", "lay"), "tie": ("tying",), "lose": ("lost",), "break": ("broke", "broken"),
    "hide": ("hid", "hidden"), "drive": ("drove", "driven"), "write": ("wrote", "written"), "bite": ("bit", "bitten"),
    "steal": ("stole", "stolen"), "sink": ("sank", "sunk"), "shoot": ("shot",), "fight": ("fought",),
    "catch": ("caught",), "build": ("built",), "sing": ("sang", "sung"), "speak": ("spoke", "spoken"),
    "give": ("gave", "given"), "bleed": ("bled",), "tear": ("tore", "torn"), "freeze": ("froze", "frozen"),
    "grow": ("grew", "grown"), "throw": ("threw", "thrown"), "come": ("came",), "go": ("went", "gone"),
    "see": ("seen", "saw"), "leave": ("left",), "sleep": ("slept",), "weep": ("wept",), "feel": ("felt",),
    "wake": ("woke", "woken"), "forget": ("forgot", "forgotten"), "hang": ("hung",), "kneel": ("knelt",),
    "dig": ("dug",), "eat": ("ate", "eaten"), "drink": ("drank", "drunk"), "kill": ("killed",), "buy": ("bought",),
    "teach": ("taught",), "think": ("thought",), "hold": ("held",), "find": ("found",), "meet": ("met",),
    "win": ("won",), "ride": ("rode", "ridden"), "rise": ("rose", "risen"), "shake": ("shook", "shaken"),
    "strike": ("struck",), "swear": ("swore", "sworn"), "get": ("got", "gotten"), "take": ("took", "taken"),
    "make": ("made",), "fail": ("failed",), "have": ("had", "has"), "be": ("am", "is", "are", "was", "were", "been"),
    "begin": ("began", "begun"), "crawl": ("crawled",), "hear": ("heard",), "tell": ("told",), "say": ("said",),
    "burn": ("burnt",), "drown": ("drowned",), "spin": ("spun",), "sting": ("stung",), "swing": ("swung",),
    "shrink": ("shrank", "shrunk"), "swell": ("swollen",), "stand": ("stood",), "sit": ("sat",),
    "wear": ("wore", "worn"),
    "choose": ("chose", "chosen"), "bring": ("brought",), "leap": ("leapt",), "creep": ("crept",), "light": ("lit",),
    "melt": ("molten",), "slide": ("slid",), "pay": ("paid",), "send": ("sent",), "keep": ("kept",),
    "bury": ("buried",),
}  # fmt: skip


_Pattern = tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class Token:
    """One word as spoken: lower-cased, with its place in the text."""

    lower: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Match(Generic[T]):
    """An entry met in a text: token numbers and characters, `end` exclusive."""

    value: T
    first: int
    last: int
    start: int
    end: int


@lru_cache(maxsize=4)
def tokens(text: str) -> tuple[Token, ...]:
    """Split `text` (its first 20,000 characters) into words; curly apostrophes count as straight ones."""
    found = _TOKEN.finditer(text[:_MAX_CHARS])
    return tuple(Token(m.group().lower().replace("\u2019", "'"), m.start(), m.end()) for m in found)


def plurals(word: str) -> set[str]:
    """Return `word` with its plural and possessive forms."""
    if word.endswith(("s", "x", "z", "ch", "sh")):
        regular = {word + "es"}
    elif word.endswith("y") and word[-2:-1] not in _VOWELS:
        regular = {word[:-1] + "ies"}
    else:
        regular = {word + "s"}
    irregular = {form for form in _IRREGULAR.get(word, ()) if form.endswith(("s", "n", "e", "h", "t"))}
    return {word, *regular, *irregular, word + "'s"}


def inflections(word: str) -> set[str]:
    """Return `word` with plural, -s, -ing, -ed and irregular forms; a short final consonant is doubled, never bare."""
    forms = {*plurals(word), *_IRREGULAR.get(word, ())}
    if word.endswith("e") and not word.endswith(("ee", "ye")):
        return forms | {word + "d", word[:-1] + "ing"}
    if word.endswith("y") and word[-2:-1] not in _VOWELS:
        return forms | {word[:-1] + "ied", word + "ing"}
    if _doubles(word):
        return forms | {word + word[-1] + "ed", word + word[-1] + "ing"}
    return forms | {word + "ed", word + "ing"}


def _doubles(word: str) -> bool:
    """Tell whether `word` is one short syllable such as run or stab."""
    if len(word) < 3 or word[-1] in "aeiouwxy" or word[-2] not in _VOWELS or word[-3] in _VOWELS:
        return False
    return sum(letter in _VOWELS for letter in word) == 1


class Lexicon(Generic[T]):
    """Listed phrases with what they stand for; each entry is (phrase, may it be inflected as a verb, value)."""

    def __init__(self, entries: Iterable[tuple[str, bool, T]]) -> None:
        self._single: dict[str, T] = {}
        self._longer: dict[str, dict[str, list[tuple[_Pattern, T]]]] = {}
        for phrase, verbal, value in entries:
            pattern = tuple(_forms(token.lower, verbal=verbal) for token in tokens(phrase))
            if len(pattern) == 1:
                self._single.update((form, value) for form in pattern[0] if form not in self._single)
            elif pattern:
                self._index(pattern, value)
        for following in self._longer.values():
            for rows in following.values():
                rows.sort(key=lambda row: -len(row[0]))
        self._recent = lru_cache(maxsize=4)(self._search)

    def find(self, text: str) -> list[Match[T]]:
        """Return the matches in order of the text, none overlapping another."""
        return list(self._recent(text))

    def _index(self, pattern: _Pattern, value: T) -> None:
        """File a phrase under the forms of its first two words."""
        for first in pattern[0]:
            following = self._longer.setdefault(first, {})
            for second in pattern[1]:
                following.setdefault(second, []).append((pattern, value))

    def _search(self, text: str) -> list[Match[T]]:
        words, found, at = tokens(text), list[Match[T]](), 0
        while at < len(words):
            match = self._at(words, at)
            if match:
                found.append(match)
            at = match.last + 1 if match else at + 1
        return found

    def _at(self, words: tuple[Token, ...], at: int) -> Match[T] | None:
        word = words[at]
        following = self._longer.get(word.lower)
        if following and at + 1 < len(words):
            for pattern, value in following.get(words[at + 1].lower, ()):
                last = at + len(pattern) - 1
                rest = zip(words[at + 2 : last + 1], pattern[2:], strict=False)
                if last < len(words) and all(later.lower in forms for later, forms in rest):
                    return Match(value, at, last, word.start, words[last].end)
        single = self._single.get(word.lower)
        return None if single is None else Match(single, at, at, word.start, word.end)


@lru_cache(maxsize=8192)
def _forms(word: str, *, verbal: bool) -> frozenset[str]:
    return frozenset(inflections(word) if verbal else plurals(word))
