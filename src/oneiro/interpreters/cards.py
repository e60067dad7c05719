"""The public faces of the active interpreters."""

from collections.abc import Callable
from datetime import datetime

from oneiro.auth import Identity
from oneiro.database.pool import Database
from oneiro.dreamers import store as dreamers
from oneiro.errors import NotFound
from oneiro.interpreters import store
from oneiro.interpreters.models import Card


class Cards:
    """Cards of active interpreters; a caller with a token sees those that are open to her."""

    def __init__(self, db: Database, *, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._clock = clock

    async def list(self, caller: Identity | None) -> list[Card]:
        """The cards, by name."""
        async with self._db.as_service() as conn:
            cards = [release.document.card() for release in await store.active_releases(conn)]
            known = caller and caller.user_id and await dreamers.find(conn, caller.user_id, self._clock())
        shown = [card for card in cards if not known or known.may_talk_to(card.id)]
        return sorted(shown, key=lambda card: card.name.casefold())

    async def read(self, caller: Identity | None, interpreter_id: str) -> Card:
        """One card; raises `NotFound` naming those that there are."""
        cards = await self.list(caller)
        for card in cards:
            if card.id == interpreter_id:
                return card
        there = ", ".join(card.id for card in cards) or "none"
        raise NotFound(f"There is no such interpreter. Those there are: {there}.", code="interpreter_not_found")
