"""Every row that is a dreamer's, found and deleted.

The one place beside a table's own store that writes it: to forget somebody is one act over all of them. Each table is
named, because a host application's own tables have no cascade of ours. `tests/privacy` walk over all tables there are.
"""

from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from psycopg.errors import ForeignKeyViolation
from psycopg.rows import class_row, scalar_row
from psycopg.sql import SQL, Composable, Identifier

from oneiro.database.pool import Connection
from oneiro.privacy.erasure.models import Held, Unnamed

# In this order, children first; `conversations` are their ids, `platform` those of the voice platform.
_DELETED: Final = (
    """
    DELETE FROM jobs
    WHERE payload ->> 'conversation_id' = ANY (%(conversations)s::text[]) OR payload ->> 'user_id' = %(id)s::text
    """,
    """
    DELETE FROM webhook_inbox
    WHERE elevenlabs_conversation_id = ANY (%(platform)s)
       OR (body IS NOT NULL AND (
           body #>> '{data,conversation_initiation_client_data,dynamic_variables,conversation_id}'
               = ANY (%(conversations)s::text[])
           OR position(%(id)s::text IN body::text) > 0
       ))
    """,
    # Parked events and deliveries go with their events.
    """
    DELETE FROM system_events WHERE id IN (
        SELECT id FROM system_events
        WHERE user_id = %(id)s OR conversation_id = ANY (%(conversations)s)
           OR (event_type = 'webhook.received'
               AND event_data ->> 'elevenlabs_conversation_id' = ANY (%(platform)s))
        ORDER BY seq FOR UPDATE
    )
    """,
    "DELETE FROM agent_metrics WHERE conversation_id = ANY (%(conversations)s)",
    "DELETE FROM conversation_analytics WHERE user_id = %(id)s OR conversation_id = ANY (%(conversations)s)",
    "DELETE FROM safety_flags WHERE user_id = %(id)s OR conversation_id = ANY (%(conversations)s)",
    "DELETE FROM experiment_assignments WHERE user_id = %(id)s",
    "DELETE FROM idempotency_keys WHERE user_id = %(id)s",
    "DELETE FROM messages WHERE conversation_id = ANY (%(conversations)s)",
    "DELETE FROM conversations WHERE user_id = %(id)s",
    "DELETE FROM dreams WHERE user_id = %(id)s",
)

_HELD: Final = SQL(
    """
    SELECT s.elevenlabs_conversation_id, s.session_end_time, c.transport IS NOT DISTINCT FROM 'direct'
    FROM conversation_sessions AS s JOIN conversations AS c ON c.id = s.conversation_id
    WHERE c.user_id = %(id)s
    UNION ALL
    SELECT elevenlabs_conversation_id, ended_at, false FROM conversations WHERE user_id = %(id)s
    """
)
_UNNAMED: Final = SQL(
    """
    SELECT s.conversation_id, s.agent_id, s.session_start_time AS since, s.signed_url_expires_at AS until
    FROM conversation_sessions AS s JOIN conversations AS c ON c.id = s.conversation_id
    WHERE c.user_id = %(id)s AND s.elevenlabs_conversation_id IS NULL AND s.agent_id IS NOT NULL
      AND s.signed_url_expires_at IS NOT NULL AND NOT s.degraded
      AND (s.connected_at IS NOT NULL OR c.transport = 'direct')
    """
)
# What events tell of conversations whose rows are gone; the column says of whom or of which one.
_HELD_TOLD: Final = SQL(
    """
    SELECT event_data ->> 'elevenlabs_conversation_id', NULL::timestamptz, false
    FROM system_events WHERE {0} = %(id)s AND event_type = 'conversation.connected'
    UNION ALL
    SELECT s.elevenlabs_conversation_id, s.over_at, s.direct
    FROM system_events CROSS JOIN LATERAL jsonb_to_recordset(event_data -> 'sessions')
        AS s (elevenlabs_conversation_id text, over_at timestamptz, direct boolean)
    WHERE {0} = %(id)s AND event_type = 'conversation.deleted'
    """
)
_UNNAMED_TOLD: Final = SQL(
    """
    SELECT conversation_id, s.agent_id, s.since, s.until
    FROM system_events CROSS JOIN LATERAL jsonb_to_recordset(event_data -> 'sessions')
        AS s (elevenlabs_conversation_id text, agent_id text, since timestamptz, until timestamptz)
    WHERE {0} = %(id)s AND event_type = 'conversation.deleted' AND s.elevenlabs_conversation_id IS NULL
    """
)


async def open_conversations(conn: Connection, user_id: UUID) -> list[UUID]:
    """Those that have not ended."""
    return await _ids(
        conn,
        """
        SELECT id FROM conversations
        WHERE user_id = %s AND release_id IS NOT NULL AND status IN ('initializing', 'active') ORDER BY id
        """,
        user_id,
    )


