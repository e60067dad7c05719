"""What the last conversation was about, as a few words that an opening can speak: short, and true.

The words are the dreamer's own, turned to her ("your grandmother's house"). Nothing is said of a conversation in which
the crisis gate saw danger, of persons, or of what she only denied; better no word than a wrong one.
"""

import asyncio
import re
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from oneiro.database.pool import Connection
from oneiro.dreamwork import imagery, moves, people
from oneiro.dreamwork.imagery import Image
from oneiro.dreamwork.moves import Move
from oneiro.interpreters.words import store
from oneiro.interpreters.words.store import Recalled
from oneiro.safety.crisis import Tier, assess

_VIVID: Final = 4.0
_MOST_WORDS: Final = 10
_TURNED: Final = {"my": "your", "mine": "yours", "our": "your", "i": "you", "me": "you", "myself": "yourself"}
_WORD: Final = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")


@dataclass(frozen=True, slots=True)
class Memory:
    """What an interpreter remembers of a dreamer who agreed to it: a summary, and a few words for the opening."""

    summary: str
    last_time: str


async def remember(conn: Connection, user_id: UUID, interpreter_id: str) -> Memory | None:
    """What the latest conversation of the two left; None when they have not spoken.

    To be asked only for a dreamer who consented to memory.
    """
    recalled = await store.latest(conn, user_id, interpreter_id)
    if recalled is None:
        return None
    return Memory(recalled.summary or "", await asyncio.to_thread(last_time, recalled))


def last_time(recalled: Recalled) -> str:
    """A noun phrase of at most ten words for `last_time` of the templates; empty when nothing fits.

    Only English is understood, as the dreamwork beneath it.
    """
    if not recalled.language.startswith("en") or Tier(recalled.safety_tier).rank >= Tier.passive_ideation.rank:
        return ""
    told = [line for line in recalled.said if _may_be_repeated(line, recalled.language)]
    images = [image for line in told for image in imagery.find(line) if _speakable(image, line)]
    vivid = max(images, key=lambda image: image.score, default=None)
    return _to_her(vivid.noun) if vivid and vivid.noun else ""


def _may_be_repeated(line: str, language: str) -> bool:
    return moves.recognise(line) is Move.told and assess(line, language).rank < Tier.passive_ideation.rank


def _speakable(image: Image, line: str) -> bool:
    noun = image.noun
    if not noun or image.person or image.dead or image.score < _VIVID or len(noun.split()) > _MOST_WORDS:
        return False
    if image.symbol is not None and image.symbol.kind == "person":
        return False
    # "dog" alone cannot be spoken of; "a dog" and "the dog" can.
    if " " not in noun and not noun.endswith("s"):
        return False
    return not any(person.words in noun for person in people.find(line) if person.role == "named")


def _to_her(noun: str) -> str:
    return _WORD.sub(lambda match: _TURNED.get(match.group().lower(), match.group()), noun)
