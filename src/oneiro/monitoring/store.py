"""What `/metrics` reads, in one statement; only reads, of anybody's tables."""

from datetime import datetime, timedelta
from typing import Final

from oneiro.database.pool import Connection
from oneiro.metrics import Snapshot

GRACE: Final = timedelta(minutes=5)
"""How long after a session's end its account by the platform may take before it counts as missing."""
_STATES: Final = ("queued", "running", "done", "dead")
_FLAGGED: Final = ("passive_ideation", "active_danger")


async def snapshot(conn: Connection, slots: int, now: datetime) -> Snapshot:
    """The figures of this moment, of all replicas together; `slots` is how many conversations there may be at once."""
    cursor = await conn.execute(
        """
        SELECT (SELECT count(*) FROM conversations
                WHERE status = 'active' AND paused_at IS NULL AND release_id IS NOT NULL),
               (SELECT count(*) FROM conversation_slots WHERE leased_until > %(now)s),
               (SELECT coalesce(jsonb_object_agg(state, found), '{}')
                FROM (SELECT state, count(*) AS found FROM jobs GROUP BY state) AS j),
               (SELECT coalesce(jsonb_object_agg(consumer, lag), '{}')
                FROM (SELECT c.consumer, greatest(coalesce(s.position, 0) - c.position, 0)
                             + (SELECT count(*) FROM parked_events AS p WHERE p.consumer = c.consumer) AS lag
                      FROM event_cursors AS c
                      LEFT JOIN event_cursors AS s ON s.consumer = 'sequencer'
                      WHERE c.consumer <> 'sequencer') AS l),
               (SELECT count(*) FROM conversation_sessions
                WHERE reconciled_at IS NULL AND session_end_time < %(due)s
                  AND (elevenlabs_conversation_id IS NOT NULL OR (connected_at IS NOT NULL AND NOT degraded))),
               (SELECT coalesce(jsonb_object_agg(consumer, parked), '{}')
                FROM (SELECT c.consumer, count(p.consumer) AS parked
                      FROM event_cursors AS c LEFT JOIN parked_events AS p ON p.consumer = c.consumer
                      WHERE c.consumer <> 'sequencer' GROUP BY c.consumer) AS a),
               (SELECT coalesce(jsonb_object_agg(tier, waiting), '{}')
                FROM (SELECT tier, count(*) AS waiting FROM safety_flags WHERE acknowledged_at IS NULL
                      GROUP BY tier) AS f)
        """,
        {"now": now, "due": now - GRACE},
    )
    row = await cursor.fetchone()
    assert row is not None
    active, taken, jobs, lag, unreconciled, parked, waiting = row
    return Snapshot(
        active=active,
        slots={"taken": taken, "free": max(slots - taken, 0)},
        jobs={state: jobs.get(state, 0) for state in _STATES},
        lag=lag,
        unreconciled=unreconciled,
        parked=parked,
        unacknowledged={tier: waiting.get(tier, 0) for tier in _FLAGGED},
    )
