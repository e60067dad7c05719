"""Which image of a dream is the most vivid, and in which of the dreamer's own words it can be quoted."""

import re
from dataclasses import dataclass
from functools import lru_cache

from oneiro.dreamwork import feelings, people, phrases, symbols
from oneiro.dreamwork.phrases import Phrase
from oneiro.dreamwork.symbols import Symbol

_SPEAKS = re.compile(
    r"\b(?:said|says|saying|told|tells|whisper\w*|spoke|speaks|shout\w*|scream\w*|called my name|ask(?:ed|s)|sang)\b",
    re.IGNORECASE,
)
_MARKED = re.compile(
    r"\b(?:suddenly|turned (?:into|out)|became|becoming|the strangest|the worst|the most|most of all|can't forget|"
    r"keep (?:thinking|seeing)|stays? with me|stayed with me|clearest|vivid\w*|again and again|every night)\b",
    re.IGNORECASE,
)
# A death in waking life, which is no image of the dream.
GRIEF = re.compile(
    r"\b(?:passed away|passed on|died (?:last|this|in|a|two|three|four|five|six|ten|many|when|of|\d)"
    r"|miss (?:him|her|them)|(?:my|our) late (?:father|mother|husband|wife|brother|sister|son|daughter|grand\w+))\b",
    re.IGNORECASE,
)
_WAKING = re.compile(r"\bwoke(?:n)?\b|\bwaking up\b", re.IGNORECASE)
_NEGATED = re.compile(r"n't\b|\bnot\b|\bnever\b", re.IGNORECASE)
_SENTENCE = re.compile(r"[^.!?\n]+")
_ACTS = frozenset({"action", "event"})
_LATE = 2 / 3
_COMMON_PLACES = frozenset(
    [
        "house",
        "room",
        "door",
        "car",
        "street",
        "school",
        "office",
        "kitchen",
        "bed",
        "train",
        "bus",
        "table",
        "chair",
        "building",
        "city",
        "town",
        "shop",
        "road",
    ]
)


@dataclass(frozen=True, slots=True)
class Image:
    """One image: a noun phrase or a clause that can be quoted, its symbol if it has one, and how vivid it is."""

    noun: str | None
    clause: str | None
    symbol: Symbol | None
    score: float
    start: int
    person: bool = False
    dead: bool = False

    @property
    def quote(self) -> str:
        """The words to quote: the clause where there is one, since it keeps what happened."""
        return self.clause or self.noun or ""

    @property
    def short(self) -> str:
        """The shortest words that bring the image back."""
        return self.noun or self.clause or ""

    @property
    def key(self) -> str:
        """What makes two mentions the same image."""
        return self.symbol.id if self.symbol else self.short.lower().split()[-1]


@dataclass(frozen=True, slots=True)
class _Sentence:
    start: int
    end: int
    bonus: float


@lru_cache(maxsize=4)
def find(text: str) -> tuple[Image, ...]:
    """Return the images of `text`, the most vivid first, one of each kind."""
    sentences = _sentences(text)
    seen = [*_symbols(text, sentences), *_persons(text, sentences)]
    taken = [(image.start, image.start + len(image.short)) for image in seen]
    plain = [image for image in _plain(text, sentences) if not any(a <= image.start < b for a, b in taken)]
    best: dict[str, Image] = {}
    for image in sorted([*seen, *plain], key=lambda image: (-image.score, image.start)):
        best.setdefault(image.key, image)
    words: dict[str, Image] = {}
    for image in best.values():
        words.setdefault(image.short.lower(), image)
    return tuple(words.values())


def _sentences(text: str) -> list[_Sentence]:
    felt = [feeling.start for feeling in feelings.find(text) if not feeling.denied]
    found = []
    for match in _SENTENCE.finditer(text):
        words = match.group()
        bonus = 1.0 * any(match.start() <= at < match.end() for at in felt)
        bonus -= 6.0 * bool(GRIEF.search(words))
        bonus += 1.0 * bool(_SPEAKS.search(words)) + 1.2 * bool(_MARKED.search(words))
        bonus -= 2.0 * bool(_WAKING.search(words))
        found.append(_Sentence(match.start(), match.end(), bonus))
    return found


def _bonus(text: str, sentences: list[_Sentence], start: int) -> float:
    """Weigh where an image stands: beside a feeling or speech, at a turn of the dream, or late in it."""
    sentence = next((s.bonus for s in sentences if s.start <= start < s.end), 0.0)
    return sentence + 0.8 * (len(text) > 80 and start > _LATE * len(text))


def _symbols(text: str, sentences: list[_Sentence]) -> list[Image]:
    found = []
    for sighting in symbols.find(text):
        act = sighting.symbol.kind in _ACTS
        noun = phrases.around(text, sighting.start, sighting.end)
        said = phrases.clause(text, noun.start, noun.end)
        if said is None and phrases.dangles(noun.words):
            continue
        described = 0.9 * min(2, phrases.adjectives(noun.words))
        score = (
            2.0 * sighting.symbol.vividness
            - (_act_cost(noun, said) if act else 0.0)
            + described
            + (0.0 if act else _bonus(text, sentences, sighting.start))
        )
        if said is None and " " not in noun.words:
            score *= 0.6
        words = (None if act and said else noun.words, said.words if said else None)
        found.append(Image(*words, sighting.symbol, score - 8.0 * _denied(text, sighting.start), noun.start))
    return found


def _act_cost(noun: Phrase, said: Phrase | None) -> float:
    """Acts are weaker images than things; a bare verb, or one denied, is hardly any."""
    if said is None:
        return 5.0
    return 7.0 if _NEGATED.search(said.words) else 2.5


def _denied(text: str, start: int) -> bool:
    return bool(
        re.search(
            r"\b(?:no|not(?: a| the)?|without(?: a| any)?|never|wasn't(?: a)?)\s*$", text[max(0, start - 14) : start]
        )
    )


def _persons(text: str, sentences: list[_Sentence]) -> list[Image]:
    known = {sighting.start for sighting in symbols.find(text)}
    found = []
    for person in people.find(text):
        if person.start in known and not person.dead:
            continue
        noun = phrases.around(text, person.start, person.end)
        said = phrases.clause(text, noun.start, noun.end)
        nobody = phrases.dangles(noun.words)
        if said is None and nobody:
            continue
        score = (7.5 if person.dead else 3.5) + _bonus(text, sentences, person.start)
        words = (None if nobody else noun.words, said.words if said else None)
        found.append(Image(*words, None, score, noun.start, person=True, dead=person.dead))
    return found


def _plain(text: str, sentences: list[_Sentence]) -> list[Image]:
    found = []
    for phrase in phrases.noun_phrases(text):
        if phrase.words.split()[-1].lower() in _COMMON_PLACES and phrase.weight < 4:
            continue
        said = phrases.clause(text, phrase.start, phrase.end)
        score = 1.4 * phrase.weight + _bonus(text, sentences, phrase.start)
        found.append(Image(phrase.words, said.words if said else None, None, score, phrase.start))
    return found
