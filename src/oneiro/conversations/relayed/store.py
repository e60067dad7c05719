"""The rows of relayed sessions; whoever writes holds the conversation's row."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from oneiro.conversations.models import Sender
from oneiro.conversations.relayed.models import Elsewhere, Fault, Line, Row
from oneiro.database.pool import Connection
from oneiro.safety.crisis import Tier


async def find(conn: Connection, ticket_sha256: str) -> Row | None:
    """The session that a ticket opens."""
    async with conn.cursor(row_factory=class_row(Row)) as cursor:
        await cursor.execute(
            """
            SELECT c.id AS conversation_id, c.user_id, s.session, s.agent_id, c.interpreter_id,
                   r.number AS release, c.dream_id, c.language, c.model, c.text_only, c.safety_tier, c.status,
                   s.session_status, c.started_at, s.connected_at, s.signed_url_expires_at AS expires_at,
                   c.traceparent, s.degraded
            FROM conversation_sessions AS s
            JOIN conversations AS c ON c.id = s.conversation_id
            JOIN interpreter_releases AS r ON r.id = c.release_id
            WHERE s.ticket_sha256 = %s
            """,
            (ticket_sha256,),
        )
        return await cursor.fetchone()


async def use_up(conn: Connection, conversation_id: UUID, session: int, now: datetime) -> bool:
    """Use up a session's ticket; false when somebody else did, or when the session is over."""
    result = await conn.execute(
        """
        UPDATE conversation_sessions SET connected_at = %s
        WHERE conversation_id = %s AND session = %s AND connected_at IS NULL AND session_status = 'active'
        """,
        (now, conversation_id, session),
    )
    return result.rowcount == 1


async def begin(conn: Connection, conversation_id: UUID, now: datetime) -> None:
    """Make a conversation active: the platform has answered."""
    await conn.execute(
        "UPDATE conversations SET status = 'active', started_at = %s WHERE id = %s AND status = 'initializing'",
        (now, conversation_id),
    )


async def prepared(conn: Connection, conversation_id: UUID) -> dict[str, object]:
    """What the start of a conversation took, as its event tells it."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            """
            SELECT coalesce(prompt_sha256, '') AS prompt_sha256, upstream_calls, agent_known, start_ms AS ms
            FROM conversations WHERE id = %s
            """,
            (conversation_id,),
        )
        row = await cursor.fetchone()
    assert row is not None
    return row


async def set_agent(conn: Connection, conversation_id: UUID, session: int, agent_id: str) -> None:
    """Note another agent in place of one that the platform had forgotten; at a start it was not known, then."""
    await conn.execute(
        """
        UPDATE conversations
        SET agent_id = %s, agent_known = CASE WHEN status = 'initializing' THEN false ELSE agent_known END
        WHERE id = %s
        """,
        (agent_id, conversation_id),
    )
    await conn.execute(
        "UPDATE conversation_sessions SET agent_id = %s WHERE conversation_id = %s AND session = %s",
        (agent_id, conversation_id, session),
    )


async def mark_session(conn: Connection, conversation_id: UUID, session: int, *, degraded: bool) -> None:
    """Note whether a session goes without the platform."""
    await conn.execute(
        """
        UPDATE conversation_sessions SET degraded = %(degraded)s
        WHERE conversation_id = %(id)s AND session = %(session)s AND degraded <> %(degraded)s
        """,
        {"id": conversation_id, "session": session, "degraded": degraded},
    )


async def mark(conn: Connection, conversation_id: UUID, *, degraded: bool) -> bool:
    """Note whether a conversation goes on without the platform; whether that is news."""
    result = await conn.execute(
        "UPDATE conversations SET degraded = %(degraded)s WHERE id = %(id)s AND degraded <> %(degraded)s",
        {"id": conversation_id, "degraded": degraded},
    )
    return result.rowcount == 1


@dataclass(frozen=True, slots=True)
class StoredLine:
    """A line that was new."""

    id: str
    event_id: str
    sender: Sender
    chars: int


async def insert_lines(
    conn: Connection, conversation_id: UUID, session: int, lines: list[Line], *, late: bool = False
) -> list[StoredLine]:
    """Insert the lines whose event ids are new, in one statement; returns these, in order.

    late: they may come after the platform's account of the session; what was filled in from it is not inserted again,
    also where one of the two is the beginning of the other: of a reply that was cut it gets the whole as its original.
    """
    async with conn.cursor(row_factory=class_row(StoredLine)) as cursor:
        await cursor.execute(
            r"""
            WITH l AS (
                SELECT * FROM unnest(%(event_ids)s::text[], %(senders)s::text[], %(contents)s::text[],
                                     %(times)s::timestamptz[], %(metadata)s::jsonb[]) WITH ORDINALITY
                     AS l (event_id, sender, content, occurred_at, metadata, place)
            ), filled AS (
                SELECT m.id, l.event_id, l.content, char_length(words.said) > char_length(words.filled) AS cut
                FROM l JOIN messages AS m ON m.conversation_id = %(id)s AND m.sender = l.sender
                    AND starts_with(m.event_id, %(session)s || ':platform:')
                CROSS JOIN LATERAL (SELECT rtrim(regexp_replace(m.content, '\s+', ' ', 'g'), ' .…-—') AS filled,
                                           rtrim(regexp_replace(l.content, '\s+', ' ', 'g'), ' .…-—') AS said) AS words
                WHERE %(late)s AND CASE WHEN '' IN (filled, said) THEN m.content = l.content
                                        ELSE starts_with(said, filled) OR starts_with(filled, said) END
            ), whole AS (
                UPDATE messages AS m SET original_content = filled.content FROM filled
                WHERE m.id = filled.id AND filled.cut AND m.original_content IS NULL
            )
            INSERT INTO messages (conversation_id, event_id, sender, content, occurred_at, metadata, session)
            SELECT %(id)s, l.event_id, l.sender, l.content, l.occurred_at, l.metadata, %(session)s FROM l
            WHERE l.event_id NOT IN (SELECT event_id FROM filled)
            ORDER BY l.place
            ON CONFLICT (conversation_id, event_id) DO NOTHING
            RETURNING id::text AS id, event_id, sender, char_length(content) AS chars
            """,
            {
                "id": conversation_id,
                "session": session,
                "event_ids": [line.event_id for line in lines],
                "senders": [line.sender for line in lines],
                "contents": [line.text for line in lines],
                "times": [line.at for line in lines],
                "metadata": [Jsonb(line.metadata) for line in lines],
                "late": late,
            },
        )
        return await cursor.fetchall()


async def has_line(conn: Connection, conversation_id: UUID, event_id: str) -> bool:
    """Whether a line is there."""
    result = await conn.execute(
        "SELECT 1 FROM messages WHERE conversation_id = %s AND event_id = %s", (conversation_id, event_id)
    )
    return await result.fetchone() is not None


async def set_tier(conn: Connection, conversation_id: UUID, tier: Tier) -> None:
    """Set the safety tier."""
    await conn.execute("UPDATE conversations SET safety_tier = %s WHERE id = %s", (tier.value, conversation_id))


async def count(conn: Connection, conversation_id: UUID, session: int, lines: int, tier: Tier, now: datetime) -> None:
    """Count lines, note the time, and set the safety tier."""
    await conn.execute(
        """
        UPDATE conversations SET message_count = message_count + %s, last_activity_at = %s, safety_tier = %s
        WHERE id = %s
        """,
        (lines, now, tier.value, conversation_id),
    )
    await conn.execute(
        "UPDATE conversation_sessions SET last_activity_at = %s WHERE conversation_id = %s AND session = %s",
        (now, conversation_id, session),
    )


async def amend(conn: Connection, conversation_id: UUID, event_id: str, text: str) -> str | None:
    """Put what was really said in place of a line and keep what stood there; returns the line's id if it changed."""
    result = await conn.execute(
        """
        UPDATE messages
        SET original_content = coalesce(original_content, content), content = %(text)s,
            metadata = metadata || '{"interrupted": true}'
        WHERE conversation_id = %(id)s AND event_id = %(event_id)s AND content <> %(text)s
        RETURNING id::text
        """,
        {"id": conversation_id, "event_id": event_id, "text": text},
    )
    row = await result.fetchone()
    return row[0] if row else None


