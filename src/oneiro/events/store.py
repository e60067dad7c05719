"""The rows of `system_events`."""

from collections.abc import Mapping
from uuid import UUID

from psycopg.types.json import Jsonb

from oneiro.database.pool import Connection


async def insert(
    conn: Connection,
    event_type: str,
    entity_type: str,
    entity_id: str,
    data: Mapping[str, object],
    user_id: UUID | None,
    conversation_id: UUID | None,
) -> None:
    """Insert one event; its position is stamped after the commit."""
    await conn.execute(
        """
        INSERT INTO system_events (event_type, entity_type, entity_id, event_data, user_id, conversation_id)
        VALUES (%s, %s, %s, %s, %s, %s)
        """,
        (event_type, entity_type, entity_id, Jsonb(dict(data)), user_id, conversation_id),
    )
