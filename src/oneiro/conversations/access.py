"""Whose conversation it is: another dreamer's is not found."""

from uuid import UUID

from oneiro.auth import Identity
from oneiro.conversations import store
from oneiro.database.pool import Connection
from oneiro.errors import NotFound


async def locked(conn: Connection, caller: Identity, conversation_id: UUID) -> store.Locked:
    """Lock the caller's conversation for a change; raises `NotFound` unless it is the caller's."""
    found = await store.lock(conn, caller.dreamer(), conversation_id)
    if found is None:
        raise missing()
    return found


def missing() -> NotFound:
    """The error for a conversation that is not there, or is another dreamer's."""
    return NotFound("There is no such conversation of yours.", code="conversation_not_found")