async def lock(conn: Connection, user_id: UUID) -> list[UUID]:
    """Hold all conversations of a dreamer, then her row, as whoever writes in a conversation does; returns their ids.

    Who starts one holds her row, so that after this nothing of hers is under way.
    """
    await _ids(conn, "SELECT id FROM conversations WHERE user_id = %s ORDER BY id FOR UPDATE", user_id)
    await conn.execute("SELECT 1 FROM profiles WHERE user_id = %s FOR UPDATE", (user_id,))
    return await _ids(conn, "SELECT id FROM conversations WHERE user_id = %s ORDER BY id FOR UPDATE", user_id)


async def _ids(conn: Connection, statement: LiteralString, user_id: UUID) -> list[UUID]:
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(statement, (user_id,))
        found: list[UUID] = await cursor.fetchall()
    return found


async def held(conn: Connection, user_id: UUID) -> list[Held]:
    """What the platform has of her, also of conversations that she deleted before."""
    return await _held(conn, SQL("{} UNION ALL {}").format(_HELD, _HELD_TOLD.format(Identifier("user_id"))), user_id)


async def held_of(conn: Connection, conversation_id: UUID) -> list[Held]:
    """What the platform has of a conversation whose row is gone, as its events told."""
    return await _held(conn, _HELD_TOLD.format(Identifier("conversation_id")), conversation_id)


async def _held(conn: Connection, known: Composable, entity_id: UUID) -> list[Held]:
    statement = SQL(
        """
        SELECT platform_id, max(over_at) AS over_at, bool_or(direct) AS direct
        FROM ({}) AS known (platform_id, over_at, direct)
        WHERE platform_id IS NOT NULL GROUP BY platform_id ORDER BY platform_id
        """
    ).format(known)
    async with conn.cursor(row_factory=class_row(Held)) as cursor:
        await cursor.execute(statement, {"id": entity_id})
        return await cursor.fetchall()


async def unnamed(conn: Connection, user_id: UUID) -> list[Unnamed]:
    """Sessions that the platform may have under an id that nobody told us: a client on its own socket went away."""
    told = _UNNAMED_TOLD.format(Identifier("user_id"))
    return await _unnamed(conn, SQL("{} UNION ALL {}").format(_UNNAMED, told), user_id)


async def unnamed_of(conn: Connection, conversation_id: UUID) -> list[Unnamed]:
    """The same of a conversation whose row is gone."""
    return await _unnamed(conn, _UNNAMED_TOLD.format(Identifier("conversation_id")), conversation_id)


async def _unnamed(conn: Connection, known: Composable, entity_id: UUID) -> list[Unnamed]:
    async with conn.cursor(row_factory=class_row(Unnamed)) as cursor:
        await cursor.execute(SQL("{} ORDER BY since").format(known), {"id": entity_id})
        return await cursor.fetchall()


async def delete(conn: Connection, user_id: UUID, conversations: list[UUID], platform: list[str]) -> int:
    """Delete all that is hers but her own row; returns how many rows that were.

    Raises `ForeignKeyViolation` where a table of a host application holds on to one of them.
    """
    values = {"id": user_id, "conversations": conversations, "platform": platform}
    return sum([(await conn.execute(statement, values)).rowcount for statement in _DELETED])


async def delete_profile(conn: Connection, user_id: UUID) -> int:
    """Delete her own row, or empty it where a host application's tables hold on to it; returns how many changed."""
    await conn.execute("SET CONSTRAINTS ALL IMMEDIATE")
    try:
        async with conn.transaction():
            return (await conn.execute("DELETE FROM profiles WHERE user_id = %s", (user_id,))).rowcount
    except ForeignKeyViolation:
        result = await conn.execute(
            """
            UPDATE profiles
            SET name = NULL, language = DEFAULT, region = NULL, birth_year = NULL, consents = DEFAULT,
                allowed_interpreters = NULL
            WHERE user_id = %s
              AND (num_nonnulls(name, region, birth_year, allowed_interpreters) > 0
                   OR jsonb_path_exists(consents, '$.* ? (@ == true)'))
            """,
            (user_id,),
        )
        return result.rowcount


async def forget_names(conn: Connection, consumers: list[str], latest: datetime) -> int:
    """Take the id out of `dreamer.erased` where everybody has been told, and from what is older than a time.

    Told: all these consumers are done with it, and no delivery of it waits. Returns how many there were.
    """
    result = await conn.execute(
        """
        UPDATE system_events AS e SET event_data = e.event_data - 'user_id'
        WHERE e.event_type = 'dreamer.erased' AND e.event_data ? 'user_id'
          AND (e.created_at < %(latest)s OR (
              e.position <= (
                  SELECT coalesce(min(coalesce(c.position, 0)), 0)
                  FROM unnest(%(consumers)s::text[]) AS named (consumer) LEFT JOIN event_cursors AS c USING (consumer)
              )
              AND NOT EXISTS (SELECT FROM parked_events AS p WHERE p.event_id = e.id)
              AND NOT EXISTS (SELECT FROM webhook_deliveries AS w WHERE w.event_id = e.id AND w.state = 'pending')
          ))
        """,
        {"consumers": consumers, "latest": latest},
    )
    return result.rowcount
