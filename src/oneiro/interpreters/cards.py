"""The public faces of the active interpreters, kept in memory so that they are shown also while the database is away.

A copy serves at most two seconds without a look at what changed: one cheap query, by whichever request comes first.
After half an hour it is read anew in any case. While the database is away the copy is shown as it is, and says so.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from oneiro.auth import Identity
from oneiro.database.pool import Connection, Database, DatabaseUnavailable
from oneiro.dreamers import store as dreamers
from oneiro.errors import NotFound
from oneiro.interpreters import store
from oneiro.interpreters.models import Card

LOOK_EVERY: Final = timedelta(seconds=2)
KEPT: Final = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Copy:
    """The cards by name, what state of the tables they show, when that was read, and whether it may be outdated."""

    cards: tuple[Card, ...]
    version: str
    read_at: datetime
    stale: bool = False


class Cards:
    """Cards of active interpreters; a caller with a token sees those that are open to her."""

    def __init__(self, db: Database, *, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._clock = clock
        self._copy: Copy | None = None
        self._looked_at: datetime | None = None
        self._away = False

    async def list(self, caller: Identity | None) -> Copy:
        """The cards that the caller may see; raises `DatabaseUnavailable` only when none were ever read."""
        copy, allowed = await self._current(), None
        if caller is not None and caller.user_id is not None and not copy.stale:
            try:
                allowed = await self._allowed(caller)
            except DatabaseUnavailable:
                self._away = True
                copy = await self._current()
        shown = tuple(card for card in copy.cards if allowed is None or card.id in allowed)
        return Copy(shown, copy.version, copy.read_at, copy.stale)

    async def read(self, caller: Identity | None, interpreter_id: str) -> tuple[Card, Copy]:
        """One card and the copy it is from; raises `NotFound` naming those that there are."""
        copy = await self.list(caller)
        for card in copy.cards:
            if card.id == interpreter_id:
                return card, copy
        there = ", ".join(card.id for card in copy.cards) or "none"
        raise NotFound(f"There is no such interpreter. Those there are: {there}.", code="interpreter_not_found")

    def refresh(self) -> None:
        """Look at the database at the next request: an interpreter changed."""
        self._looked_at = None

    async def _allowed(self, caller: Identity) -> frozenset[str] | None:
        assert caller.user_id is not None
        async with self._db.as_service() as conn:
            known = await dreamers.find(conn, caller.user_id, self._clock())
        return None if known is None or known.allowed_interpreters is None else frozenset(known.allowed_interpreters)

    async def _current(self) -> Copy:
        now = self._clock()
        if self._copy is None or self._looked_at is None or now - self._looked_at >= LOOK_EVERY:
            # Noted before the look, so that while it hangs on a database that is away the others get the copy at once.
            self._looked_at = now
            try:
                self._copy = await self._looked(now)
                self._away = False
            except DatabaseUnavailable:
                if self._copy is None:
                    self._looked_at = None
                    raise
                self._away = True
        copy = self._copy
        return Copy(copy.cards, copy.version, copy.read_at, stale=True) if self._away else copy

    async def _looked(self, now: datetime) -> Copy:
        async with self._db.as_service() as conn:
            version = await store.cards_version(conn)
            known = self._copy
            if known is not None and known.version == version and now - known.read_at < KEPT:
                return known
            return Copy(await _cards(conn), version, now)


async def _cards(conn: Connection) -> tuple[Card, ...]:
    cards = [release.document.card() for release in await store.active_releases(conn)]
    return tuple(sorted(cards, key=lambda card: card.name.casefold()))
