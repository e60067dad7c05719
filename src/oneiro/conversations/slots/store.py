"""The rows of `conversation_slots`."""

from datetime import datetime
from uuid import UUID

from oneiro.database.pool import Connection

# Any number of our own; it names the turnstile that starts pass, and those that follow it name the lanes.
TURNSTILE = 0x6F6E6569726F00


async def reserve(
    conn: Connection, conversation_id: UUID, owner: str, admitted: int, now: datetime, until: datetime
) -> tuple[int, datetime | None]:
    """Take or renew a slot if others hold less than `admitted`: how many they do, and when the first of these lapses.

    Until the transaction ends starts may wait for it, so it is to be its last statement.
    """
    result = await conn.execute(
        "SELECT taken, first_free FROM oneiro.reserve_slot(%s, %s, %s, %s, %s, %s)",
        (TURNSTILE, conversation_id, owner, admitted, now, until),
    )
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