async def note_fault(conn: Connection, conversation_id: UUID, session: int, fault: Fault, now: datetime) -> None:
    """Append to a session's error log, which keeps its last fifty."""
    await conn.execute(
        """
        UPDATE conversation_sessions
        SET error_log = CASE WHEN jsonb_array_length(coalesce(error_log, '[]')) >= 50 THEN error_log - 0
                             ELSE coalesce(error_log, '[]') END || %s
        WHERE conversation_id = %s AND session = %s
        """,
        (Jsonb({"at": now.isoformat(), "phase": fault.phase, "code": fault.code}), conversation_id, session),
    )


async def close_session(
    conn: Connection, conversation_id: UUID, session: int, status: str, close_code: int, now: datetime
) -> bool:
    """Note how a session was closed; false when it was over already."""
    result = await conn.execute(
        """
        UPDATE conversation_sessions
        SET close_code = %(code)s, session_end_time = coalesce(session_end_time, %(now)s),
            session_status = CASE WHEN session_status = 'active' THEN %(status)s ELSE session_status END
        WHERE conversation_id = %(id)s AND session = %(session)s AND close_code IS NULL
        """,
        {"code": close_code, "now": now, "status": status, "id": conversation_id, "session": session},
    )
    return result.rowcount == 1


async def elsewhere(conn: Connection, conversation_ids: list[UUID], sessions: list[int]) -> list[Elsewhere]:
    """Those of these sessions that are over by what others did; a conversation that was deleted is over, too."""
    async with conn.cursor(row_factory=class_row(Elsewhere)) as cursor:
        await cursor.execute(
            """
            SELECT k.id AS conversation_id, k.session, coalesce(c.status IN ('completed', 'failed'), true) AS ended
            FROM unnest(%s::uuid[], %s::int[]) AS k (id, session)
            LEFT JOIN conversations AS c ON c.id = k.id
            LEFT JOIN conversation_sessions AS s ON s.conversation_id = k.id AND s.session = k.session
            WHERE coalesce(c.status IN ('completed', 'failed') OR s.session_status <> 'active', true)
            """,
            (conversation_ids, sessions),
        )
        return await cursor.fetchall()
