"""What holds after any disaster, asked of the database itself."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg


@dataclass
class Acknowledged:
    """What the service took: event ids of each conversation, in the order in which its client said them."""

    said: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    lines: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    noted: Callable[[], None] | None = None
    """Told of each line."""

    def note(self, conversation_id: str, event_id: str) -> None:
        self.lines[conversation_id].add(event_id)
        if self.noted is not None:
            self.noted()

    @property
    def count(self) -> int:
        return sum(map(len, self.lines.values()))


# Each finds what must not be.
VIOLATIONS: Mapping[str, str] = {
    "a line twice": """
        SELECT conversation_id, sender, md5(content) FROM messages WHERE sender = 'user'
        GROUP BY 1, 2, 3 HAVING count(*) > 1
    """,
    "a count of lines that is wrong": """
        SELECT c.id, c.message_count FROM conversations AS c
        WHERE c.message_count <> (SELECT count(*) FROM messages AS m WHERE m.conversation_id = c.id)
    """,
    "a line without its one event": """
        SELECT m.conversation_id, m.event_id, count(e.id) FROM messages AS m
        LEFT JOIN system_events AS e ON e.event_type = 'conversation.message_received'
            AND e.conversation_id = m.conversation_id AND e.event_data ->> 'message_id' = m.id::text
        GROUP BY 1, 2 HAVING count(e.id) <> 1
    """,
    "an event of a line that is not there": """
        SELECT e.id FROM system_events AS e WHERE e.event_type = 'conversation.message_received'
        AND NOT EXISTS (SELECT FROM messages AS m WHERE m.id::text = e.event_data ->> 'message_id')
    """,
    "a conversation that is not final": """
        SELECT id, status, paused_at FROM conversations WHERE status NOT IN ('completed', 'failed')
    """,
    "a conversation that did not end once": """
        SELECT c.id, c.status, count(e.id) FROM conversations AS c
        LEFT JOIN system_events AS e ON e.conversation_id = c.id
            AND e.event_type IN ('conversation.ended', 'conversation.failed')
        GROUP BY 1, 2
        HAVING count(e.id) <> 1 OR min(e.event_type) <> CASE c.status WHEN 'failed' THEN 'conversation.failed'
                                                                      ELSE 'conversation.ended' END
    """,
    "a session that is open": """
        SELECT conversation_id, session, session_status FROM conversation_sessions
        WHERE session_status IN ('active', 'paused')
    """,
    "an event without a place": "SELECT id, event_type FROM system_events WHERE position IS NULL",
    "a gap between the places": """
        SELECT count(*), min(position), max(position) FROM system_events
        HAVING count(*) > 0 AND (min(position) <> 1 OR max(position) <> count(*))
    """,
    "events of a conversation out of order": """
        SELECT * FROM (
            SELECT conversation_id, position, lag(position) OVER (PARTITION BY conversation_id ORDER BY seq) AS before
            FROM system_events WHERE conversation_id IS NOT NULL
        ) AS e WHERE before > position
    """,
    "a slot that is taken": "SELECT conversation_id, owner, leased_until FROM conversation_slots",
    "a job that is stuck or dead": """
        SELECT kind, state, last_error FROM jobs WHERE state = 'dead' OR (state = 'running' AND lease_until < now())
    """,
    "a consumer that is behind": """
        SELECT c.consumer, c.position, s.position FROM event_cursors AS c, event_cursors AS s
        WHERE s.consumer = 'sequencer' AND c.consumer <> 'sequencer' AND c.position < s.position
    """,
    "an event that is parked": "SELECT consumer, position, error FROM parked_events",
}


# Each finds what will be done yet without anybody's doing.
TO_BE_DONE: Mapping[str, str] = {
    "an event without a place": VIOLATIONS["an event without a place"],
    "a consumer that is behind": VIOLATIONS["a consumer that is behind"],
    # One that is parked is tried again when it has a time for that, and when what it waited behind is gone.
    "a parked event that is to be tried": """
        SELECT p.consumer, p.position, p.error FROM parked_events AS p
        WHERE p.retry_at IS NOT NULL OR (p.attempts = 0 AND NOT EXISTS (
            SELECT FROM parked_events AS earlier
            WHERE earlier.consumer = p.consumer AND earlier.conversation_id = p.conversation_id
              AND earlier.position < p.position))
    """,
    "a job that runs or is due": """
        SELECT kind, state FROM jobs WHERE state = 'running' OR (state = 'queued' AND run_at <= now())
    """,
}


async def found(conn: psycopg.AsyncConnection[Any], asked: Mapping[str, str]) -> dict[str, list[Any]]:
    """What these statements find, by name; nothing of what finds nothing."""
    rows = {name: await (await conn.execute(statement.encode())).fetchall() for name, statement in asked.items()}
    return {name: each[:5] for name, each in rows.items() if each}


async def violations(db_url: str, acknowledged: Acknowledged | None = None) -> dict[str, list[Any]]:
    """What is wrong, by name; empty when all is well."""
    async with await psycopg.AsyncConnection.connect(db_url) as conn:
        wrong = await found(conn, VIOLATIONS)
        cursor = await conn.execute("SELECT conversation_id, event_id FROM messages ORDER BY occurred_at, ordinal")
        kept = await cursor.fetchall()
    transcripts: dict[str, list[str]] = defaultdict(list)
    for conversation_id, event_id in kept:
        transcripts[str(conversation_id)].append(event_id)
    if acknowledged is not None:
        missing, disordered = _missing(acknowledged, transcripts), _disordered(acknowledged, transcripts)
        wrong |= {"an acknowledged line that is missing": missing[:5]} if missing else {}
        wrong |= {"lines out of order": disordered[:5]} if disordered else {}
    return wrong


async def to_be_done(db_url: str) -> dict[str, list[Any]]:
    """What is not at rest yet, by name: all of it as it was at one moment."""
    async with await psycopg.AsyncConnection.connect(db_url) as conn:
        await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        return await found(conn, TO_BE_DONE)


def _missing(acknowledged: Acknowledged, transcripts: Mapping[str, Sequence[str]]) -> list[Any]:
    return [
        (conversation_id, event_id)
        for conversation_id, lines in acknowledged.lines.items()
        for event_id in lines - set(transcripts.get(conversation_id, ()))
    ]


def _disordered(acknowledged: Acknowledged, transcripts: Mapping[str, Sequence[str]]) -> list[Any]:
    wrong = []
    for conversation_id, said in acknowledged.said.items():
        kept = [event_id for event_id in transcripts.get(conversation_id, ()) if event_id in set(said)]
        if kept != [event_id for event_id in said if event_id in set(kept)]:
            wrong.append((conversation_id, kept))
    return wrong
