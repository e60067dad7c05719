"""What comes back in a dreamer's nights, found in her own rows when she asks."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, date, timedelta, tzinfo
from functools import lru_cache
from itertools import accumulate
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from oneiro.analytics.insights import store
from oneiro.analytics.insights.findings import Findings, Names
from oneiro.analytics.insights.models import Insights, Place, Recurring
from oneiro.analytics.insights.store import MOST_CHARACTERS, Told
from oneiro.auth import Identity
from oneiro.database.pool import Database
from oneiro.dreamwork import symbols
from oneiro.errors import TooMany, ValidationError

SHOWN: Final = 12
"""Symbols, feelings and people shown of each, those of most nights first."""
AT_ONCE: Final = 2
"""Journals that a process reads at a time: what is being read shares the processor with calls."""
_PLACES: Final = 20
_NOON: Final = timedelta(hours=12)
_LONGEST_NAME: Final = 80
"""Characters; whatever is longer is no name of the lexicon."""

Found = dict[str, list[Place]]


class DreamerInsights:
    """Reads under row-level security, as the dreamer herself, and stores nothing."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._room = asyncio.Semaphore(AT_ONCE)
        self.findings = Findings()

    async def read(self, caller: Identity, zone: str = "UTC") -> Insights:
        """What recurs in her dreams and conversations; empty lists where nothing does yet.

        It needs no consent to analytics: this is her own view of her own rows, and nobody else's. Raises
        `ValidationError` for a zone that there is not, and `TooMany` while others' journals are being read.
        """
        where, user_id = _zone(zone), caller.dreamer()
        async with self._db.as_dreamer(caller.claims) as conn:
            dreams = await store.dreams(conn, user_id)
            conversations = await store.conversations(conn, user_id)
            count = await store.count(conn, user_id)
        told = _newest([*dreams, *conversations])
        await self._find(told)
        return recurring(told, zone=where, findings=self.findings, older=count - len(told))

    async def _find(self, told: Sequence[Told]) -> None:
        """Read what is not known yet, beside the loop."""
        unknown = [one for one in told if not self.findings.knows(one)]
        if not unknown:
            return
        if self._room.locked():
            raise TooMany(
                "Others' nights are being read just now. Please try again.", code="rate_limited", retry_after=3.0
            )
        async with self._room:
            for one in unknown:
                await asyncio.to_thread(self.findings.of, one)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        message = "is no time zone that is known here"
        raise ValidationError(f"zone {message}.", errors=[{"field": "zone", "message": message}]) from None


def _newest(told: Sequence[Told]) -> list[Told]:
    """As much as may be read at once, the newest first."""
    ordered = sorted(told, key=lambda one: one.date, reverse=True)
    before = accumulate((sum(map(len, one.texts)) for one in ordered), initial=0)
    return [one for one, characters in zip(ordered, before, strict=False) if characters < MOST_CHARACTERS]


def recurring(
    told: Sequence[Told], *, zone: tzinfo = UTC, findings: Findings | None = None, older: int = 0
) -> Insights:
    """Find what came on two nights or more; a dream and the talk about it are one place, a night lasts until noon."""
    findings = Findings() if findings is None else findings
    talks = [one for one in told if one.is_talk and any(text.strip() for text in one.texts)]
    dreams = [one for one in told if not one.is_talk]
    readable = [(one, names) for one in (*dreams, *talks) if (names := findings.of(one)) is not None]
    kept_of = {dream.conversation_id: dream for dream in dreams if dream.conversation_id}
    kinds: tuple[Found, Found, Found] = ({}, {}, {})
    places: dict[str, Place] = {}
    for one, names in sorted(readable, key=lambda each: each[0].date):
        place = _place(one, kept_of, places)
        for found, named in zip(kinds, _named(one, names), strict=True):
            for name in named:
                at = found.setdefault(name, [])
                if place not in at:
                    at.append(place)
    return Insights(
        symbols=_recurring(kinds[0], zone),
        feelings=_recurring(kinds[1], zone),
        people=_recurring(kinds[2], zone),
        dreams=sum(not one.is_talk for one, _ in readable),
        conversations=sum(one.is_talk for one, _ in readable),
        left_out=len(dreams) + len(talks) - len(readable),
        older=older,
        since=min((one.date for one, _ in readable), default=None),
        zone=str(zone),
    )


def _place(one: Told, kept_of: Mapping[UUID, Told], places: dict[str, Place]) -> Place:
    """Where something belongs to: its dream, or the dream that was told in it."""
    kept = kept_of.get(one.conversation_id) if one.conversation_id and one.dream_id is None else None
    dream_id = kept.dream_id if kept else one.dream_id
    key = str(dream_id or one.conversation_id)
    if key not in places:
        talk = None if dream_id else one.conversation_id
        places[key] = Place(date=one.date, dream_id=dream_id, conversation_id=talk)
    return places[key]


def _named(one: Told, names: Names) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
    noted = {_symbol(" ".join(symbol.lower().split())) for symbol in one.symbols if symbol.strip()}
    return names.symbols | noted, names.feelings, names.people


def _symbol(own: str) -> str:
    """A symbol that she noted: by the lexicon's name where it knows all of it, else in her own words."""
    return own if len(own) > _LONGEST_NAME else _lexicon(own)


@lru_cache(maxsize=4096)
def _lexicon(own: str) -> str:
    whole = [sighting for sighting in symbols.find(own) if sighting.words == own]
    return whole[0].symbol.id.replace("-", " ") if whole else own


def _recurring(found: Found, zone: tzinfo) -> list[Recurring]:
    several = [(name, places, nights) for name, places in found.items() if (nights := len(_nights(places, zone))) > 1]
    several.sort(key=lambda item: (-item[2], -item[1][-1].date.timestamp(), item[0]))
    return [
        Recurring(
            name=name,
            nights=nights,
            first=places[0].date,
            latest=places[-1].date,
            where=places[::-1][:_PLACES],
        )
        for name, places, nights in several[:SHOWN]
    ]


def _nights(places: Sequence[Place], zone: tzinfo) -> set[date]:
    """A dream that is noted before noon is of the night that is just over."""
    return {(place.date.astimezone(zone) - _NOON).date() for place in places}
