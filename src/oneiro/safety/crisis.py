"""The crisis gate: which of four tiers do a dreamer's words belong to.

Deterministic rules over plain tokens (`rules.toml`); no model, no network, nothing kept. A dreamer tells of death and
violence every night, so the question is always which world the words are about: `frames` says it for every word.
In doubt between two tiers the higher one holds for waking speech. See docs/why/safety.md.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, TypeAlias

from oneiro.safety.frames import Frame, Marks, worlds
from oneiro.safety.words import (
    BOUNDARY,
    Index,
    Pattern,
    Places,
    Span,
    Vocabulary,
    patterns,
    positions,
    tokens,
    vocabulary,
)


class Tier(StrEnum):
    """How near danger is, from calm to acute."""

    none = "none"
    dream_content = "dream_content"
    passive_ideation = "passive_ideation"
    active_danger = "active_danger"

    @property
    def rank(self) -> int:
        """0 (none) … 3 (active danger)."""
        return _RANKS[self]


_RANKS: Final = {tier: rank for rank, tier in enumerate(Tier)}
_AWAKE = (Frame.open, Frame.waking)
_NEAR = 25
_HISTORY = 10
_NOW = frozenset(
    {"im", "ive", "ill", "want", "wanna", "gonna", "going", "now", "again", "still", "tonight", "today", "cant", "wish"}
)
_NONE_OF = frozenset({"intention", "intentions", "plan", "plans", "desire", "thoughts", "urge", "wish", "way"})
_NOT = frozenset({"not", "without", "isnt", "arent", "wasnt", "wouldnt"})
_DONT = frozenset({"dont", "didnt", "havent", "doesnt"})
_TURNS = frozenset({BOUNDARY, "but", "i", "im", "ive", "id", "ill"})
_MEANT = frozenset({"want", "wanna", "plan", "mean", "have", "feel", "intend", "had", "think", "thought", "been"})


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a rule's patterns stand for."""

    family: str
    tier: Tier
    negation: bool
    everywhere: bool
    urgent: bool
    errand: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """One language's rules, read once."""

    vocabulary: Vocabulary
    idioms: Index[str]
    marks: Marks
    meanings: Index[Meaning]
    concepts: Index[str]
    pairs: Mapping[frozenset[str], Tier]
    past: Index[str]
    healed: Index[str]
    negators: frozenset[str]
    means: frozenset[str]
    errand: frozenset[str]
    grim: frozenset[str]


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that matched, and the tier it gives in its frame. Holds no words of the dreamer."""

    family: str
    tier: Tier


def coverage(language: str) -> Literal["rules", "none"]:
    """Whether there are rules for a language tag such as `en` or `en-GB`."""
    return "rules" if language.lower().replace("_", "-").split("-")[0] == "en" else "none"


def assess(text: str, language: str = "en") -> Tier:
    """The tier of what a dreamer said; linear in the length, never raises.

    The English rules run for every language, because people switch to it; `coverage` says what may be relied on.
    More words usually keep or raise the tier of a partial transcript; an idiom, a denial or a dream frame completed
    later (`… in my dream`) may lower it, so callers keep the highest tier of a turn.
    """
    return max((finding.tier for finding in findings(text)), key=_rank, default=Tier.none)


def findings(text: str) -> list[Finding]:
    """All rules that hold, for tests and for those who change the rules."""
    rules = _rules()
    words = _without_idioms(tokens(text, rules.vocabulary), rules)
    where = positions(words)
    told = worlds(words, rules.marks, where)
    dreamt = Frame.dream in told or "woke" in words
    past = [span.start for span, _ in rules.past.find(words, where)]
    healed = any(True for _ in rules.healed.find(words, where))
    found = []
    for span, meaning in rules.meanings.find(words, where):
        if meaning.negation and _denied(span, words, rules.negators):
            continue
        if meaning.errand and _ordinary(span, words, rules):
            continue
        world = Frame.waking if meaning.everywhere else told[_last_word(span, words)]
        tier = _tier(meaning.tier, world, dreamt=dreamt)
        if tier.rank >= Tier.passive_ideation.rank and _long_ago(span, words, past):
            tier = Tier.none if healed else Tier.passive_ideation
        elif tier is Tier.passive_ideation and meaning.urgent and _urgent(span, words, told, rules.means):
            tier = Tier.active_danger
        found.append(Finding(meaning.family, tier))
    return [*found, *_combined(words, told, rules, where)]


def _combined(words: Sequence[str], told: Sequence[Frame], rules: Rules, where: Places) -> Iterator[Finding]:
    """Two concepts near each other in the waking world, such as a means and a farewell."""
    seen = sorted(
        (span.start, name)
        for span, name in rules.concepts.find(words, where)
        if all(world in _AWAKE for world in told[span.start : span.end])
    )
    for index, (at, name) in enumerate(seen):
        for other, second in seen[index + 1 : index + 9]:
            tier = rules.pairs.get(frozenset((name, second)))
            if tier and other - at <= _NEAR:
                yield Finding(f"{name} with {second}", tier)


def _last_word(span: Span, words: Sequence[str]) -> int:
    """Where the last word of a match stands; the sentence end may lie in another world."""
    last = span.end - 1
    return last - 1 if words[last] == BOUNDARY and last > span.start else last


def _rank(tier: Tier) -> int:
    return tier.rank


def _tier(tier: Tier, world: Frame, *, dreamt: bool) -> Tier:
    """The tier in the world of the pattern's last word, since a frame opens before what it holds."""
    if tier is Tier.dream_content:
        return tier if dreamt else Tier.none
    if world is Frame.fiction:
        return Tier.none
    if world is Frame.dream:
        return Tier.dream_content
    if world is Frame.echo:
        return min(tier, Tier.passive_ideation, key=_rank)
    return tier


