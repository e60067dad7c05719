"""Sessions as the platform accounts for them; whoever writes holds the conversation's row."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from oneiro.conversations.reconcile.comparison import Known
from oneiro.database.pool import Connection
from oneiro.safety.crisis import Tier


@dataclass(frozen=True, slots=True)
class Key:
    """Names a session."""

    conversation_id: UUID
    session: int


@dataclass(frozen=True, slots=True)
class Session:
    """What is known of a session."""

    platform_id: str | None
    agent_id: str | None
    session_status: str
    session_start_time: datetime
    reconciled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Due:
    """A session that ended and whose account is due; `platform_id` is None where nobody told it to us."""

    conversation_id: UUID
    session: int
    platform_id: str | None
    session_start_time: datetime
    session_end_time: datetime

    @property
    def key(self) -> Key:
        """Names the session."""
        return Key(self.conversation_id, self.session)


async def by_platform_id(conn: Connection, platform_id: str) -> Key | None:
    """The session that one of the platform's ids belongs to."""
    async with conn.cursor(row_factory=class_row(Key)) as cursor:
        await cursor.execute(
            """
            SELECT s.conversation_id, s.session FROM conversation_sessions AS s
            JOIN conversations AS c ON c.id = s.conversation_id AND c.release_id IS NOT NULL
            WHERE s.elevenlabs_conversation_id = %s
            """,
            (platform_id,),
        )
        return await cursor.fetchone()


async def by_our_id(conn: Connection, conversation_id: UUID, agent_id: str, started_at: datetime) -> Key | None:
    """The session that has no id of the platform's yet, talks to this agent and was offered when it began.

    The variable that names our conversation passes through the client's hands, so the rest must fit as well.
    """
    async with conn.cursor(row_factory=class_row(Key)) as cursor:
        await cursor.execute(
            """
            SELECT s.conversation_id, s.session FROM conversation_sessions AS s
            JOIN conversations AS c ON c.id = s.conversation_id AND c.release_id IS NOT NULL
            WHERE s.conversation_id = %(id)s AND s.agent_id = %(agent_id)s AND s.elevenlabs_conversation_id IS NULL
              AND %(at)s BETWEEN s.session_start_time - interval '1 minute'
                             AND s.signed_url_expires_at + interval '1 minute'
            ORDER BY s.session DESC LIMIT 1
            """,
            {"id": conversation_id, "agent_id": agent_id, "at": started_at},
        )
        return await cursor.fetchone()


async def session(conn: Connection, key: Key) -> Session | None:
    """One session."""
    async with conn.cursor(row_factory=class_row(Session)) as cursor:
        await cursor.execute(
            """
            SELECT elevenlabs_conversation_id AS platform_id, agent_id, session_status, session_start_time,
                   reconciled_at
            FROM conversation_sessions WHERE conversation_id = %s AND session = %s
            """,
            (key.conversation_id, key.session),
        )
        return await cursor.fetchone()


async def lines(conn: Connection, key: Key) -> list[Known]:
    """What we have of a session, in order."""
    async with conn.cursor(row_factory=class_row(Known)) as cursor:
        await cursor.execute(
            """
            SELECT event_id, sender, content, original_content AS original, occurred_at FROM messages
            WHERE conversation_id = %s AND session = %s ORDER BY occurred_at, ordinal
            """,
            (key.conversation_id, key.session),
        )
        return await cursor.fetchall()


async def count(conn: Connection, conversation_id: UUID, added: int, tier: Tier) -> None:
    """Count lines that were filled in, and set the safety tier."""
    await conn.execute(
        "UPDATE conversations SET message_count = message_count + %s, safety_tier = %s WHERE id = %s",
        (added, tier.value, conversation_id),
    )


