"""The rows of `conversation_slots`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.sql import SQL

from oneiro.database.pool import Connection

# Names the turnstile that starts pass, and the numbers that follow it name the lanes. Advisory locks share one space of
# numbers in a database, so all of them differ from `migrate.LOCK`: else no start would pass while migrations run.
TURNSTILE = 0x6F6E6569726F00


RESERVE: Final = SQL(
    """
    SELECT r.taken, r.first_free
    FROM {among} oneiro.reserve_slot(
        %(turnstile)s, {conversation}, %(slot_owner)s, %(admitted)s, %(now)s, %(until)s
    ) AS r
    """
)
"""Takes or renews a slot if others hold less than `admitted`: how many they do, and when the first of these lapses.

Until the transaction ends starts may wait for it, so it is to be its last statement.
"""
_RESERVE: Final = RESERVE.format(among=SQL(""), conversation=SQL("%(conversation_id)s")).as_bytes()


@dataclass(frozen=True, slots=True)
class Reservation:
    """A slot to reserve for an owner, if there are less than `admitted` others."""

    owner: str
    admitted: int
    now: datetime
    until: datetime

    def values(self) -> dict[str, object]:
        """The values of `RESERVE`, but for the conversation."""
        return {
            "turnstile": TURNSTILE,
            "slot_owner": self.owner,
            "admitted": self.admitted,
            "now": self.now,
            "until": self.until,
        }


async def reserve(conn: Connection, conversation_id: UUID, wanted: Reservation) -> tuple[int, datetime | None]:
    """Reserve a slot as `RESERVE` says."""
    result = await conn.execute(_RESERVE, {"conversation_id": conversation_id, **wanted.values()})
    row = await result.fetchone()
    assert row is not None
    return row[0], row[1]


async def lease(conn: Connection, conversation_id: UUID, owner: str, until: datetime) -> None:
    """Take or renew a conversation's slot; a lease that is about to be as long already is left alone."""
    await conn.execute(
        """
        INSERT INTO conversation_slots (conversation_id, owner, leased_until) VALUES (%s, %s, %s)
        ON CONFLICT (conversation_id) DO UPDATE SET owner = excluded.owner, leased_until = excluded.leased_until
        WHERE conversation_slots.owner <> excluded.owner
           OR conversation_slots.leased_until < excluded.leased_until
        """,
        (conversation_id, owner, until),
    )


async def release(conn: Connection, conversation_id: UUID) -> None:
    """Give a slot back."""
    await conn.execute("DELETE FROM conversation_slots WHERE conversation_id = %s", (conversation_id,))


async def renew(conn: Connection, conversation_ids: list[UUID], owner: str, until: datetime) -> None:
    """Renew the slots of open conversations in one statement; one that was lost is taken again."""
    await conn.execute(
        """
        INSERT INTO conversation_slots (conversation_id, owner, leased_until)
        SELECT id, %s, %s FROM conversations
        WHERE id = ANY (%s) AND status IN ('initializing', 'active') AND paused_at IS NULL
        ORDER BY id
        ON CONFLICT (conversation_id) DO UPDATE SET owner = excluded.owner, leased_until = excluded.leased_until
        """,
        (owner, until, conversation_ids),
    )
