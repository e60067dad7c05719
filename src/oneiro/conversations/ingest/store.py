"""Lines of many conversations as one statement: messages, counts, slots and events stand or fall together."""

from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row

from oneiro.conversations.ingest.models import Facts, Line, Outcome
from oneiro.database.pool import Connection
from oneiro.events import bell
from oneiro.safety.crisis import Tier


async def facts(conn: Connection, user_id: UUID, conversation_id: UUID) -> Facts | None:
    """What never changes of this dreamer's conversation."""
    async with conn.cursor(row_factory=class_row(Facts)) as cursor:
        await cursor.execute(
            """
            SELECT user_id, transport, language, created_at, traceparent FROM conversations
            WHERE id = %s AND user_id = %s AND release_id IS NOT NULL
            """,
            (conversation_id, user_id),
        )
        return await cursor.fetchone()


async def region(conn: Connection, user_id: UUID) -> str | None:
    """Where the dreamer's help lines are."""
    result = await conn.execute("SELECT region FROM profiles WHERE user_id = %s", (user_id,))
    row = await result.fetchone()
    return row[0] if row else None


async def write(conn: Connection, lines: list[Line], now: datetime, leased_until: datetime) -> list[Outcome]:
    """Write lines of any number of conversations, no two of the same key; what came of each, in the same order.

    The conversations are locked first, in one order for everybody, so that two processes cannot wait for each other
    and the second statement sees what the last holder committed. Both are sent at once.
    """
    async with conn.pipeline():
        await conn.execute(_LOCK, (sorted({line.conversation_id for line in lines}),))
        cursor = conn.cursor(row_factory=class_row(Outcome))
        await cursor.execute(_WRITE, _values(lines, now, leased_until))
        outcomes = await cursor.fetchall()
    bell.mark(conn, bell.WRITTEN)
    return outcomes


def _values(lines: list[Line], now: datetime, leased_until: datetime) -> dict[str, object]:
    return {
        "conversations": [line.conversation_id for line in lines],
        "owners": [line.user_id for line in lines],
        "event_ids": [line.event_id for line in lines],
        "senders": [line.sender for line in lines],
        "contents": [line.content for line in lines],
        "times": [line.occurred_at for line in lines],
        "metadata": [line.metadata for line in lines],
        "ranks": [line.tier.rank for line in lines],
        "tiers": [tier.value for tier in Tier],
        "flagged": Tier.passive_ideation.rank,
        "escalated": Tier.active_danger.rank,
        "now": now,
        "leased_until": leased_until,
    }


_LOCK = """
    SELECT 1 FROM conversations WHERE id = ANY (%s) AND release_id IS NOT NULL ORDER BY id FOR NO KEY UPDATE
"""

