"""The rows of `conversations`, `conversation_sessions` and `messages`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from oneiro.conversations.models import Conversation, EndReason, Message, NewMessage, Sender, Status, Tier, Transport
from oneiro.database.pool import Connection
from oneiro.http import Cursor


@dataclass(frozen=True, slots=True)
class NewConversation:
    """A conversation's row at its beginning."""

    id: UUID
    user_id: UUID
    interpreter_id: str
    dream_id: UUID | None
    transport: Transport
    text_only: bool
    language: str
    model: str
    priority: str
    release_id: UUID
    expires_at: datetime
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Locked:
    """What a verb needs to know of a conversation whose row it holds."""

    conversation_id: UUID
    status: Status
    transport: Transport | None
    language: str
    safety_tier: Tier
    interpreter_id: str
    started_at: datetime | None
    elevenlabs_conversation_id: str | None


async def insert(conn: Connection, new: NewConversation) -> None:
    """Insert a conversation as `initializing`."""
    await conn.execute(
        """
        INSERT INTO conversations (id, user_id, interpreter_id, dream_id, transport, text_only, language, model,
                                   priority, release_id, expires_at, metadata)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            new.id,
            new.user_id,
            new.interpreter_id,
            new.dream_id,
            new.transport,
            new.text_only,
            new.language,
            new.model,
            new.priority,
            new.release_id,
            new.expires_at,
            Jsonb(new.metadata),
        ),
    )


async def lock(conn: Connection, user_id: UUID, conversation_id: UUID) -> Locked | None:
    """Lock a dreamer's conversation before the first write, so that its events get their order from it."""
    async with conn.cursor(row_factory=class_row(Locked)) as cursor:
        await cursor.execute(
            """
            SELECT id AS conversation_id, status, transport, language, safety_tier, interpreter_id, started_at,
                   elevenlabs_conversation_id
            FROM conversations WHERE id = %s AND user_id = %s AND release_id IS NOT NULL
            FOR NO KEY UPDATE
            """,
            (conversation_id, user_id),
        )
        return await cursor.fetchone()


@dataclass(frozen=True, slots=True)
class Opened:
    """What is known once there is an address to open."""

    agent_id: str
    prompt_sha256: str
    variable_names: list[str]
    upstream_calls: int
    expires_at: datetime


async def start(conn: Connection, conversation_id: UUID, opened: Opened, now: datetime) -> None:
    """Make a conversation active, with its first session."""
    await conn.execute(
        """
        UPDATE conversations
        SET status = 'active', started_at = %(now)s, last_activity_at = %(now)s, agent_id = %(agent_id)s,
            prompt_sha256 = %(prompt_sha256)s, variable_names = %(variable_names)s,
            upstream_calls = %(upstream_calls)s, expires_at = %(expires_at)s
        WHERE id = %(id)s
        """,
        {
            "id": conversation_id,
            "now": now,
            "agent_id": opened.agent_id,
            "prompt_sha256": opened.prompt_sha256,
            "variable_names": opened.variable_names,
            "upstream_calls": opened.upstream_calls,
            "expires_at": opened.expires_at,
        },
    )
    await conn.execute(
        """
        INSERT INTO conversation_sessions (conversation_id, agent_id, signed_url_expires_at, session_start_time,
                                           last_activity_at)
        VALUES (%s, %s, %s, %s, %s)
        """,
        (conversation_id, opened.agent_id, opened.expires_at, now, now),
    )


async def fail(conn: Connection, conversation_id: UUID, code: str, now: datetime) -> None:
    """Note that a conversation could not start."""
    await conn.execute(
        """
        UPDATE conversations SET status = 'failed', ended_at = %s, end_reason = 'error', error_code = %s
        WHERE id = %s
        """,
        (now, code, conversation_id),
    )


async def connect(conn: Connection, conversation_id: UUID, platform_id: str, now: datetime) -> int:
    """Note the platform's id for the current session; returns the session's number."""
    await conn.execute(
        """
        UPDATE conversations
        SET elevenlabs_conversation_id = %s, connection_count = connection_count + 1, last_activity_at = %s
        WHERE id = %s
        """,
        (platform_id, now, conversation_id),
    )
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            UPDATE conversation_sessions
            SET elevenlabs_conversation_id = %(platform_id)s, connection_count = connection_count + 1,
                connected_at = coalesce(connected_at, %(now)s), last_activity_at = %(now)s
            WHERE conversation_id = %(id)s
              AND session = (SELECT max(session) FROM conversation_sessions WHERE conversation_id = %(id)s)
            RETURNING session
            """,
            {"id": conversation_id, "platform_id": platform_id, "now": now},
        )
        number: int | None = await cursor.fetchone()
    assert number is not None
    return number


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message that was new."""

    id: str
    sender: Sender
    chars: int


async def insert_messages(
    conn: Connection, conversation_id: UUID, messages: list[NewMessage], now: datetime
) -> list[StoredMessage]:
    """Insert the messages whose event ids are new, in one statement; returns these, in order."""
    async with conn.cursor(row_factory=class_row(StoredMessage)) as cursor:
        await cursor.execute(
            """
            INSERT INTO messages (conversation_id, event_id, sender, content, occurred_at, metadata, session)
            SELECT %(id)s, m.event_id, m.sender, m.content, m.occurred_at, m.metadata, latest.session
            FROM unnest(%(event_ids)s::text[], %(senders)s::text[], %(contents)s::text[], %(times)s::timestamptz[],
                        %(metadata)s::jsonb[]) WITH ORDINALITY
                 AS m (event_id, sender, content, occurred_at, metadata, place),
                 (SELECT max(session) AS session FROM conversation_sessions WHERE conversation_id = %(id)s) AS latest
            ORDER BY m.place
            ON CONFLICT (conversation_id, event_id) DO NOTHING
            RETURNING id::text AS id, sender, char_length(content) AS chars
            """,
            {
                "id": conversation_id,
                "event_ids": [message.event_id for message in messages],
                "senders": [message.sender for message in messages],
                "contents": [message.content for message in messages],
                "times": [message.timestamp or now for message in messages],
                "metadata": [Jsonb(message.metadata) for message in messages],
            },
        )
        return await cursor.fetchall()


async def note_activity(conn: Connection, conversation_id: UUID, stored: int, tier: Tier, now: datetime) -> None:
    """Count messages, note the time, and raise the safety tier."""
    await conn.execute(
        """
        UPDATE conversations
        SET message_count = message_count + %s, last_activity_at = %s, safety_tier = %s
        WHERE id = %s
        """,
        (stored, now, tier, conversation_id),
    )
    await conn.execute(
        """
        UPDATE conversation_sessions SET last_activity_at = %s
        WHERE conversation_id = %s AND session_status = 'active'
        """,
        (now, conversation_id),
    )


async def end(
    conn: Connection, conversation_id: UUID, status: Status, reason: EndReason, summary: str | None, now: datetime
) -> None:
    """Note how a conversation ended, and end its sessions."""
    await conn.execute(
        """
        UPDATE conversations
        SET status = %s, ended_at = %s, end_reason = %s, summary = coalesce(%s, summary)
        WHERE id = %s
        """,
        (status, now, reason, summary, conversation_id),
    )
    await conn.execute(
        """
        UPDATE conversation_sessions SET session_status = 'ended', session_end_time = %s
        WHERE conversation_id = %s AND session_status IN ('active', 'paused')
        """,
        (now, conversation_id),
    )


async def rate(conn: Connection, conversation_id: UUID, score: int, comment: str | None) -> bool:
    """Write the rating; false when it stood there already."""
    result = await conn.execute(
        """
        UPDATE conversations SET rating = %(score)s, rating_comment = %(comment)s
        WHERE id = %(id)s AND (rating, rating_comment) IS DISTINCT FROM (%(score)s::smallint, %(comment)s::text)
        """,
        {"id": conversation_id, "score": score, "comment": comment},
    )
    return result.rowcount == 1


async def find(conn: Connection, user_id: UUID, conversation_id: UUID) -> Conversation | None:
    """One conversation of this dreamer."""
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        await cursor.execute(
            """
            SELECT id AS conversation_id, interpreter_id, dream_id, status, transport, created_at, started_at,
                   ended_at, end_reason, summary, rating, connection_count, message_count, degraded, safety_tier
            FROM conversations WHERE id = %s AND user_id = %s AND release_id IS NOT NULL
            """,
            (conversation_id, user_id),
        )
        return await cursor.fetchone()


async def select(conn: Connection, user_id: UUID, limit: int, after: Cursor | None) -> list[Conversation]:
    """The dreamer's conversations, newest first, after a cursor."""
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        await cursor.execute(
            """
            SELECT id AS conversation_id, interpreter_id, dream_id, status, transport, created_at, started_at,
                   ended_at, end_reason, summary, rating, connection_count, message_count, degraded, safety_tier
            FROM conversations
            WHERE user_id = %(user_id)s AND release_id IS NOT NULL
              AND (%(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s::uuid))
            ORDER BY created_at DESC, id DESC
            LIMIT %(limit)s
            """,
            {"user_id": user_id, "limit": limit, "at": after and after.at, "id": after and after.uuid},
        )
        return await cursor.fetchall()


async def select_messages(
    conn: Connection, conversation_id: UUID, limit: int, after: Cursor | None
) -> list[tuple[int, Message]]:
    """Messages in the order in which they were said, after a time and ordinal; each with its ordinal."""
    cursor = await conn.execute(
        """
        SELECT ordinal, id::text, event_id, sender, content, original_content, occurred_at, metadata
        FROM messages
        WHERE conversation_id = %(id)s
          AND (%(at)s::timestamptz IS NULL OR (occurred_at, ordinal) > (%(at)s, %(ordinal)s::bigint))
        ORDER BY occurred_at, ordinal
        LIMIT %(limit)s
        """,
        {"id": conversation_id, "limit": limit, "at": after and after.at, "ordinal": after and after.number},
    )
    names = ("id", "event_id", "sender", "content", "original_content", "occurred_at", "metadata")
    return [(row[0], Message(**dict(zip(names, row[1:], strict=True)))) async for row in cursor]


async def transcript(conn: Connection, conversation_id: UUID, limit: int = 500) -> list[tuple[Sender, str]]:
    """Who said what, in order."""
    cursor = await conn.execute(
        "SELECT sender, content FROM messages WHERE conversation_id = %s ORDER BY occurred_at, ordinal LIMIT %s",
        (conversation_id, limit),
    )
    return [(row[0], row[1]) async for row in cursor]


async def last_summary(conn: Connection, user_id: UUID, interpreter_id: str) -> str | None:
    """The summary of the dreamer's latest conversation with this interpreter, if she has had one."""
    cursor = await conn.execute(
        """
        SELECT summary FROM conversations
        WHERE user_id = %s AND interpreter_id = %s AND status = 'completed' AND summary IS NOT NULL
          AND message_count > 0
        ORDER BY created_at DESC LIMIT 1
        """,
        (user_id, interpreter_id),
    )
    row = await cursor.fetchone()
    return row[0] if row else None
