"""Events about a dreamer herself."""

from collections.abc import Mapping
from uuid import UUID

from oneiro.database.pool import Connection
from oneiro.events import outbox
from oneiro.events.models import EventType


async def record(conn: Connection, event_type: EventType, user_id: UUID, data: Mapping[str, object]) -> None:
    """Write an event about a dreamer whose row is there."""
    await outbox.record(conn, event_type, entity_type="dreamer", entity_id=str(user_id), data=data, user_id=user_id)
