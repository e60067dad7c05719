"""Counts of what is on the voice platform."""

from datetime import datetime

from psycopg.rows import class_row

from oneiro.database.pool import Connection
from oneiro.interpreters.overview.models import Counts, Drift
from oneiro.monitoring.store import GRACE

MOST_DRIFTS = 100


async def counts(conn: Connection, now: datetime) -> Counts:
    """Agents, voices, slots in use, and sessions that wait to be compared with the platform's record."""
    async with conn.cursor(row_factory=class_row(Counts)) as cursor:
        await cursor.execute(
            """
            SELECT (SELECT count(*) FROM platform_agents
                    WHERE state IN ('ready', 'drifted')
                      AND (scope = 'release' OR expires_at > %(now)s)) AS cached_agents,
                   (SELECT count(*) FROM platform_voices WHERE voice_id IS NOT NULL) AS cached_voices,
                   (SELECT count(*) FROM conversation_slots WHERE leased_until > %(now)s) AS slots_used,
                   (SELECT count(*) FROM conversation_sessions
                    WHERE reconciled_at IS NULL AND session_end_time < %(due)s
                      AND (elevenlabs_conversation_id IS NOT NULL
                           OR (connected_at IS NOT NULL AND NOT degraded))) AS unreconciled
            """,
            {"now": now, "due": now - GRACE},
        )
        found = await cursor.fetchone()
    assert found is not None
    return found


async def drifts(conn: Connection) -> list[Drift]:
    """Agents in use that differ from what was sent, the newest first."""
    async with conn.cursor(row_factory=class_row(Drift)) as cursor:
        await cursor.execute(
            """
            SELECT a.id, a.agent_id, a.interpreter_id, r.number AS release, a.language, a.model, a.drift AS fields
            FROM platform_agents AS a JOIN interpreter_releases AS r ON r.id = a.release_id
            WHERE a.state = 'drifted' ORDER BY a.created_at DESC LIMIT %s
            """,
            (MOST_DRIFTS,),
        )
        return await cursor.fetchall()
