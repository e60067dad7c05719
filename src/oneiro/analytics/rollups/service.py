"""Keeps the hourly counts equal to what a recount of the conversations gives."""

from typing import Final

from oneiro.analytics.rollups import store
from oneiro.database.pool import Database

DAYS_AT_ONCE: Final = 4
"""Days whose hours are counted in one transaction."""


class Rollups:
    """Counts the hours anew in which something changed; reports read the others meanwhile as they are."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def refresh(self) -> int:
        """Count every marked hour; returns how many. Nothing when another process is at it."""
        counted = 0
        while True:
            async with self._db.as_service() as conn:
                if not await store.alone(conn):
                    return counted
                hours = await store.take_dirty(conn, DAYS_AT_ONCE)
                if not hours:
                    return counted
                await store.recount(conn, hours)
            counted += len(hours)
