"""What a text names; found once, and remembered as long as there is room."""

import hashlib
import threading
from dataclasses import dataclass
from typing import Final

from oneiro.analytics.insights.store import LONGEST, Told
from oneiro.dreamwork import feelings, people, symbols
from oneiro.dreamwork.moves import is_foreign
from oneiro.safety.crisis import Tier, assess

MOST: Final = 4000
"""Dreams and conversations that a process remembers the names of; some kilobytes each at the most."""


@dataclass(frozen=True, slots=True)
class Names:
    """Symbols, feelings and people of a text."""

    symbols: frozenset[str]
    feelings: frozenset[str]
    people: frozenset[str]


class Findings:
    """Names by the dream or conversation and its very words, so that a change is read anew; in memory alone.

    `missed`: how many had to be read.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: dict[bytes, Names | None] = {}
        self._lock = threading.Lock()
        self.missed = 0

    def __len__(self) -> int:
        return len(self._kept)

    def knows(self, one: Told) -> bool:
        """Whether its names need not be looked for."""
        return _key(one) in self._kept

    def of(self, one: Told) -> Names | None:
        """Its names; None where its language cannot be read."""
        key = _key(one)
        with self._lock:
            if key in self._kept:
                self._kept[key] = self._kept.pop(key)  # The one that was not asked for the longest goes first.
                return self._kept[key]
        names = read(one)
        with self._lock:
            self.missed += 1
            self._kept[key] = names
            while len(self._kept) > self._most:
                del self._kept[next(iter(self._kept))]
        return names


def read(one: Told) -> Names | None:
    """Look for names in a text; lines that the crisis gate flagged are not mirrored to her."""
    if not (one.language or "en").startswith("en") or is_foreign("\n".join(one.texts)[:LONGEST]):
        return None
    text = "\n".join(part for part in one.texts if assess(part).rank < Tier.passive_ideation.rank)[:LONGEST]
    seen = (sighting.symbol for sighting in symbols.find(text))
    return Names(
        symbols=frozenset(symbol.id.replace("-", " ") for symbol in seen if symbol.kind != "person"),  # People here.
        feelings=frozenset(feeling.name for feeling in feelings.find(text) if not feeling.denied),
        people=frozenset(person.words if person.role == "named" else person.role for person in people.find(text)),
    )


def _key(one: Told) -> bytes:
    said = repr((one.dream_id, one.conversation_id, one.language, one.texts))
    return hashlib.blake2b(said.encode(errors="surrogatepass"), digest_size=16).digest()