def _long_ago(span: Span, words: Sequence[str], past: Sequence[int]) -> bool:
    """`I tried … ten years ago`: the past is named near by and the words themselves are not in the present."""
    if any(word in _NOW for word in words[max(span.start - 2, 0) : span.end]):
        return False
    return any(abs(at - span.start) <= _HISTORY for at in past)


def _urgent(span: Span, words: Sequence[str], told: Sequence[Frame], means: frozenset[str]) -> bool:
    """A wish to be dead beside `tonight` or a means, in the same sentence and not in the dream, is danger."""
    near = _sentence(span, words)
    return any((words[at] == "tonight" or words[at] in means) and told[at] in _AWAKE for at in near)


def _ordinary(span: Span, words: Sequence[str], rules: Rules) -> bool:
    """`I was on the bridge for the fireworks`: something of ordinary days in the sentence, and nothing grim."""
    near = {words[at] for at in _sentence(span, words)}
    return not near.isdisjoint(rules.errand) and near.isdisjoint(rules.grim)


def _sentence(span: Span, words: Sequence[str]) -> range:
    start, end = span.start, span.end
    while start > 0 and words[start - 1] != BOUNDARY:
        start -= 1
    while end < len(words) and words[end - 1] != BOUNDARY:
        end += 1
    return range(start, end)


def _denied(span: Span, words: Sequence[str], negators: frozenset[str]) -> bool:
    """A no inside the gaps, or right before: `never`, `not`, `dont`."""
    if any(word in negators for word in span.passed):
        return True
    for at in range(span.start - 1, max(span.start - 7, -1), -1):
        word, near = words[at], span.start - at <= 3
        if word in _TURNS:
            return False
        if word == "never" or (word in _NOT and near) or (word == "no" and words[at + 1] in _NONE_OF):
            return True
        if word in _DONT and words[at + 1] in _MEANT:
            return True
    return False


def _without_idioms(words: list[str], rules: Rules) -> list[str]:
    """The words with figures of speech blanked, so that no rule reaches into them."""
    kept = list(words)
    for span, _ in rules.idioms.find(words):
        kept[span.start : span.end] = ["_"] * (span.end - span.start)
    return kept


Reader: TypeAlias = Callable[[str], list[Pattern]]


def _compiled(read: Reader, sources: Sequence[str], kind: str) -> list[tuple[Pattern, str]]:
    return [(places, kind) for source in sources for places in read(source)]


def _meanings(read: Reader, rows: Sequence[dict[str, Any]]) -> list[tuple[Pattern, Meaning]]:
    return [
        (
            places,
            Meaning(
                row["family"],
                Tier(row["tier"]),
                row.get("negation", True),
                row.get("everywhere", False),
                row.get("urgent", True),
                row.get("errand", False),
            ),
        )
        for row in rows
        for source in row["patterns"]
        for places in read(source)
    ]


@cache
def _rules() -> Rules:
    """Reads `rules.toml`; a mistake in it raises at the first use, which the tests make."""
    data = tomllib.loads(files("oneiro.safety").joinpath("rules.toml").read_text("utf-8"))
    sets: dict[str, list[str]] = data["sets"]

    def read(source: str) -> list[Pattern]:
        return patterns(source, sets, data["phrases"])

    meanings = _meanings(read, data["rule"])
    told = data["frames"]
    frames = [entry for kind in ("dream", "scoped", "waking", "fiction") for entry in _compiled(read, told[kind], kind)]
    images = [(source, weight) for kind, weight in (("strange", 3), ("odd", 1)) for source in told[kind]]
    scenes = [(places, (number, weight)) for number, (source, weight) in enumerate(images) for places in read(source)]
    own = _compiled(read, told["own"], "own")
    concepts = [entry for name, lines in data["concepts"].items() for entry in _compiled(read, lines, name)]
    idioms = _compiled(read, data["idioms"]["patterns"], "idiom")
    known = frozenset(
        word
        for places, *_ in (*meanings, *frames, *idioms, *concepts, *scenes, *own)
        for place in places
        for word in place.words
    )
    near = data["near"]
    return Rules(
        vocabulary(data["spellings"], data["pairs"], known | {*data["spellings"], *near["but"]}, near["words"]),
        Index(idioms),
        Marks(Index(frames), Index(scenes), Index(own)),
        Index(meanings),
        Index(concepts),
        {frozenset(pair): Tier(row["tier"]) for row in data["combination"] for pair in row["pairs"]},
        Index(_compiled(read, data["history"]["past"], "past")),
        Index(_compiled(read, data["history"]["healed"], "healed")),
        frozenset(sets["neg"]),
        frozenset(sets["urgent"]),
        frozenset(sets["errand"]),
        frozenset(sets["grim"]),
    )
