"""A whole Oneiro with its relay on loopback: engine, PostgreSQL, API served by uvicorn, clients with bare sockets."""

import asyncio
import json
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from psycopg.rows import dict_row
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as websocket_server
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from oneiro.app import Surroundings, create_app
from oneiro.auth import issue_token
from oneiro.cli.listen import bind, listening
from oneiro.engine.app import running
from oneiro.engine.settings import EngineSettings
from oneiro.platform.port import SignedUrl
from oneiro.relay.limits import Limits
from oneiro.relay.service import Relay
from oneiro.safety.cards import guardrail
from oneiro.settings import Settings

SECRET = "a secret of at least thirty-two bytes"
Frame = dict[str, Any]


@pytest.fixture(scope="session")
def template(seeded: str) -> str:
    """Each test gets a copy of it."""
    return seeded


SPOKEN = {
    6: "I was walking through a house by the sea.",
    12: "I want to kill myself tonight.",
    20: "Yes, I am with my sister now.",
}


def recognised(sound: bytes) -> str:
    """A recogniser for tests: how loud an utterance is says which sentence it is."""
    return SPOKEN[round(max(array("h", sound)) / 1000)]


@pytest.fixture(scope="session")
async def engine_url() -> AsyncIterator[str]:
    """An engine, a hundred times as quick as a person."""
    settings = EngineSettings(guardrail=guardrail, speed=100, recogniser=recognised)
    async with running(settings) as url:
        yield url


@pytest.fixture
def settings(service_url: str, engine_url: str) -> Settings:
    return Settings(
        database_url=SecretStr(service_url),
        jwt_secret=SecretStr(SECRET),
        elevenlabs_api_key=SecretStr("a key"),
        elevenlabs_base_url=engine_url,
        transport="relay",
        allow_direct=True,
    )


class Clock:
    """The present, moved on by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@dataclass
class Replica:
    """An API that is served."""

    app: FastAPI
    url: str

    @property
    def relay(self) -> Relay:
        relay: Relay = self.app.state.relay
        return relay

    def frames(self, direction: str, kind: str) -> int:
        return self.relay.watch.frames[direction, kind]


Serve = Callable[..., Awaitable[Replica]]


@pytest.fixture
async def serve(settings: Settings, clock: Clock) -> AsyncIterator[Serve]:
    """Serves an API: `serve(limits=Limits(…), max_call_seconds=…)`."""
    async with AsyncExitStack() as stack:

        async def served(limits: Limits | None = None, **changed: object) -> Replica:
            app = create_app(settings.model_copy(update=changed), Surroundings(simulated=True), clock=clock)
            app.state.relay._limits = limits or Limits()
            listened = await stack.enter_async_context(listening(app, bind("127.0.0.1", 0, what="a test"), grace=5))
            return Replica(app, listened.url)

        yield served


@pytest.fixture
async def replica(serve: Serve) -> Replica:
    return await serve()


class Socket:
    """A bare client of the relay that remembers every frame."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.replica: Replica | None = None

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def open(self, *, text_only: bool = True) -> Frame:
        """Send what a client sends first; gives the metadata."""
        override = {"agent": {}, "tts": {}, "conversation": {"text_only": text_only}}
        await self.send(type="conversation_initiation_client_data", conversation_config_override=override)
        return await self.next()

    async def next(self) -> Frame:
        async with asyncio.timeout(10):
            frame: Frame = json.loads(await self.socket.recv())
        self.frames.append(frame)
        return frame

    async def until(self, kind: str) -> Frame:
        while (frame := await self.next())["type"] != kind:
            pass
        return frame

    async def reply(self) -> str:
        return str((await self.until("agent_response"))["agent_response_event"]["agent_response"])

    async def say(self, text: str) -> str:
        await self.send(type="user_message", text=text)
        return await self.reply()

    async def closed(self) -> tuple[int | None, str | None]:
        """Read to the end: the close code and reason."""
        with suppress(ConnectionClosed):
            while True:
                await self.next()
        return self.socket.close_code, self.socket.close_reason

    def kinds(self) -> list[str]:
        return [frame["type"] for frame in self.frames]


