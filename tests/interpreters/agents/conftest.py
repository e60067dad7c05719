"""Agents on real PostgreSQL and the engine over HTTP, with two processes' worth of pools."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from oneiro.breaker import CircuitBreaker
from oneiro.database.pool import Database
from oneiro.engine.app import running
from oneiro.engine.settings import EngineSettings
from oneiro.events.bell import Bell
from oneiro.interpreters.agents.inspection import Inspection
from oneiro.interpreters.agents.jobs import FUNCTIONS
from oneiro.interpreters.agents.service import Agents
from oneiro.interpreters.agents.stock import StockTaking
from oneiro.interpreters.models import InterpreterDocument, Release
from oneiro.interpreters.releases import activate, publish
from oneiro.interpreters.store import release as stored
from oneiro.jobs.runner import Limits, Runner
from oneiro.platform.elevenlabs import ElevenLabsPlatform
from oneiro.platform.port import (
    AgentSpec,
    HeldAgent,
    HeldConversation,
    HeldPage,
    HeldVoice,
    SignedUrl,
    VoicePlatform,
    VoiceTuning,
)
from oneiro.settings import Settings

KEY = "sk_test_of_nobody"
DOCUMENT: dict[str, Any] = {
    "id": "mara",
    "name": "Mara",
    "full_name": "Mara of the Marsh",
    "description": "Listens to dreams of water.",
    "personality": {"approach": "jungian", "conversation_style": {"response_length": "brief"}},
    "prompts": [{"type": "system", "template": "You are {{ interpreter.name }}.\n{{ dream_context }}"}],
}


class Hand:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


@dataclass
class Wire:
    """The real platform, with a list of its calls and trouble that a test orders: before a call, or after it."""

    inner: VoicePlatform
    calls: list[str] = field(default_factory=list)
    before: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    after: dict[str, Callable[[str], Awaitable[None]]] = field(default_factory=dict)

    async def _begin(self, name: str) -> None:
        self.calls.append(name)
        if name in self.before:
            await self.before[name]()

    async def create_agent(self, spec: AgentSpec) -> str:
        await self._begin("create_agent")
        agent_id = await self.inner.create_agent(spec)
        if "create_agent" in self.after:
            await self.after["create_agent"](agent_id)
        return agent_id

    async def find_agent(self, tag: str) -> str | None:
        await self._begin("find_agent")
        return await self.inner.find_agent(tag)

    async def drift(self, agent_id: str, spec: AgentSpec) -> tuple[str, ...]:
        await self._begin("drift")
        return await self.inner.drift(agent_id, spec)

    async def delete_agent(self, agent_id: str) -> None:
        await self._begin("delete_agent")
        await self.inner.delete_agent(agent_id)

    async def signed_url(self, agent_id: str) -> SignedUrl:
        await self._begin("signed_url")
        return await self.inner.signed_url(agent_id)

    async def design_voice(self, *, name: str, description: str, sample: str) -> str:
        await self._begin("design_voice")
        return await self.inner.design_voice(name=name, description=description, sample=sample)

    async def tune_voice(self, voice_id: str, tuning: VoiceTuning) -> None:
        await self._begin("tune_voice")
        await self.inner.tune_voice(voice_id, tuning)

    async def has_voice(self, voice_id: str) -> bool:
        await self._begin("has_voice")
        return await self.inner.has_voice(voice_id)

    async def list_agents(self, tag: str, cursor: str | None = None) -> tuple[list[HeldAgent], str | None]:
        return await self.inner.list_agents(tag, cursor)

    async def list_voices(self, cursor: str | None = None) -> tuple[list[HeldVoice], str | None]:
        return await self.inner.list_voices(cursor)

    async def delete_voice(self, voice_id: str) -> None:
        await self._begin("delete_voice")
        await self.inner.delete_voice(voice_id)

    async def list_conversations(self, started_after: datetime, cursor: str | None = None) -> HeldPage:
        return await self.inner.list_conversations(started_after, cursor)

    async def conversation(self, conversation_id: str) -> HeldConversation:
        return await self.inner.conversation(conversation_id)

    async def delete_conversation(self, conversation_id: str) -> None:
        await self.inner.delete_conversation(conversation_id)

    async def close(self) -> None:
        await self.inner.close()


class Engine:
    """What the engine holds, seen over HTTP."""

    key = KEY

    def __init__(self, url: str) -> None:
        self.url = url

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        async with httpx.AsyncClient(base_url=self.url, headers={"xi-api-key": KEY}) as client:
            return (await client.request(method, path, json=body)).raise_for_status().json()

    async def agents(self) -> list[str]:
        return [agent["agent_id"] for agent in (await self._ask("GET", "/v1/convai/agents?page_size=100"))["agents"]]

    async def agent(self, agent_id: str) -> Any:
        return await self._ask("GET", f"/v1/convai/agents/{agent_id}")

    async def patch(self, agent_id: str, change: dict[str, Any]) -> None:
        await self._ask("PATCH", f"/v1/convai/agents/{agent_id}", change)

    async def create(self, tags: list[str]) -> str:
        made = await self._ask("POST", "/v1/convai/agents/create", {"conversation_config": {}, "tags": tags})
        return str(made["agent_id"])

    async def call(self, agent_id: str) -> None:
        """Talk to an agent for the length of its metadata."""
        signed = await self._ask("GET", f"/v1/convai/conversation/get-signed-url?agent_id={agent_id}")
        async with connect(signed["signed_url"], subprotocols=[Subprotocol("convai")]) as socket:
            await socket.send('{"type": "conversation_initiation_client_data"}')
            await socket.recv()

    async def design(self, name: str) -> str:
        description = "A voice that somebody once wished for, and left behind"
        preview = {"voice_description": description, "auto_generate_text": True}
        generated = (await self._ask("POST", "/v1/text-to-voice/design", preview))["previews"][0]["generated_voice_id"]
        body = {"voice_name": name, "voice_description": description, "generated_voice_id": generated}
        return str((await self._ask("POST", "/v1/text-to-voice", body))["voice_id"])

    async def silence(self, voice_id: str) -> None:
        await self._ask("DELETE", f"/v1/voices/{voice_id}")

    async def misbehave(self, fault: dict[str, Any]) -> None:
        await self._ask("POST", "/engine/faults", {"faults": [fault]})

    async def forget_all(self) -> None:
        for agent_id in await self.agents():
            await self._ask("DELETE", f"/v1/convai/agents/{agent_id}")

    async def designed_voices(self) -> list[Any]:
        voices = (await self._ask("GET", "/v1/voices"))["voices"]
        return [voice for voice in voices if voice["category"] == "generated"]


class Rows:
    """The tables, read past all rights."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __call__(self, query: str) -> list[dict[str, Any]]:
        async with await psycopg.AsyncConnection.connect(self._url, row_factory=dict_row) as conn:
            return await (await conn.execute(query.encode())).fetchall()

    async def events(self, event_type: str) -> list[dict[str, Any]]:
        rows = await self(
            f"SELECT entity_id, event_data FROM system_events WHERE event_type = '{event_type}' ORDER BY seq"
        )
        return [{"entity_id": row["entity_id"], **row["event_data"]} for row in rows]


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def rows(db_url: str) -> Rows:
    return Rows(db_url)


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with running(EngineSettings(api_keys=frozenset({KEY}))) as url:
        yield Engine(url)


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@dataclass
class Process:
    """One process: its own pool, its own connections to the platform, its own idea of who it is."""

    db: Database
    wire: Wire
    agents: Agents
    inspection: Inspection
    stock_taking: StockTaking
    created: list[tuple[str, float, bool]]