async def identify(conn: Connection, key: Key, platform_id: str) -> None:
    """Note the platform's id of a session; the conversation's is that of its latest one."""
    await conn.execute(
        """
        UPDATE conversation_sessions
        SET elevenlabs_conversation_id = %s, connected_at = coalesce(connected_at, session_start_time)
        WHERE conversation_id = %s AND session = %s AND elevenlabs_conversation_id IS NULL
        """,
        (platform_id, key.conversation_id, key.session),
    )
    await conn.execute(
        """
        UPDATE conversations SET elevenlabs_conversation_id = %s
        WHERE id = %s AND elevenlabs_conversation_id IS NULL
          AND %s = (SELECT max(session) FROM conversation_sessions WHERE conversation_id = conversations.id)
        """,
        (platform_id, key.conversation_id, key.session),
    )


async def settle(conn: Connection, key: Key, account: dict[str, Any], ended_at: datetime | None, now: datetime) -> None:
    """Note that a session is accounted for, and what the platform says of it as a whole."""
    await conn.execute(
        """
        UPDATE conversation_sessions
        SET reconciled_at = coalesce(reconciled_at, %(now)s), reconcile_after = NULL,
            session_end_time = coalesce(session_end_time, %(ended_at)s),
            session_metadata = coalesce(session_metadata, '{}') || jsonb_build_object('platform', %(account)s::jsonb)
        WHERE conversation_id = %(id)s AND session = %(session)s
        """,
        {
            "id": key.conversation_id,
            "session": key.session,
            "account": Jsonb(account),
            "ended_at": ended_at,
            "now": now,
        },
    )


async def set_summary(conn: Connection, conversation_id: UUID, summary: str, *, replace: bool) -> None:
    """Give a conversation the platform's summary, where it has none or where it is to be replaced."""
    await conn.execute(
        "UPDATE conversations SET summary = %s WHERE id = %s AND (summary IS NULL OR %s)",
        (summary, conversation_id, replace),
    )


async def due(conn: Connection, ended_before: datetime, now: datetime, limit: int) -> list[Due]:
    """Sessions that ended before a time and are not accounted for, the oldest first.

    The platform never saw one that nobody connected to, nor one that went on without it.
    """
    async with conn.cursor(row_factory=class_row(Due)) as cursor:
        await cursor.execute(
            """
            SELECT s.conversation_id, s.session, s.elevenlabs_conversation_id AS platform_id, s.session_start_time,
                   s.session_end_time
            FROM conversation_sessions AS s
            WHERE s.reconciled_at IS NULL AND s.session_end_time < %(before)s
              AND (s.elevenlabs_conversation_id IS NOT NULL OR (s.connected_at IS NOT NULL AND NOT s.degraded))
              AND (s.reconcile_after IS NULL OR s.reconcile_after <= %(now)s)
            ORDER BY s.session_end_time LIMIT %(limit)s
            """,
            {"before": ended_before, "now": now, "limit": limit},
        )
        return await cursor.fetchall()


async def postpone(conn: Connection, key: Key, until: datetime) -> None:
    """Ask for a session again at a time."""
    await conn.execute(
        "UPDATE conversation_sessions SET reconcile_after = %s WHERE conversation_id = %s AND session = %s",
        (until, key.conversation_id, key.session),
    )


async def unknown(conn: Connection, platform_ids: list[str]) -> list[str]:
    """Those of the platform's ids that no session of ours has."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT given.id FROM unnest(%s::text[]) WITH ORDINALITY AS given (id, place)
            WHERE NOT EXISTS (SELECT FROM conversation_sessions AS s WHERE s.elevenlabs_conversation_id = given.id)
            ORDER BY given.place
            """,
            (platform_ids,),
        )
        found: list[str] = await cursor.fetchall()
    return found


async def our_agents(conn: Connection, agent_ids: list[str]) -> set[str]:
    """Those of these agents that sessions of ours talked to; others of the same workspace are none of our business."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "SELECT agent_id FROM platform_agents WHERE agent_id = ANY (%s) AND agent_id IS NOT NULL", (agent_ids,)
        )
        return set(await cursor.fetchall())
