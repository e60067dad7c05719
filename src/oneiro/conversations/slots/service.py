"""Who gets a slot: low priority up to 80 %, normal up to 95 %, high and whoever resumes up to all of them."""

from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from oneiro.conversations.slots import store
from oneiro.database.pool import Connection
from oneiro.errors import TooMany

Priority = Literal["low", "normal", "high"]

SHARES: Final[dict[Priority, int]] = {"low": 80, "normal": 95, "high": 100}
"""Percent of the slots up to which a priority is let in."""
RESERVED: Final = timedelta(seconds=60)
"""How long a slot is kept for a start or a client that is about to connect."""
DIRECT: Final = "direct"
"""The owner of slots whose sockets we do not see."""
_SOONEST, _LATEST = 5.0, 60.0


async def reserve(conn: Connection, conversation_id: UUID, priority: Priority, slots: int, now: datetime) -> None:
    """Reserve a slot of so many for 60 s, as the last thing of a short transaction.

    Racing starts, in whatever processes, cannot both take the last slot: when slots are scarce they pass one at a time
    from here to the end of the transaction. Raises `TooMany` (`no_slot`) when this priority's share is taken.
    """
    wanted = reservation(priority, slots, now)
    check(wanted, *await store.reserve(conn, conversation_id, wanted))


def reservation(priority: Priority, slots: int, now: datetime) -> store.Reservation:
    """What is asked for by a start or a client that is about to connect."""
    return store.Reservation(DIRECT, admitted(priority, slots), now, now + RESERVED)


def check(wanted: store.Reservation, taken: int, first_free: datetime | None) -> None:
    """Raise `TooMany` when others hold so many slots that none was leased."""
    if taken >= wanted.admitted:
        wait = (first_free - wanted.now).total_seconds() if first_free else _SOONEST
        raise TooMany(
            "All interpreters are in conversation just now. Please come back in a moment.",
            code="no_slot",
            retry_after=min(max(wait, _SOONEST), _LATEST),
        )


def admitted(priority: Priority, slots: int) -> int:
    """How many conversations there may be before this priority is refused, rounded up: one slot is everybody's."""
    return -(-slots * SHARES[priority] // 100)
