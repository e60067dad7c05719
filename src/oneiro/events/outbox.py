"""The outbox: an event is a row of `system_events`, written in the transaction of the change it tells of."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from oneiro import tracing
from oneiro.database.pool import Connection
from oneiro.events import bell, store
from oneiro.events.models import EventType


async def record(
    conn: Connection,
    event_type: EventType,
    *,
    entity_type: str,
    entity_id: str,
    data: Mapping[str, object],
    user_id: UUID | None = None,
    conversation_id: UUID | None = None,
) -> None:
    """Write an event in the caller's transaction, so that change and event stand or fall together.

    `data` holds ids, counts and codes, never what was said. Events of one conversation keep their order: name it by
    `conversation_id` where the entity is something else.
    """
    await record_all(
        conn,
        [(event_type, data)],
        entity_type=entity_type,
        entity_id=entity_id,
        user_id=user_id,
        conversation_id=conversation_id,
    )


async def record_all(
    conn: Connection,
    happened: Sequence[tuple[EventType, Mapping[str, object]]],
    *,
    entity_type: str,
    entity_id: str,
    user_id: UUID | None = None,
    conversation_id: UUID | None = None,
) -> None:
    """Write several events of one entity, types with data, in this order and in one statement."""
    about = (entity_type, entity_id, user_id, conversation_id)
    await store.insert(conn, recorded(conn, happened, *about))


def recorded(
    conn: Connection,
    happened: Sequence[tuple[EventType, Mapping[str, object]]],
    entity_type: str,
    entity_id: str,
    user_id: UUID | None = None,
    conversation_id: UUID | None = None,
) -> dict[str, object]:
    """The values of such events for a statement that holds `store.INSERT` beside other changes."""
    if conversation_id is None and entity_type == "conversation":
        conversation_id = UUID(entity_id)
    bell.mark(conn, bell.WRITTEN)
    for event_type, _ in happened:
        tracing.happened(event_type)
    return store.values(happened, entity_type, entity_id, user_id, conversation_id)
