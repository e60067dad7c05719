"""What one engine holds; every route and socket reaches it through its own application, so engines share nothing."""

import asyncio
from collections.abc import Coroutine
from typing import Annotated, Any, cast

import httpx
from fastapi import Depends
from starlette.requests import HTTPConnection

from oneiro.engine.agents import Agents
from oneiro.engine.conversations import Conversations
from oneiro.engine.faults import Faults
from oneiro.engine.pacing import Pacing
from oneiro.engine.settings import EngineSettings
from oneiro.engine.signed import Signatures
from oneiro.engine.speech import Speech
from oneiro.engine.voices import Voices
from oneiro.loopback import UNPROXIED


class Engine:
    """The state of one engine; it is gone when the process ends."""

    def __init__(self, settings: EngineSettings) -> None:
        self.settings = settings
        self.pacing = Pacing(settings.speed, settings.clock)
        self.agents = Agents()
        self.voices = Voices()
        self.conversations = Conversations()
        self.signatures = Signatures()
        self.speech = Speech(aloud=settings.aloud)
        self.faults = Faults(settings.faults, seed=settings.fault_seed)
        self.broken = asyncio.Event()
        self.sockets = 0
        self._http: httpx.AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> float:
        """Seconds since 1970."""
        return self.pacing.now()

    @property
    def http(self) -> httpx.AsyncClient:
        """The client for the model's endpoint and the webhook, opened at first use."""
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=httpx.Timeout(20.0, connect=5.0), mounts=UNPROXIED)
        return self._http

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run work that outlives its conversation; closing the engine waits for it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Wait for what is still to be sent and close the connections."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=10.0)
        if self._http is not None:
            await self._http.aclose()

    def restart(self) -> None:
        """Forget everything and break every socket, as the end of a process does."""
        self.agents, self.voices = Agents(), Voices()
        self.conversations, self.signatures = Conversations(), Signatures()
        self.broken.set()
        self.broken = asyncio.Event()

    def accepts(self, key: str | None) -> bool:
        """Whether the API key opens this engine."""
        keys = self.settings.api_keys
        return bool(key) if keys is None else key in keys


def engine_of(connection: HTTPConnection) -> Engine:
    """The engine of the application that serves this request or socket."""
    return cast("Engine", connection.app.state.engine)


EngineOf = Annotated[Engine, Depends(engine_of)]
