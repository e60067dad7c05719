"""What tests of reconciling share: rows of a conversation, and a platform that holds what it is told."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from oneiro.conversations.reconcile.service import Reconciler
from oneiro.database.pool import Database
from oneiro.errors import PlatformUnavailable
from oneiro.monitoring.store import snapshot
from oneiro.platform.errors import PlatformLacks, PlatformRefused
from oneiro.platform.held import entry, read
from oneiro.platform.port import HeldConversation, HeldPage

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
START = NOW - timedelta(hours=1)


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    database = Database(service_url, max_size=8, timeout=30.0)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def look(db_url: str) -> Look:
    """Runs a statement as the superuser and gives its rows."""

    async def rows(statement: str, *values: object) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as conn:
            cursor = await conn.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    return rows


@dataclass
class Held:
    """A platform as far as reconciling asks it: accounts by id, in the platform's own shape."""

    accounts: dict[str, dict[str, Any]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    away: bool = False
    asked: list[str] = field(default_factory=list)
    page: int = 2

    async def conversation(self, conversation_id: str) -> HeldConversation:
        self.asked.append(conversation_id)
        if self.away:
            raise PlatformUnavailable("away")
        if conversation_id in self.refused:
            raise PlatformRefused("no")
        held = read(self.accounts.get(conversation_id))
        if held is None:
            raise PlatformLacks("unknown")
        return held

    async def list_conversations(self, started_after: datetime, cursor: str | None = None) -> HeldPage:
        rows = [
            {"conversation_id": key, "agent_id": account["agent_id"]}
            for key, account in self.accounts.items()
            if account["metadata"]["start_time_unix_secs"] >= started_after.timestamp()
        ]
        begin = int(cursor or 0)
        entries = tuple(found for row in rows[begin : begin + self.page] if (found := entry(row)))
        return HeldPage(entries, str(begin + self.page) if begin + self.page < len(rows) else None)


def account(platform_id: str, *said: tuple[str, str], our_id: UUID | None = None, **more: Any) -> dict[str, Any]:
    """The platform's account of a conversation that began an hour ago; a line every ten seconds."""
    began = int(START.timestamp())
    return {
        "conversation_id": platform_id,
        "agent_id": "agent_1",
        "status": "done",
        "transcript": [
            {"role": role, "message": message, "time_in_call_secs": place * 10, "source_event_id": place}
            for place, (role, message) in enumerate(said)
        ],
        "metadata": {
            "start_time_unix_secs": began,
            "call_duration_secs": 95,
            "cost": 420,
            "termination_reason": "Client disconnected",
            "main_language": "en",
        },
        "analysis": {
            "call_successful": "success",
            "transcript_summary": "A heron was spoken of.",
            "evaluation_criteria_results": {"kindness": {"result": "success", "rationale": "It was kind."}},
        },
        "conversation_initiation_client_data": {
            "dynamic_variables": {"conversation_id": str(our_id)} if our_id else {}
        },
    } | more


@pytest.fixture
def platform() -> Held:
    return Held()


@pytest.fixture
def reconciler(database: Database, platform: Held) -> Reconciler:
    return Reconciler(database, platform, clock=lambda: NOW)


Begin = Callable[..., Awaitable[UUID]]


@pytest.fixture
async def begin(look: Look) -> Begin:
    """Makes a conversation of an hour ago with one session, and gives its id."""
    user_id = uuid4()
    await look("INSERT INTO profiles (user_id) VALUES (%s)", user_id)
    await look("INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('carl', 'C', 'C', 'x')")
    [(release_id,)] = await look(
        "INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by)"
        " VALUES ('carl', 1, '{}', 'aa', 'seed') RETURNING id"
    )
    await look(
        "INSERT INTO platform_agents (interpreter_id, release_id, language, model, state, agent_id)"
        " VALUES ('carl', %s, 'en', 'm', 'ready', 'agent_1')",
        release_id,
    )

    async def made(
        platform_id: str | None = None,
        *,
        ended: datetime | None = NOW - timedelta(minutes=30),
        connected: bool = True,
        summary: str | None = "Ours.",
        degraded: bool = False,
    ) -> UUID:
        [(conversation_id,)] = await look(
            "INSERT INTO conversations (user_id, interpreter_id, status, release_id, created_at, started_at, ended_at,"
            " summary, elevenlabs_conversation_id) VALUES (%s, 'carl', %s, %s, %s, %s, %s, %s, %s) RETURNING id",
            user_id,
            "completed" if ended else "active",
            release_id,
            START,
            START,
            ended,
            summary,
            platform_id,
        )
        await look(
            "INSERT INTO conversation_sessions (conversation_id, session, agent_id, elevenlabs_conversation_id,"
            " session_start_time, session_end_time, session_status, connected_at, signed_url_expires_at, degraded)"
            " VALUES (%s, 1, 'agent_1', %s, %s, %s, %s, %s, %s, %s)",
            conversation_id,
            platform_id,
            START,
            ended,
            "ended" if ended else "active",
            START if connected else None,
            START + timedelta(minutes=15),
            degraded,
        )
        found: UUID = conversation_id
        return found

    return made


Said = Callable[..., Awaitable[None]]


@pytest.fixture
def said(look: Look) -> Said:
    """Stores lines of a conversation as a client would have reported them."""

    async def stored(conversation_id: UUID, *lines: tuple[str, str, int]) -> None:
        for sender, content, second in lines:
            await look(
                "INSERT INTO messages (conversation_id, event_id, sender, content, occurred_at)"
                " VALUES (%s, %s, %s, %s, %s)",
                conversation_id,
                f"1:{sender}:{second}",
                sender,
                content,
                START + timedelta(seconds=second),
            )
        await look("UPDATE conversations SET message_count = %s WHERE id = %s", len(lines), conversation_id)

    return stored


@pytest.fixture(name="account")
def make_account() -> Callable[..., dict[str, Any]]:
    """The platform's account of a conversation, by its id and lines."""
    return account


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def unreconciled(database: Database) -> Callable[[], Awaitable[int]]:
    """The figure that `/metrics` shows."""

    async def figure() -> int:
        async with database.as_service() as conn:
            return (await snapshot(conn, 10, NOW)).unreconciled

    return figure
