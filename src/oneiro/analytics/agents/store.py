"""The rows of `agent_metrics` that events tell of."""

from dataclasses import dataclass
from uuid import UUID

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from oneiro.analytics.agents.models import Measurement
from oneiro.database.pool import Connection


@dataclass(frozen=True, slots=True)
class Conversation:
    """With which agent a conversation was held, and how it stands."""

    agent_id: str | None
    interpreter_id: str
    degraded: bool


async def conversation(conn: Connection, conversation_id: UUID) -> Conversation | None:
    """A conversation of ours; None when it is gone."""
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        await cursor.execute(
            """
            SELECT agent_id, interpreter_id, degraded
            FROM conversations WHERE id = %s AND release_id IS NOT NULL FOR KEY SHARE
            """,
            (conversation_id,),
        )
        return await cursor.fetchone()


async def insert(conn: Connection, measured: Measurement) -> None:
    """Write a measurement, once for each event and type; not for an interpreter that does not exist."""
    await conn.execute(
        """
        INSERT INTO agent_metrics (agent_id, interpreter_id, conversation_id, metric_type, metric_value, metadata,
                                   recorded_at, source_event)
        SELECT %(agent_id)s, %(interpreter_id)s, %(conversation_id)s, %(type)s, %(value)s, %(metadata)s, %(at)s,
               %(event)s
        WHERE %(interpreter_id)s::text IS NULL
           OR EXISTS (SELECT FROM interpreter_configs WHERE id = %(interpreter_id)s)
        ON CONFLICT (source_event, metric_type) DO NOTHING
        """,
        {
            "agent_id": measured.agent_id,
            "interpreter_id": measured.interpreter_id,
            "conversation_id": measured.conversation_id,
            "type": measured.type,
            "value": measured.value,
            "metadata": Jsonb(measured.metadata),
            "at": measured.recorded_at,
            "event": measured.source_event,
        },
    )


async def clear(conn: Connection, conversation_id: UUID, types: list[str]) -> None:
    """Remove measurements of a conversation that are about to be written anew."""
    await conn.execute(
        "DELETE FROM agent_metrics WHERE conversation_id = %s AND metric_type = ANY (%s)", (conversation_id, types)
    )


async def replace(conn: Connection, measured: Measurement) -> None:
    """Write a measurement of which a conversation has one: the latest stays, in whatever order they come."""
    await conn.execute(
        """
        DELETE FROM agent_metrics WHERE conversation_id = %s AND metric_type = %s AND recorded_at < %s
        """,
        (measured.conversation_id, measured.type, measured.recorded_at),
    )
    newer = await conn.execute(
        "SELECT 1 FROM agent_metrics WHERE conversation_id = %s AND metric_type = %s LIMIT 1",
        (measured.conversation_id, measured.type),
    )
    if await newer.fetchone() is None:
        await insert(conn, measured)