@pytest.fixture
def process(service_url: str, engine: Engine, hand: Hand, stack: AsyncExitStack) -> Callable[..., Awaitable[Process]]:
    async def start(**settings: Any) -> Process:
        db = Database(settings.pop("url", service_url), max_size=4)
        await db.open()
        stack.push_async_callback(db.close)
        platform = ElevenLabsPlatform(
            KEY,
            base_url=engine.url,
            conversations=CircuitBreaker("conversations"),
            provisioning=CircuitBreaker("agents"),
            clock=hand,
        )
        stack.push_async_callback(platform.close)
        wire = Wire(platform)
        created: list[tuple[str, float, bool]] = []

        def count(interpreter: str, seconds: float, *, success: bool) -> None:
            created.append((interpreter, seconds, success))

        bound = {"work_seconds": settings.pop("work_seconds")} if "work_seconds" in settings else {}
        agents = Agents(db, wire, settings=Settings(**settings), clock=hand, created=count, **bound)
        inspection = Inspection(db, wire, agents, clock=hand)
        return Process(db, wire, agents, inspection, StockTaking(db, wire, clock=hand), created)

    return start


@pytest.fixture
def sweep() -> Callable[[Process], Awaitable[int]]:
    """Sweeps, and runs each job that came of it once; how many agents went."""

    async def retirements(db: Database) -> int:
        async with db.as_service() as conn:
            found = await conn.execute("SELECT count(*) FROM system_events WHERE event_type = 'agent.retired'")
            return int((await found.fetchone() or (0,))[0])

    async def swept(process: Process) -> int:
        gone = await retirements(process.db)
        await process.agents.sweep()
        at_once = Limits(concurrency=100, draw=lambda _low, _high: 0.0)
        runner = Runner(process.db, Bell(""), process, FUNCTIONS, limits=at_once)
        await runner.step()
        await runner.settled()
        return await retirements(process.db) - gone

    return swept


