"""A conversation's events, written in the transaction that holds its row."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from oneiro.database.pool import Connection
from oneiro.events import outbox
from oneiro.events.models import EventType

Happened = tuple[EventType, Mapping[str, object]]
"""An event's type and data."""


async def record(
    conn: Connection, conversation_id: UUID, user_id: UUID | None, event_type: EventType, data: Mapping[str, object]
) -> None:
    """Write an event of a conversation."""
    await record_all(conn, conversation_id, user_id, [(event_type, data)])


async def record_all(
    conn: Connection,
    conversation_id: UUID,
    user_id: UUID | None,
    happened: Sequence[Happened],
) -> None:
    """Write several events of a conversation in this order, in one statement."""
    await outbox.record_all(conn, happened, entity_type="conversation", entity_id=str(conversation_id), user_id=user_id)


def recorded(
    conn: Connection, conversation_id: UUID, user_id: UUID | None, happened: Sequence[Happened]
) -> dict[str, object]:
    """The values of several events, for a statement that writes them beside the conversation."""
    return outbox.recorded(conn, happened, "conversation", str(conversation_id), user_id)