Dial = Callable[..., Awaitable[Socket]]


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Opens bare sockets at an address."""
    async with AsyncExitStack() as stack:

        async def opened(url: str, **options: Any) -> Socket:
            known = {"subprotocols": [Subprotocol("convai")], "compression": None, "proxy": None, "close_timeout": 2}
            return Socket(await stack.enter_async_context(connect(url, **{**known, **options})))

        yield opened


@dataclass
class Dreamer:
    """A dreamer at the API, over HTTP."""

    user_id: UUID
    http: httpx.AsyncClient
    started: list[Frame] = field(default_factory=list)

    async def start(self, **request: Any) -> Frame:
        if request.get("text_only") is False:
            await self.http.patch("/me", json={"consents": {"voice": True}})
        answer = await self.http.post("/conversations", json={"interpreter_id": "carl", "text_only": True, **request})
        assert answer.status_code == 201, answer.text
        found: Frame = answer.json()
        self.started.append(found)
        return found

    async def post(self, path: str, **body: Any) -> Frame:
        answer = await self.http.post(path, json=body or None)
        assert answer.is_success, answer.text
        found: Frame = answer.json()
        return found

    async def read(self, conversation_id: str) -> Frame:
        answer = await self.http.get(f"/conversations/{conversation_id}")
        found: Frame = answer.json()
        return found

    async def lines(self, conversation_id: str) -> list[Frame]:
        answer = await self.http.get(f"/conversations/{conversation_id}/messages?limit=100")
        found: list[Frame] = answer.json()["items"]
        return found


SignIn = Callable[..., Dreamer]


@pytest.fixture
async def sign_in() -> AsyncIterator[SignIn]:
    """Makes a client of a dreamer at a replica."""
    async with AsyncExitStack() as stack:

        def client(at: Replica, user_id: UUID | None = None) -> Dreamer:
            who = user_id or uuid4()
            token = issue_token(SECRET, user_id=who, ttl=timedelta(hours=1), now=datetime.now(UTC))
            headers = {"Authorization": f"Bearer {token}"}
            http = httpx.AsyncClient(base_url=f"{at.url}/v1", headers=headers, trust_env=False, timeout=30)
            stack.push_async_callback(http.aclose)
            return Dreamer(who, http)

        yield client


@pytest.fixture
def dreamer(replica: Replica, sign_in: SignIn) -> Dreamer:
    return sign_in(replica)


Look = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def look(db_url: str) -> Look:
    """Reads rows as the superuser."""

    async def rows(statement: str, *values: object) -> list[dict[str, Any]]:
        async with await psycopg.AsyncConnection.connect(db_url, row_factory=dict_row) as conn:
            cursor = await conn.execute(statement, values)
            return await cursor.fetchall()

    return rows


Until = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def until(look: Look) -> Until:
    """Looks again until there are rows; fails after ten seconds."""

    async def appeared(statement: str, *values: object) -> list[dict[str, Any]]:
        async with asyncio.timeout(10):
            while not (found := await look(statement, *values)):  # noqa: ASYNC110 - another process writes it.
                await asyncio.sleep(0.02)
        return found

    return appeared


@pytest.fixture
def limits() -> type[Limits]:
    return Limits


class Stage:
    """A platform's socket that does as a test says: keeps what it gets, sends what it is told."""

    def __init__(self) -> None:
        self.url = ""
        self.raw: list[str] = []
        self.got = asyncio.Event()
        self.socket: ServerConnection | None = None
        self.ended = asyncio.Event()

    async def play(self, socket: ServerConnection) -> None:
        self.socket = socket
        event = {
            "conversation_id": f"conv_{uuid4().hex}",
            "agent_output_audio_format": "pcm_16000",
            "user_input_audio_format": "pcm_16000",
        }
        first = {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": event}
        await socket.send(json.dumps(first))
        with suppress(ConnectionClosed):
            async for raw in socket:
                assert isinstance(raw, str)
                self.raw.append(raw)
                self.got.set()
        self.ended.set()

    @property
    def frames(self) -> list[Frame]:
        """What came, without the microphone."""
        return [json.loads(raw) for raw in self.raw if not raw.startswith('{"user_audio_chunk"')]

    async def received(self, count: int) -> list[Frame]:
        async with asyncio.timeout(10):
            while len(self.raw) < count:
                self.got.clear()
                await self.got.wait()
        return self.frames

    async def send(self, **frame: Any) -> None:
        assert self.socket is not None
        await self.socket.send(json.dumps(frame))

    async def hear(self, text: str, event_id: int = 1) -> None:
        await self.send(
            type="user_transcript", user_transcription_event={"user_transcript": text, "event_id": event_id}
        )

    async def answer(self, text: str, event_id: int = 2) -> None:
        await self.send(type="agent_response", agent_response_event={"agent_response": text, "event_id": event_id})

    async def sound(self, event_id: int = 2) -> str:
        assert self.socket is not None
        raw = json.dumps({"type": "audio", "audio_event": {"audio_base_64": "AAAA", "event_id": event_id}})
        await self.socket.send(raw)
        return raw


@dataclass
class StagedPlatform:
    """Where calls are led in place of the engine."""

    url: str

    async def signed_url(self, agent_id: str) -> SignedUrl:
        return SignedUrl(self.url, datetime.now(UTC) + timedelta(minutes=15))


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """A platform's socket that a test plays itself."""
    played = Stage()
    async with websocket_server(played.play, "127.0.0.1", 0, max_size=2**21) as server:
        played.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield played


Staged = Callable[..., Awaitable[tuple[Dreamer, Frame, Socket]]]


@pytest.fixture
async def staged(serve: Serve, sign_in: SignIn, dial: Dial, stage: Stage) -> Staged:
    """Opens a call that leads to the stage: `staged(limits=…, text_only=…)` gives dreamer, start and socket."""

    async def opened(
        limits: Limits | None = None, *, text_only: bool = False, **changed: object
    ) -> tuple[Dreamer, Frame, Socket]:
        replica = await serve(limits, **changed)
        replica.relay._platform = StagedPlatform(stage.url)  # type: ignore[assignment]  # All that a call needs of it.
        dreamer = sign_in(replica)
        started = await dreamer.start(text_only=text_only)
        socket = await dial(started["signed_url"])
        await socket.open(text_only=text_only)
        await stage.received(1)
        socket.replica = replica
        return dreamer, started, socket

    return opened


@pytest.fixture
def hold(db_url: str) -> Callable[[str], AbstractAsyncContextManager[None]]:
    """Keeps everybody else from a conversation's row while a block lasts."""

    @asynccontextmanager
    async def held(conversation_id: str) -> AsyncIterator[None]:
        async with await psycopg.AsyncConnection.connect(db_url) as holder:
            await holder.execute("SELECT 1 FROM conversations WHERE id = %s FOR UPDATE", (conversation_id,))
            yield

    return held


class Passing:
    """Passes all on to what it wraps; a test overrides what is to go otherwise."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
