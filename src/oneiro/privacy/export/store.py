"""What an export reads. PostgreSQL itself makes each row JSON, and a cursor of its own hands out a few at a time."""

from collections.abc import AsyncGenerator, Mapping
from typing import Final
from uuid import UUID

from psycopg.rows import scalar_row
from psycopg.sql import SQL

from oneiro.database.pool import Connection

ROWS_AT_A_TIME: Final = 100

PROFILE: Final = SQL(
    """
    SELECT user_id, name, language, region, birth_year, consents, allowed_interpreters, created_at, updated_at
    FROM profiles WHERE user_id = %(user_id)s
    """
)

# Read as the dreamer: row-level security has its say beside the owner that each statement names.
HERS: Final[Mapping[str, SQL]] = {
    "dreams": SQL(
        """
        SELECT id, title, content, symbols, interpretation, interpretation_date, status,
               source_conversation_id AS conversation_id, created_at, updated_at
        FROM dreams WHERE user_id = %(user_id)s ORDER BY created_at, id
        """
    ),
    "conversations": SQL(
        """
        SELECT id, interpreter_id, dream_id, status, transport, text_only, language, model, priority, release_id,
               arm_id, agent_id, prompt_sha256, variable_names, created_at, started_at, paused_at, last_activity_at,
               ended_at, end_reason, error_code, summary, rating, rating_comment, connection_count, message_count,
               degraded, safety_tier, metadata
        FROM conversations WHERE user_id = %(user_id)s ORDER BY created_at, id
        """
    ),
    "sessions": SQL(
        """
        SELECT s.conversation_id, s.session, s.elevenlabs_conversation_id, s.agent_id, s.session_status,
               s.session_start_time,
               s.connected_at, s.session_end_time, s.connection_count, s.close_code, s.degraded, s.session_metadata,
               s.error_log
        FROM conversation_sessions AS s
        JOIN conversations AS c ON c.id = s.conversation_id AND c.user_id = %(user_id)s
        ORDER BY c.created_at, c.id, s.session
        """
    ),
    "messages": SQL(
        """
        SELECT m.id::text AS id, m.conversation_id, m.event_id, m.session, m.sender, m.content, m.original_content,
               m.occurred_at, m.metadata
        FROM messages AS m JOIN conversations AS c ON c.id = m.conversation_id AND c.user_id = %(user_id)s
        ORDER BY c.created_at, c.id, m.occurred_at, m.ordinal
        """
    ),
    "analytics": SQL(
        """
        SELECT conversation_id, session_duration_seconds, message_count, user_satisfaction_score, engagement_score,
               completion_reason, topics_discussed, sentiment_analysis, response_time_ms, snapshot, counts,
               counts_of_words, created_at, updated_at
        FROM conversation_analytics WHERE user_id = %(user_id)s ORDER BY created_at, id
        """
    ),
}

# Read as the service, since these tables are closed to dreamers: every grant is an open API where Supabase serves them.
OF_HER: Final[Mapping[str, SQL]] = {
    "measures": SQL(
        """
        SELECT m.conversation_id, m.agent_id, m.metric_type AS type, m.metric_value AS value, m.metadata,
               m.recorded_at AS time
        FROM agent_metrics AS m JOIN conversations AS c ON c.id = m.conversation_id AND c.user_id = %(user_id)s
        ORDER BY c.created_at, c.id, m.recorded_at, m.id
        """
    ),
    "experiments": SQL(
        """
        SELECT e.id AS experiment_id, e.interpreter_id, e.name AS experiment, r.name AS arm, a.assigned_at
        FROM experiment_assignments AS a
        JOIN experiments AS e ON e.id = a.experiment_id
        JOIN experiment_arms AS r ON r.id = a.arm_id
        WHERE a.user_id = %(user_id)s ORDER BY a.assigned_at, e.id
        """
    ),
    "safety": SQL(
        """
        SELECT CASE tier WHEN 'active_danger' THEN 'safety.escalated' ELSE 'safety.flagged' END AS type, tier,
               conversation_id, message_id, flagged_at AS time, acknowledged_at
        FROM safety_flags WHERE user_id = %(user_id)s ORDER BY flagged_at, id
        """
    ),
    "events": SQL(
        """
        SELECT event_type AS type, conversation_id, event_data AS data, created_at AS time
        FROM system_events WHERE user_id = %(user_id)s ORDER BY seq
        """
    ),
}


async def rows(conn: Connection, section: SQL, user_id: UUID) -> AsyncGenerator[str]:
    """A section's rows as JSON, in order; times are in UTC."""
    await conn.execute("SELECT set_config('TimeZone', 'UTC', true)")
    async with conn.cursor(name="export", row_factory=scalar_row) as cursor:
        cursor.itersize = ROWS_AT_A_TIME
        statement = SQL("SELECT row_to_json(r)::text FROM ({}) AS r").format(section)
        await cursor.execute(statement, {"user_id": user_id})
        async for row in cursor:
            yield row
