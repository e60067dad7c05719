"""What tests of analytics share: conversations as rows, events as the features write them, and the consumers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from oneiro.analytics.agents import subscribers as agents
from oneiro.analytics.conversations import subscribers as conversations
from oneiro.database.pool import Database
from oneiro.events import outbox
from oneiro.events.bell import Bell
from oneiro.events.consumers import Consumer, Retries, Worker
from oneiro.events.models import EventType
from oneiro.events.sequencer import Sequencer

Rows = list[dict[str, Any]]
Look = Callable[..., Awaitable[Rows]]

# Half past ten in the morning: thirty minutes into an hour.
ENDED = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    database = Database(service_url, max_size=8, timeout=30.0)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def look(db_url: str) -> Look:
    """Runs a statement as the superuser and gives its rows."""

    async def rows(statement: str, *values: object) -> Rows:
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True, row_factory=dict_row) as conn:
            cursor = await conn.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    return rows


@dataclass
class Talk:
    """A conversation to be written down; `lines` are (sender, text, seconds after its start, metadata)."""

    lines: Sequence[tuple[Any, ...]] = ()
    end_reason: str = "user_ended"
    status: str = "completed"
    seconds: int = 600
    ended_at: datetime = ENDED
    transport: str = "direct"
    language: str = "en"
    interpreter_id: str = "carl"
    arm_id: UUID | None = None
    rating: int | None = None
    upstream_calls: int = 1
    agent_known: bool | None = True
    sessions: Sequence[dict[str, Any]] = field(default_factory=lambda: [{}])


class House:
    """A database with Carl and Lakshmi and dreamers; writes conversations and runs the consumers."""

    def __init__(self, database: Database, look: Look, bell: Bell) -> None:
        self.database, self.look, self._bell = database, look, bell
        self._sequencer = Sequencer(database, bell)
        self.retries = Retries(attempts=1)

    async def furnish(self) -> None:
        for name in ("carl", "lakshmi"):
            await self.look(
                "INSERT INTO interpreter_configs (id, name, full_name, description) VALUES (%s, initcap(%s), 'X', 'x')",
                name,
                name,
            )
            await self.look(
                "INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by)"
                " VALUES (%s, 1, '{}', 'aa', 'seed')",
                name,
            )

    async def dreamer(self, *, analytics: bool = True) -> UUID:
        user_id = uuid4()
        consents = {"voice": False, "memory": False, "analytics": analytics}
        await self.look("INSERT INTO profiles (user_id, consents) VALUES (%s, %s)", user_id, Jsonb(consents))
        return user_id

    async def write(self, user_id: UUID, talk: Talk) -> UUID:
        began = talk.ended_at - timedelta(seconds=talk.seconds)
        rows = await self.look(
            """
            INSERT INTO conversations (user_id, interpreter_id, status, transport, language, release_id, arm_id,
                                       started_at, ended_at, end_reason, rating, upstream_calls, agent_known,
                                       start_ms, message_count,
                                       agent_id, created_at)
            SELECT %s, %s, %s, %s, %s, r.id, %s, %s, %s, %s, %s, %s, %s, 40, %s, 'agent_1', %s
            FROM interpreter_releases AS r WHERE r.interpreter_id = %s ORDER BY number LIMIT 1 RETURNING id
            """,
            user_id,
            talk.interpreter_id,
            talk.status,
            talk.transport,
            talk.language,
            talk.arm_id,
            began if talk.status != "failed" else None,
            talk.ended_at if talk.status in {"completed", "failed"} else None,
            talk.end_reason if talk.status in {"completed", "failed"} else None,
            talk.rating,
            talk.upstream_calls,
            talk.agent_known,
            len(talk.lines),
            began,
            talk.interpreter_id,
        )
        conversation_id: UUID = rows[0]["id"]
        for line in talk.lines:
            await self.say(conversation_id, *line, began=began)
        for number, session in enumerate(talk.sessions, 1):
            row = {
                "connection_count": 1,
                "session_start_time": began,
                "connected_at": began + timedelta(seconds=1),
                "session_end_time": talk.ended_at,
                "close_code": 1000,
                "error_log": [],
                "session_metadata": {},
                **session,
            }
            row = {name: Jsonb(value) if isinstance(value, (dict, list)) else value for name, value in row.items()}
            await self.look(
                f"INSERT INTO conversation_sessions (conversation_id, session, {', '.join(row)})"
                f" VALUES (%s, %s{', %s' * len(row)})",
                conversation_id,
                number,
                *row.values(),
            )
        return conversation_id

    async def say(
        self,
        conversation_id: UUID,
        sender: str,
        content: str,
        second: float = 0,
        metadata: dict[str, Any] | None = None,
        *,
        began: datetime = ENDED - timedelta(seconds=600),
    ) -> None:
        await self.look(
            "INSERT INTO messages (conversation_id, sender, content, occurred_at, metadata)"
            " VALUES (%s, %s, %s, %s, %s)",
            conversation_id,
            sender,
            content,
            began + timedelta(seconds=second),
            Jsonb(metadata or {}),
        )

    async def tell(self, conversation_id: UUID, kind: EventType, **data: object) -> None:
        async with self.database.as_service() as conn:
            await outbox.record(conn, kind, entity_type="conversation", entity_id=str(conversation_id), data=data)

    async def tell_of(self, entity_type: str, entity_id: str, kind: EventType, **data: object) -> None:
        async with self.database.as_service() as conn:
            await outbox.record(conn, kind, entity_type=entity_type, entity_id=entity_id, data=data)

    async def consume(self, *consumers: Consumer) -> None:
        while await self._sequencer.step():
            pass
        for consumer in consumers or (conversations.CONSUMER, agents.CONSUMER):
            worker = Worker(self.database, self._bell, consumer, retries=self.retries)
            while await worker.step():
                pass
            await worker.release()

    async def ended(self, user_id: UUID, talk: Talk) -> UUID:
        """Write a conversation that is over, and let the consumers see its end."""
        conversation_id = await self.write(user_id, talk)
        if talk.status == "failed":
            await self.tell(conversation_id, "conversation.failed", code=talk.end_reason)
        else:
            await self.tell(conversation_id, "conversation.ended", reason=talk.end_reason, seconds=1, messages=1)
        await self.consume()
        return conversation_id

    async def row(self, conversation_id: UUID) -> dict[str, Any]:
        rows = await self.look("SELECT * FROM conversation_analytics WHERE conversation_id = %s", conversation_id)
        assert len(rows) == 1
        return rows[0]


@pytest.fixture
async def house(database: Database, look: Look, service_url: str) -> House:
    house = House(database, look, Bell(service_url))
    await house.furnish()
    return house


@pytest.fixture
def talk() -> Callable[..., Talk]:
    """Makes a conversation to be written down, of a few lines unless others are given."""
    lines = [
        ("interpreter", "What did you dream?", 0),
        ("user", "I dreamed of my mother, and I was terribly afraid.", 10),
        ("interpreter", "Afraid of what?", 12),
    ]
    return lambda **changes: Talk(**{"lines": lines, **changes})