@pytest.fixture
async def one(process: Callable[..., Awaitable[Process]]) -> Process:
    return await process()


@pytest.fixture
def release_of(one: Process) -> Callable[..., Awaitable[Release]]:
    async def make(**parts: Any) -> Release:
        async with one.db.as_service() as conn:
            made = await publish(conn, InterpreterDocument.model_validate({**DOCUMENT, **parts}), created_by="test")
            return await activate(conn, made.interpreter_id, made.number) if made.document.prompts else made

    return make


@pytest.fixture
def release_now() -> Callable[[Process], Awaitable[Release]]:
    """The newest release, in whichever database the process is."""

    async def find(process: Process) -> Release:
        async with process.db.as_service() as conn:
            found = await stored(conn, "mara", 1)
        assert found is not None
        return found

    return find


@pytest.fixture
async def release(release_of: Callable[..., Awaitable[Release]]) -> Release:
    return await release_of()


class Talk:
    """Conversations as rows."""

    def __init__(self, url: str, hand: Hand) -> None:
        self._url = url
        self._hand = hand

    async def __call__(self, user_id: UUID, release: Release, agent_id: str, *, status: str) -> UUID:
        conversation_id = uuid4()
        async with await psycopg.AsyncConnection.connect(self._url) as conn:
            await conn.execute("INSERT INTO profiles (user_id) VALUES (%s)", (user_id,))
            await conn.execute(
                """
                INSERT INTO conversations (id, user_id, interpreter_id, release_id, agent_id, status, created_at)
                VALUES (%s, %s, %s, %s, %s, %s, %s)
                """,
                (conversation_id, user_id, release.interpreter_id, release.id, agent_id, status, self._hand.now),
            )
        return conversation_id

    async def end(self, conversation_id: UUID) -> None:
        async with await psycopg.AsyncConnection.connect(self._url) as conn:
            await conn.execute(
                "UPDATE conversations SET status = 'completed', end_reason = 'user_ended' WHERE id = %s",
                (conversation_id,),
            )


@pytest.fixture
def talk(db_url: str, hand: Hand) -> Talk:
    return Talk(db_url, hand)
