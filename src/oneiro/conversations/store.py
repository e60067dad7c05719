"""The rows of `conversations` and what was said in them, read; made, locked, rated and deleted."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from oneiro.conversations.models import Conversation, Message, Sender, Status, Tier, Transport
from oneiro.conversations.slots import store as slots
from oneiro.conversations.state import State, state
from oneiro.conversations.transitions import store as transitions
from oneiro.database.pool import Connection
from oneiro.events import store as events
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
    arm_id: UUID | None
    created_at: datetime
    expires_at: datetime
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Locked:
    """What a verb needs to know of a conversation whose row it holds; `session` is the number of its latest one."""

    conversation_id: UUID
    user_id: UUID
    status: Status
    paused_at: datetime | None
    transport: Transport | None
    text_only: bool
    language: str
    model: str
    safety_tier: Tier
    interpreter_id: str
    release: int
    dream_id: UUID | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    wrapped_up_at: datetime | None
    message_count: int
    elevenlabs_conversation_id: str | None
    session: int
    session_connected_at: datetime | None

    @property
    def state(self) -> State:
        """Where it stands."""
        return state(self.status, paused=self.paused_at is not None)

    @property
    def ended(self) -> bool:
        """Whether nothing can happen in it any more."""
        return self.status in {"completed", "failed"}


_INSERT: Final = SQL(
    """
    INSERT INTO conversations (id, user_id, interpreter_id, dream_id, transport, text_only, language, model, priority,
                               release_id, arm_id, created_at, last_activity_at, expires_at, metadata {more})
    VALUES (%(id)s, %(user_id)s, %(interpreter_id)s, %(dream_id)s, %(transport)s, %(text_only)s, %(language)s,
            %(model)s, %(priority)s, %(release_id)s, %(arm_id)s, %(created_at)s, %(created_at)s, %(expires_at)s,
            %(metadata)s {values})
    """
)
_INSERT_WANTED: Final = _INSERT.format(more=SQL(""), values=SQL("")).as_bytes()
_INSERT_OPENED: Final = (
    SQL(
        """
        WITH begun AS ({conversation} RETURNING id), opened AS ({session}), told AS ({events})
        {reserve}
        """
    )
    .format(
        conversation=_INSERT.format(
            more=SQL(", {}").format(transitions.STARTED), values=SQL(", {}").format(transitions.STARTED_VALUES)
        ),
        session=transitions.SESSION,
        events=events.INSERT,
        reserve=slots.RESERVE.format(among=SQL("begun,"), conversation=SQL("begun.id")),
    )
    .as_bytes()
)


async def insert(conn: Connection, new: NewConversation) -> None:
    """Insert a conversation as `initializing`."""
    await conn.execute(_INSERT_WANTED, _values(new))


async def insert_opened(
    conn: Connection,
    new: NewConversation,
    opened: transitions.Opened,
    *,
    ms: int,
    told: Mapping[str, object],
    slot: slots.Reservation,
) -> tuple[int, datetime | None]:
    """Insert a conversation that can be opened already, with its first session and events, and reserve its slot.

    One statement, since the way there and back is most of what one costs. `ms` is what the start took us, `told` the
    values of its events. Returns what `slots.RESERVE` finds.
    """
    values = {**_values(new), **opened.values(), **told, **slot.values(), "session": 1, "ms": ms}
    result = await conn.execute(_INSERT_OPENED, values)
    row = await result.fetchone()
    assert row is not None
    return row[0], row[1]


def _values(new: NewConversation) -> dict[str, object]:
    return {field.name: getattr(new, field.name) for field in fields(new)} | {"metadata": Jsonb(new.metadata)}


async def lock(conn: Connection, user_id: UUID | None, conversation_id: UUID) -> Locked | None:
    """Lock a dreamer's conversation before the first write, so that its events get their order from it.

    Without a dreamer it is anybody's that we lead: for what the service itself does with it.
    """
    # The row is locked by a statement of its own, so that the next one sees what the last holder committed.
    held = await conn.execute(
        """
        SELECT 1 FROM conversations
        WHERE id = %(id)s AND release_id IS NOT NULL AND (%(user_id)s::uuid IS NULL OR user_id = %(user_id)s)
        FOR NO KEY UPDATE
        """,
        {"id": conversation_id, "user_id": user_id},
    )
    return await look(conn, user_id, conversation_id) if held.rowcount else None


async def look(conn: Connection, user_id: UUID | None, conversation_id: UUID) -> Locked | None:
    """The same, without holding it."""
    async with conn.cursor(row_factory=class_row(Locked)) as cursor:
        await cursor.execute(
            """
            SELECT c.id AS conversation_id, c.user_id, c.status, c.paused_at, c.transport, c.text_only, c.language,
                   c.model, c.safety_tier, c.interpreter_id, r.number AS release, c.dream_id, c.created_at,
                   c.started_at, c.ended_at, c.wrapped_up_at, c.message_count, c.elevenlabs_conversation_id,
                   coalesce(s.session, 0) AS session, s.connected_at AS session_connected_at
            FROM conversations AS c
            JOIN interpreter_releases AS r ON r.id = c.release_id
            LEFT JOIN LATERAL (
                SELECT session, connected_at FROM conversation_sessions
                WHERE conversation_id = c.id ORDER BY session DESC LIMIT 1
            ) AS s ON true
            WHERE c.id = %(id)s AND (%(user_id)s::uuid IS NULL OR c.user_id = %(user_id)s)
            """,
            {"id": conversation_id, "user_id": user_id},
        )
        return await cursor.fetchone()


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


async def delete(conn: Connection, user_id: UUID, conversation_id: UUID) -> None:
    """Delete a conversation, all that was said and measured in it, and a draft that came of it; a kept dream stays.

    Each table is named, because a host application's own table has no cascade of ours.
    """
    for statement in (
        "DELETE FROM dreams WHERE source_conversation_id = %(id)s AND user_id = %(user_id)s AND status = 'draft'",
        "UPDATE dreams SET source_conversation_id = NULL WHERE source_conversation_id = %(id)s",
        "DELETE FROM messages WHERE conversation_id = %(id)s",
        "DELETE FROM agent_metrics WHERE conversation_id = %(id)s",
        "DELETE FROM conversation_analytics WHERE conversation_id = %(id)s",
        # One that nobody has seen to stays in the safety queue.
        "DELETE FROM safety_flags WHERE conversation_id = %(id)s AND acknowledged_at IS NOT NULL",
        "DELETE FROM conversations WHERE id = %(id)s AND user_id = %(user_id)s",
    ):
        await conn.execute(statement, {"id": conversation_id, "user_id": user_id})


async def at_platform(conn: Connection, conversation_id: UUID) -> list[dict[str, Any]]:
    """The sessions that the platform may have, as `conversation.deleted` tells of them.

    One without the platform's id is one of which nobody told us: a client on its own socket went away.
    """
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT jsonb_build_object(
                'elevenlabs_conversation_id', s.elevenlabs_conversation_id, 'agent_id', s.agent_id,
                'since', s.session_start_time, 'until', s.signed_url_expires_at, 'over_at', s.session_end_time,
                'direct', c.transport IS NOT DISTINCT FROM 'direct')
            FROM conversation_sessions AS s JOIN conversations AS c ON c.id = s.conversation_id
            WHERE c.id = %s AND (
                s.elevenlabs_conversation_id IS NOT NULL
                OR (s.agent_id IS NOT NULL AND s.signed_url_expires_at IS NOT NULL AND NOT s.degraded
                    AND (s.connected_at IS NOT NULL OR c.transport = 'direct'))
            )
            ORDER BY s.session
            """,
            (conversation_id,),
        )
        found: list[dict[str, Any]] = await cursor.fetchall()
    return found


async def find(conn: Connection, user_id: UUID, conversation_id: UUID) -> Conversation | None:
    """One conversation of this dreamer."""
    async with conn.cursor(row_factory=class_row(Conversation)) as cursor:
        await cursor.execute(
            """
            SELECT id AS conversation_id, interpreter_id, dream_id, status, transport, created_at, started_at,
                   paused_at, ended_at, end_reason, summary, rating, connection_count, message_count, degraded,
                   safety_tier
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
                   paused_at, ended_at, end_reason, summary, rating, connection_count, message_count, degraded,
                   safety_tier
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


async def latest_lines(conn: Connection, conversation_id: UUID, limit: int = 60) -> list[tuple[Sender, str]]:
    """The last lines that were said, in order."""
    cursor = await conn.execute(
        """
        SELECT sender, content FROM messages WHERE conversation_id = %s ORDER BY occurred_at DESC, ordinal DESC LIMIT %s
        """,
        (conversation_id, limit),
    )
    return [(row[0], row[1]) async for row in cursor][::-1]