# A line is written where its dreamer has that conversation open without a relay. A known event id with other words is
# a correction when the interpreter's line was cut short by the platform, or when the client calls it one; any other
# repeat changes nothing. Sessions and slots are touched at most every ten seconds, since they only have to be roughly
# right. The events are written here and not by the outbox, because they belong to the same statement.
_WRITE = """
    WITH given AS (
        SELECT * FROM unnest(
            %(conversations)s::uuid[], %(owners)s::uuid[], %(event_ids)s::text[], %(senders)s::text[],
            %(contents)s::text[], %(times)s::timestamptz[], %(metadata)s::text[], %(ranks)s::int[]
        ) WITH ORDINALITY
            AS g (conversation_id, user_id, event_id, sender, content, occurred_at, metadata, rank, place)
    ), led AS (
        SELECT c.id, c.user_id, c.status, c.paused_at, c.transport, c.safety_tier, p.region,
               (SELECT max(s.session) FROM conversation_sessions AS s WHERE s.conversation_id = c.id) AS session
        FROM conversations AS c
        LEFT JOIN profiles AS p ON p.user_id = c.user_id
        WHERE c.id = ANY (%(conversations)s::uuid[]) AND c.release_id IS NOT NULL
    ), written AS (
        INSERT INTO messages (conversation_id, event_id, sender, content, occurred_at, metadata, session)
        SELECT g.conversation_id, g.event_id, g.sender, g.content, g.occurred_at, g.metadata::jsonb, led.session
        FROM given AS g
        JOIN led ON led.id = g.conversation_id AND led.user_id = g.user_id
        WHERE led.status = 'active' AND led.transport IS DISTINCT FROM 'relay'
        ORDER BY g.place
        ON CONFLICT (conversation_id, event_id) DO UPDATE
        SET content = excluded.content, original_content = coalesce(messages.original_content, messages.content),
            metadata = messages.metadata || excluded.metadata
        WHERE messages.content <> excluded.content AND messages.sender = excluded.sender
          AND (messages.sender = 'interpreter' OR excluded.metadata @> '{"correction": true}')
        RETURNING id, conversation_id, event_id, sender, char_length(content) AS chars, session,
                  original_content IS NOT NULL AS corrected
    ), news AS (
        SELECT w.*, g.place, g.rank, g.user_id
        FROM written AS w
        JOIN given AS g USING (conversation_id, event_id)
    ), counted AS (
        UPDATE conversations AS c
        SET message_count = c.message_count + n.stored, last_activity_at = greatest(c.last_activity_at, %(now)s),
            safety_tier = (%(tiers)s::text[])[
                greatest(n.rank + 1, array_position(%(tiers)s::text[], c.safety_tier))
            ]
        FROM (
            SELECT conversation_id, count(*) FILTER (WHERE NOT corrected) AS stored, max(rank) AS rank
            FROM news GROUP BY conversation_id
        ) AS n
        WHERE c.id = n.conversation_id
    ), touched AS (
        UPDATE conversation_sessions AS s
        SET last_activity_at = %(now)s, connected_at = coalesce(s.connected_at, %(now)s)
        FROM (SELECT DISTINCT conversation_id, session FROM news WHERE NOT corrected) AS n
        WHERE s.conversation_id = n.conversation_id AND s.session = n.session
          AND (s.connected_at IS NULL OR s.last_activity_at < %(now)s - interval '10 seconds')
    ), leased AS (
        INSERT INTO conversation_slots AS slot (conversation_id, owner, leased_until)
        SELECT DISTINCT n.conversation_id, 'direct', %(leased_until)s::timestamptz
        FROM news AS n
        JOIN led ON led.id = n.conversation_id AND led.paused_at IS NULL
        ON CONFLICT (conversation_id) DO UPDATE SET leased_until = excluded.leased_until
        WHERE slot.leased_until < excluded.leased_until - interval '10 seconds'
    ), told AS (
        INSERT INTO system_events (event_type, entity_type, entity_id, event_data, user_id, conversation_id)
        SELECT e.type, 'conversation', n.conversation_id::text, e.data, n.user_id, n.conversation_id
        FROM news AS n
        CROSS JOIN LATERAL (
            SELECT 1 AS step, 'conversation.message_received' AS type, jsonb_build_object(
                'message_id', n.id::text, 'sender', n.sender, 'chars', n.chars, 'session', n.session) AS data
            WHERE NOT n.corrected
            UNION ALL
            SELECT 1, 'conversation.message_corrected', jsonb_build_object('message_id', n.id::text)
            WHERE n.corrected
            UNION ALL
            SELECT 2, CASE WHEN n.rank >= %(escalated)s THEN 'safety.escalated' ELSE 'safety.flagged' END,
                   jsonb_build_object('tier', (%(tiers)s::text[])[n.rank + 1], 'message_id', n.id::text,
                                      'conversation_id', n.conversation_id::text)
            WHERE n.rank >= %(flagged)s
        ) AS e
        ORDER BY n.place, e.step
    )
    SELECT led.status, coalesce(led.paused_at IS NOT NULL, false) AS paused, led.transport, led.region,
           n.id IS NOT NULL AS stored, coalesce(n.corrected, false) AS corrected
    FROM given AS g
    LEFT JOIN led ON led.id = g.conversation_id AND led.user_id = g.user_id
    LEFT JOIN news AS n ON n.place = g.place
    ORDER BY g.place
"""
