"""The dream in a conversation: which of the dreamer's own lines tell one, and what to call it.

English only, as the dreamwork beneath it; in another language no draft is made.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from oneiro import text
from oneiro.dreamwork import imagery, moves, symbols
from oneiro.dreamwork.moves import Move
from oneiro.safety.crisis import Tier, assess

_FEWEST_WORDS: Final = 6
_MOST_SYMBOLS: Final = 12
_VIVID: Final = 4.0
_BEGINS: Final = re.compile(
    r"\b(?:dream(?:t|ed)|(?:i|we) (?:had|have had) (?:a|this|the|that|another) [\w ]{0,20}(?:dream|nightmare)|"
    r"(?:in|about) (?:the|my|this|a|that|last night's) [\w ]{0,12}dream|my dream|nightmare)\b",
    re.IGNORECASE,
)
_NARRATES: Final = re.compile(
    r"\b(?:(?:i|we) (?:was|were) "
    r"(?:in|at|on|standing|walking|running|flying|falling|swimming|sitting|driving|being|back)|"
    r"there (?:was|were)|suddenly|then|and i woke|turned into|all at once)\b",
    re.IGNORECASE,
)
_ASSOCIATES: Final = re.compile(
    r"\b(?:reminds? me|in real life|in waking life|i think|i guess|maybe|it (?:means|feels like)|when i was "
    r"(?:little|young|a child|a girl|a boy))\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Draft:
    """A dream for the journal, in the dreamer's own words."""

    title: str | None
    content: str
    symbols: list[str]


def draft(said: Sequence[str], language: str) -> Draft | None:
    """The dream that these lines of the dreamer tell, or None when they tell none.

    The telling begins with the first line that speaks of a dream or narrates a vivid image, and goes on with every
    line that narrates and does not think about it. Lines that the crisis gate flagged stay out.
    """
    if not language.startswith("en"):
        return None
    lines = [line for line in said if _tells(line, language)]
    begin = next((place for place, line in enumerate(lines) if _begins(line)), None)
    if begin is None:
        return None
    kept = [lines[begin], *(line for line in lines[begin + 1 :] if _goes_on(line))]
    content = _within(kept, text.MAX_CONTEXT)
    return Draft(_title(content), content, _symbols(content))


def _tells(line: str, language: str) -> bool:
    return (
        len(line.split()) >= _FEWEST_WORDS
        and moves.recognise(line) is Move.told
        and assess(line, language).rank < Tier.passive_ideation.rank
    )


def _begins(line: str) -> bool:
    if not imagery.find(line):
        return False
    return bool(_BEGINS.search(line)) or (bool(_NARRATES.search(line)) and imagery.find(line)[0].score >= _VIVID)


def _goes_on(line: str) -> bool:
    return bool(_NARRATES.search(line) or _BEGINS.search(line)) and not _ASSOCIATES.search(line)


def _within(lines: Sequence[str], limit: int) -> str:
    """As many whole lines as fit; one that is too long by itself ends with its last whole word."""
    content = lines[0] if len(lines[0]) <= limit else lines[0][:limit].rpartition(" ")[0]
    for line in lines[1:]:
        if len(content) + len(line) + 2 > limit:
            break
        content = f"{content}\n\n{line}"
    return content


def _title(content: str) -> str | None:
    image = next(iter(imagery.find(content)), None)
    words = " ".join(image.short.split())[:100] if image else ""
    return words[:1].upper() + words[1:] or None


def _symbols(content: str) -> list[str]:
    found = dict.fromkeys(sighting.symbol.id.replace("-", " ") for sighting in symbols.find(content))
    return [name[: text.MAX_SYMBOL] for name in found][:_MOST_SYMBOLS]
