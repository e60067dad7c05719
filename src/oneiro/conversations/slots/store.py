"""The rows of `conversation_slots`."""

from datetime import datetime
from uuid import UUID

from oneiro.database.pool import Connection

# Any number of our own; it names the turnstile that starts pass one at a time.
TURNSTILE = 0x6F6E6569726F


async def enter(conn: Connection) -> None:
    """Pass the turnstile: until this transaction ends nobody else counts the slots."""
    await conn.execute("SELECT pg_advisory_xact_lock(%s)", (TURNSTILE,))


async def taken(conn: Connection, besides: UUID, now: datetime) -> tuple[int, datetime | None]:
    """How many slots others hold, and when the first of these lapses."""
    result = await conn.execute(
        """
        SELECT count(*), min(leased_until) FROM conversation_slots
        WHERE leased_until > %s AND conversation_id <> %s
        """,
        (now, besides),
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
