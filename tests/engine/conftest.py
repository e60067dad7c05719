"""Engines on loopback and the clients that speak with them: the official SDK, and a bare socket for the traps."""

import asyncio
import importlib
import json
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import httpx
import pytest
from elevenlabs import AsyncElevenLabs, ElevenLabs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from oneiro.engine.app import EngineSettings, running

with warnings.catch_warnings():
    # The SDK names a class that websockets has deprecated, at import; later imports find the module ready.
    warnings.simplefilter("ignore", DeprecationWarning)
    sdk_conversation = importlib.import_module("elevenlabs.conversational_ai.conversation")

Frame = dict[str, Any]
Start = Callable[..., Awaitable[str]]
FAST = 500.0
TLS = httpx.create_ssl_context()
"""Made once: a client of its own takes longer to make than an engine."""


class RawClient:
    """A bare conversation socket that remembers every frame."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.frames: list[Frame] = []

    async def send(self, **frame: Any) -> None:
        await self.socket.send(json.dumps(frame))

    async def open(self, **data: Any) -> None:
        """Send what a client sends first."""
        await self.send(type="conversation_initiation_client_data", **data)

    async def next(self) -> Frame:
        frame: Frame = json.loads(await asyncio.wait_for(self.socket.recv(), 10))
        self.frames.append(frame)
        return frame

    async def until(self, kind: str) -> Frame:
        """Read up to the next frame of a kind."""
        while (frame := await self.next())["type"] != kind:
            pass
        return frame

    async def reply(self) -> str:
        """The words of the next reply."""
        return str((await self.until("agent_response"))["agent_response_event"]["agent_response"])

    async def closed(self) -> tuple[int | None, str | None]:
        """Read to the end: the close code and reason."""
        with suppress(ConnectionClosed):
            while True:
                await self.next()
        return self.socket.close_code, self.socket.close_reason

    def kinds(self) -> list[str]:
        return [frame["type"] for frame in self.frames]


Dial = Callable[..., Awaitable[RawClient]]


@pytest.fixture(scope="session")
async def stopping() -> AsyncIterator[list[asyncio.Task[None]]]:
    """Engines on their way out: each takes a moment, and the next test need not wait for it."""
    tasks: list[asyncio.Task[None]] = []
    yield tasks
    await asyncio.gather(*tasks)


@pytest.fixture
async def start(stopping: list[asyncio.Task[None]]) -> AsyncIterator[Start]:
    """Starts an engine with given settings; gives its URL."""
    stack = AsyncExitStack()

    async def start_engine(**settings: Any) -> str:
        return await stack.enter_async_context(running(EngineSettings(**{"speed": FAST, **settings})))

    yield start_engine
    stopping.append(asyncio.create_task(stack.aclose()))


@pytest.fixture
async def engine_url(start: Start) -> str:
    """An engine with default settings and hardly any delays."""
    return await start()


@pytest.fixture
async def sdk_for() -> AsyncIterator[Callable[..., AsyncElevenLabs]]:
    """Official clients for an engine."""
    async with AsyncExitStack() as stack:

        def client(url: str, key: str = "a-key") -> AsyncElevenLabs:
            http = httpx.AsyncClient(verify=TLS, timeout=30)
            stack.push_async_callback(http.aclose)
            return AsyncElevenLabs(base_url=url, api_key=key, httpx_client=http)

        yield client


@pytest.fixture
def sdk(engine_url: str, sdk_for: Callable[..., AsyncElevenLabs]) -> AsyncElevenLabs:
    """The official client for the engine with default settings."""
    return sdk_for(engine_url)


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Opens bare sockets: `dial(url, agent_id=…)` or `dial(signed_url)`."""
    async with AsyncExitStack() as stack:

        async def open_socket(url: str, agent_id: str | None = None, **options: Any) -> RawClient:
            address = url.replace("http", "ws", 1)
            if agent_id:
                address += f"/v1/convai/conversation?agent_id={agent_id}"
            return RawClient(await stack.enter_async_context(connect(address, **options)))

        yield open_socket


CreateAgent = Callable[..., Awaitable[str]]


@pytest.fixture
async def create_agent() -> AsyncIterator[CreateAgent]:
    """Creates an agent over HTTP: `create_agent(url, agent={…}, conversation={…}, platform={…})`; gives its id."""
    async with httpx.AsyncClient(verify=TLS, headers={"xi-api-key": "a-key"}, timeout=30) as http:

        async def create(url: str, *, platform: Frame | None = None, name: str = "Carl", **config: Any) -> str:
            body = {"name": name, "conversation_config": config, "platform_settings": platform or {}}
            response = await http.post(f"{url}/v1/convai/agents/create", json=body)
            assert response.status_code == 200, response.text
            return str(response.json()["agent_id"])

        yield create


class Talk:
    """The official synchronous conversation, driven from a thread; keeps what its callbacks were told."""

    def __init__(self, url: str, agent_id: str, **options: Any) -> None:
        self.replies: list[str] = []
        self.parts: list[tuple[str, str]] = []
        self.ended: list[Any] = []
        self._told = threading.Semaphore(0)
        self._http = httpx.Client(verify=TLS, timeout=30)
        self.conversation = sdk_conversation.Conversation(
            ElevenLabs(base_url=url, api_key="a-key", httpx_client=self._http),
            agent_id,
            callback_agent_response=self._reply,
            callback_agent_chat_response_part=lambda text, kind: self.parts.append((text, kind)),
            callback_disconnect=self.ended.append,
            **options,
        )

    def _reply(self, text: str) -> None:
        self.replies.append(text)
        self._told.release()

    def say(self, text: str | None) -> str:
        """Say something, or only listen; gives the next reply."""
        if text is not None:
            self.conversation.send_user_message(text)
        assert self._told.acquire(timeout=10)
        return self.replies[-1]

    def finish(self) -> str:
        self.conversation.end_session()
        conversation_id = self.conversation.wait_for_session_end()
        self._http.close()
        return conversation_id or ""


@pytest.fixture
def talk_with() -> type[Talk]:
    """Conversations of the official synchronous SDK: `talk_with(url, agent_id, requires_auth=…)`."""
    return Talk
