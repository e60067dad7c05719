"""A session without the voice platform: its conversation says so until one reaches the platform again."""

from uuid import UUID

from oneiro.conversations.events import record
from oneiro.conversations.relayed import store
from oneiro.database.pool import Connection
from oneiro.events.models import EventType


async def planned(conn: Connection, conversation_id: UUID, user_id: UUID, session: int, *, degraded: bool) -> None:
    """Note what a session is going to be; that the platform is back is told once a session has reached it."""
    await store.mark_session(conn, conversation_id, session, degraded=degraded)
    if degraded:
        await _tell(conn, conversation_id, user_id, session, degraded=True)


async def became(conn: Connection, conversation_id: UUID, user_id: UUID, session: int, *, degraded: bool) -> None:
    """Note what a session that opens is."""
    await store.mark_session(conn, conversation_id, session, degraded=degraded)
    await _tell(conn, conversation_id, user_id, session, degraded=degraded)


async def _tell(conn: Connection, conversation_id: UUID, user_id: UUID, session: int, *, degraded: bool) -> None:
    if await store.mark(conn, conversation_id, degraded=degraded):
        name: EventType = "conversation.degraded" if degraded else "conversation.restored"
        await record(conn, conversation_id, user_id, name, {"session": session})
