"""What comes back in a dreamer's nights, found in her own rows when she asks."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final
from uuid import UUID

from oneiro.analytics.insights import store
from oneiro.analytics.insights.models import Insights, Night, Recurring
from oneiro.analytics.insights.store import Told
from oneiro.auth import Identity
from oneiro.database.pool import Database
from oneiro.dreamwork import feelings, people, symbols
from oneiro.dreamwork.moves import is_foreign
from oneiro.safety.crisis import Tier, assess

SHOWN: Final = 12
"""Symbols, feelings and people shown of each, those of most nights first."""
_PLACES: Final = 20
_MOST_CHARACTERS: Final = 20_000
"""Read of one dream or conversation."""

Found = dict[str, list[Night]]


class DreamerInsights:
    """Reads under row-level security, as the dreamer herself, and keeps nothing."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def read(self, caller: Identity) -> Insights:
        """What recurs in her dreams and conversations; empty lists where nothing does yet.

        It needs no consent to analytics: this is her own view of her own rows, and nobody else's.
        """
        user_id = caller.dreamer()
        async with self._db.as_dreamer(caller.claims) as conn:
            dreams = await store.dreams(conn, user_id)
            conversations = await store.conversations(conn, user_id)
        return await asyncio.to_thread(recurring, dreams, conversations)


def recurring(dreams: Sequence[Told], conversations: Sequence[Told]) -> Insights:
    """Find what came on two nights or more; a dream and the talk about it are one night."""
    talks = [talk for talk in conversations if any(text.strip() for text in talk.texts)]
    told = [one for one in (*dreams, *talks) if _readable(one)]
    kinds: tuple[Found, Found, Found] = ({}, {}, {})
    nights: dict[str, Night] = {}
    kept_of = {dream.conversation_id: dream for dream in dreams if dream.conversation_id}
    for one in sorted(told, key=lambda one: one.date):
        night = _night(one, kept_of, nights)
        for found, names in zip(kinds, _named(one), strict=True):
            for name in names:
                places = found.setdefault(name, [])
                if night not in places:
                    places.append(night)
    return Insights(
        symbols=_recurring(kinds[0]),
        feelings=_recurring(kinds[1]),
        people=_recurring(kinds[2]),
        dreams=sum(one.texts != [] and _readable(one) for one in dreams),
        conversations=sum(_readable(one) for one in talks),
        left_out=sum(not _readable(one) for one in (*dreams, *talks)),
        since=min((one.date for one in told), default=None),
    )


def _night(one: Told, kept_of: Mapping[UUID, Told], nights: dict[str, Night]) -> Night:
    """The night that something belongs to: its dream's, or that of the dream which was told in it."""
    kept = kept_of.get(one.conversation_id) if one.conversation_id and one.dream_id is None else None
    dream_id = kept.dream_id if kept else one.dream_id
    key = str(dream_id or one.conversation_id)
    if key not in nights:
        nights[key] = Night(date=one.date, dream_id=dream_id, conversation_id=None if dream_id else one.conversation_id)
    return nights[key]


def _readable(one: Told) -> bool:
    text = "\n".join(one.texts)[:_MOST_CHARACTERS]
    return (one.language or "en").startswith("en") and not is_foreign(text)


def _named(one: Told) -> tuple[set[str], set[str], set[str]]:
    """Symbols, feelings and people by their names; lines that the crisis gate flagged are not mirrored to her."""
    text = "\n".join(part for part in one.texts if assess(part).rank < Tier.passive_ideation.rank)[:_MOST_CHARACTERS]
    seen = (sighting.symbol for sighting in symbols.find(text))
    pictured = {symbol.id.replace("-", " ") for symbol in seen if symbol.kind != "person"}  # They are people here.
    noted = {_symbol(symbol) for symbol in one.symbols if symbol.strip()}
    felt = {feeling.name for feeling in feelings.find(text) if not feeling.denied}
    met = {person.words if person.role == "named" else person.role for person in people.find(text)}
    return pictured | noted, felt, met


def _symbol(noted: str) -> str:
    """A symbol that she noted: by the lexicon's name where it knows all of it, else in her own words."""
    own = " ".join(noted.lower().split())
    whole = [sighting for sighting in symbols.find(own) if sighting.words == own]
    return whole[0].symbol.id.replace("-", " ") if whole else own


def _recurring(found: Found) -> list[Recurring]:
    several = [(name, places) for name, places in found.items() if len(places) > 1]
    several.sort(key=lambda item: (-len(item[1]), -item[1][-1].date.timestamp(), item[0]))
    return [
        Recurring(
            name=name,
            nights=len(places),
            first=places[0].date,
            latest=places[-1].date,
            where=_latest(places),
        )
        for name, places in several[:SHOWN]
    ]


def _latest(places: Iterable[Night]) -> list[Night]:
    return list(places)[::-1][:_PLACES]
