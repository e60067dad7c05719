"""A conversation's events, written in the transaction that holds its row."""

from collections.abc import Mapping
from uuid import UUID

from oneiro.database.pool import Connection
from oneiro.events import outbox
from oneiro.events.models import EventType


async def record(
    conn: Connection, conversation_id: UUID, user_id: UUID | None, event_type: EventType, data: Mapping[str, object]
) -> None:
    """Write an event of a conversation."""
    await outbox.record(
        conn,
        event_type,
        entity_type="conversation",
        entity_id=str(conversation_id),
        data=data,
        user_id=user_id,
    )
