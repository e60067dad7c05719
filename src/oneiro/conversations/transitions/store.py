"""Transitions as rows of `conversations` and `conversation_sessions`; whoever calls holds the conversation's row."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import scalar_row
from psycopg.sql import SQL

from oneiro.conversations.models import EndReason, Status
from oneiro.database.pool import Connection


@dataclass(frozen=True, slots=True)
class Opened:
    """What is known once there is an address to open; with a ticket the relay sees when somebody comes."""

    agent_id: str
    prompt_sha256: str
    variable_names: list[str]
    upstream_calls: int
    expires_at: datetime
    ticket_sha256: str | None = None
    agent_known: bool | None = None

    def values(self) -> dict[str, object]:
        """The values of `STARTED` and `SESSION`, but for those that are no part of the address."""
        return {
            "agent_id": self.agent_id,
            "prompt_sha256": self.prompt_sha256,
            "variable_names": self.variable_names,
            "upstream_calls": self.upstream_calls,
            "expires_at": self.expires_at,
            "ticket_sha256": self.ticket_sha256,
            "agent_known": self.agent_known,
        }


STARTED: Final = SQL("agent_id, prompt_sha256, variable_names, upstream_calls, agent_known, start_ms")
STARTED_VALUES: Final = SQL(
    "%(agent_id)s, %(prompt_sha256)s, %(variable_names)s, %(upstream_calls)s, %(agent_known)s, %(ms)s"
)
"""What a start writes of its address into the conversation's row; `ms` is what the start took us."""

SESSION: Final = SQL(
    """
    INSERT INTO conversation_sessions (conversation_id, session, agent_id, signed_url_expires_at, ticket_sha256,
                                       session_start_time, last_activity_at)
    VALUES (%(id)s, %(session)s, %(agent_id)s, %(expires_at)s, %(ticket_sha256)s, %(now)s, %(now)s)
    """
)
"""Inserts a session of this number."""

_START: Final = (
    SQL(
        """
        UPDATE conversations
        SET ({started}) = ({values}), last_activity_at = %(now)s, expires_at = %(expires_at)s,
            status = CASE WHEN %(waits)s THEN status ELSE 'active' END,
            started_at = CASE WHEN %(waits)s THEN started_at ELSE %(now)s END
        WHERE id = %(id)s
        """
    )
    .format(started=STARTED, values=STARTED_VALUES)
    .as_bytes()
)


async def start(conn: Connection, conversation_id: UUID, opened: Opened, now: datetime, *, ms: int) -> None:
    """Give a conversation its first session; it is active now, or with a ticket when the platform answers.

    `ms`: what the start took us.
    """
    waits = opened.ticket_sha256 is not None
    await conn.execute(_START, {**opened.values(), "id": conversation_id, "now": now, "waits": waits, "ms": ms})
    await _insert_session(conn, conversation_id, 1, opened, now)


async def resume(conn: Connection, conversation_id: UUID, session: int, opened: Opened, now: datetime) -> None:
    """Make a conversation active again, with a new session of this number; the one before has ended."""
    await _end_sessions(conn, conversation_id, now)
    await conn.execute(
        """
        UPDATE conversations
        SET paused_at = NULL, last_activity_at = %s, agent_id = %s, elevenlabs_conversation_id = NULL,
            upstream_calls = upstream_calls + %s, expires_at = %s
        WHERE id = %s
        """,
        (now, opened.agent_id, opened.upstream_calls, opened.expires_at, conversation_id),
    )
    await _insert_session(conn, conversation_id, session, opened, now)


async def readdress(conn: Connection, conversation_id: UUID, session: int, opened: Opened, now: datetime) -> None:
    """Give a session that nobody has connected to yet another address."""
    await conn.execute(
        "UPDATE conversations SET last_activity_at = %s, agent_id = %s, expires_at = %s WHERE id = %s",
        (now, opened.agent_id, opened.expires_at, conversation_id),
    )
    await conn.execute(
        """
        UPDATE conversation_sessions
        SET agent_id = %s, signed_url_expires_at = %s, ticket_sha256 = %s, last_activity_at = %s
        WHERE conversation_id = %s AND session = %s
        """,
        (opened.agent_id, opened.expires_at, opened.ticket_sha256, now, conversation_id, session),
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


async def session_of(conn: Connection, platform_id: str) -> UUID | None:
    """The conversation that one of the platform's ids belongs to."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "SELECT conversation_id FROM conversation_sessions WHERE elevenlabs_conversation_id = %s", (platform_id,)
        )
        found: UUID | None = await cursor.fetchone()
    return found


async def connect(
    conn: Connection, conversation_id: UUID, session: int, platform_id: str | None, now: datetime
) -> None:
    """Note the platform's id for the latest session, if it has one."""
    await conn.execute(
        """
        UPDATE conversations
        SET elevenlabs_conversation_id = %s, connection_count = connection_count + 1, last_activity_at = %s
        WHERE id = %s
        """,
        (platform_id, now, conversation_id),
    )
    await conn.execute(
        """
        UPDATE conversation_sessions
        SET elevenlabs_conversation_id = %(platform_id)s, connection_count = connection_count + 1,
            connected_at = coalesce(connected_at, %(now)s), last_activity_at = %(now)s
        WHERE conversation_id = %(id)s AND session = %(session)s
        """,
        {"id": conversation_id, "session": session, "platform_id": platform_id, "now": now},
    )


async def pause(conn: Connection, conversation_id: UUID, now: datetime) -> None:
    """Note that nobody is connected any more, and that the dreamer may come back."""
    await conn.execute("UPDATE conversations SET paused_at = %s WHERE id = %s", (now, conversation_id))
    await conn.execute(
        """
        UPDATE conversation_sessions SET session_status = 'paused', session_end_time = %s
        WHERE conversation_id = %s AND session_status = 'active'
        """,
        (now, conversation_id),
    )


async def end(conn: Connection, conversation_id: UUID, status: Status, reason: EndReason, now: datetime) -> None:
    """Note how a conversation ended, and end its sessions."""
    await conn.execute(
        "UPDATE conversations SET status = %s, ended_at = %s, end_reason = %s, paused_at = NULL WHERE id = %s",
        (status, now, reason, conversation_id),
    )
    await _end_sessions(conn, conversation_id, now)


async def _end_sessions(conn: Connection, conversation_id: UUID, now: datetime) -> None:
    await conn.execute(
        """
        UPDATE conversation_sessions SET session_status = 'ended', session_end_time = coalesce(session_end_time, %s)
        WHERE conversation_id = %s AND session_status IN ('active', 'paused')
        """,
        (now, conversation_id),
    )


async def _insert_session(conn: Connection, conversation_id: UUID, session: int, opened: Opened, now: datetime) -> None:
    await conn.execute(SESSION, {**opened.values(), "id": conversation_id, "session": session, "now": now})
