"""What the fifty dreamers of the soak have to live through, and the language model that stands in meanwhile."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from tests.relay.soak_dreamers import Base
from tests.relay.soak_platform import Platform

from oneiro.breaker import CircuitBreaker

ALWAYS: list[dict[str, Any]] = [
    {"kind": "drop", "frame": 9, "chance": 0.1},
    {"kind": "close", "frame": 12, "code": 1011, "chance": 0.1},
    {"kind": "close", "frame": 7, "code": 1008, "reason": "Missing required dynamic variables", "chance": 0.02},
    {"kind": "status", "path": "*get-signed-url", "status": 503, "chance": 0.02},
    {"kind": "status", "path": "*get-signed-url", "status": 500, "after_commit": True, "chance": 0.02},
    {"kind": "status", "path": "*agents/create", "status": 502, "after_commit": True, "chance": 0.3},
    {"kind": "latency", "path": "*get-signed-url", "seconds": 0.1, "chance": 0.1},
    {"kind": "slow_first_byte", "path": "*get-signed-url", "seconds": 0.3, "chance": 0.1},
    {"kind": "malformed", "path": "*get-signed-url", "chance": 0.01},
    {"kind": "webhook", "what": "duplicate", "chance": 0.1},
    {"kind": "webhook", "what": "late", "seconds": 2.0, "chance": 0.1},
    {"kind": "webhook", "what": "never", "chance": 0.1},
]
AWAY: list[dict[str, Any]] = [{"kind": "status", "path": "/v1/*", "status": 503}, {"kind": "drop", "frame": 1}]
FULL: dict[str, Any] = {"kind": "concurrency", "most": 20}
OUTAGE, CROWD = 5.0, 8.0
"""Seconds that the platform is away or full, at least."""
AT_MOST = 60.0
"""Seconds that an outage waits for what it is there for."""
LONGEST_LULL = 60.0
PROGRESS = 100
"""Events between two cuts of the database's connections: on a slow machine it is cut less often."""
SAID = "A door in the water, you say. What waits on its other side?"


class Weather:
    """What befalls the platform and the database; `seen` counts it."""

    def __init__(
        self, platform: Platform, base: Base, breakers: tuple[CircuitBreaker, ...], dice: random.Random
    ) -> None:
        self._platform, self._base, self._breakers, self._dice = platform, base, breakers, dice
        self.seen = Counter[str]()
        self.over = False
        """Whether no great fault comes any more."""

    async def of_the_platform(self, end: float) -> None:
        """Faults all the time, and now and then one of the three great ones, each at least once in good time."""
        lull = min((end - time.monotonic()) / 10, LONGEST_LULL)
        for great in cycle((self._away, self._restarted, self._full)):
            await self._platform.behave(*ALWAYS)
            await asyncio.sleep(lull * (0.75 + self._dice.random() / 2))
            if time.monotonic() > end and self.seen["full"]:
                self.over = True
                return
            await great()
            self.seen[great.__name__.strip("_")] += 1

    async def of_the_database(self, end: float) -> None:
        """Cut all connections of the service to its database, every few seconds that it got something done in."""
        while time.monotonic() < end:
            done = await self._done()
            await asyncio.sleep(4 * self._dice.random() + 1)
            while await self._done() < done + PROGRESS and time.monotonic() < end:  # noqa: ASYNC110 - the service does it.
                await asyncio.sleep(0.25)
            await self._base.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND usename = 'oneiro_service'"
            )
            self.seen["cut"] += 1

    async def _done(self) -> int:
        """How much has been done by now."""
        (row,) = await self._base.rows("SELECT coalesce(max(seq), 0) AS seq FROM system_events")
        return int(row["seq"])

    async def _away(self) -> None:
        """The platform is away until it is being left alone and somebody talks to the stand-in."""
        await self._platform.behave(*AWAY)
        began = time.monotonic()
        while time.monotonic() < began + AT_MOST:
            await asyncio.sleep(0.25)
            degraded = "SELECT 1 FROM conversation_sessions WHERE degraded AND session_status = 'active' LIMIT 1"
            opened = any(breaker.state == "open" for breaker in self._breakers)
            if opened and time.monotonic() > began + OUTAGE and await self._base.rows(degraded):
                return

    async def _restarted(self) -> None:
        """The platform's process ends and another one begins, which knows of nothing."""
        await self._platform.end()
        await self._platform.begin()

    async def _full(self) -> None:
        """The platform takes no further conversation."""
        await self._platform.behave(FULL, *ALWAYS)
        await asyncio.sleep(CROWD)


class Model:
    """Somebody's language model behind an OpenAI-compatible address; each seventh answer fails, one way or another."""

    def __init__(self) -> None:
        self.asked = 0

    async def answer(self, request: Request) -> Response:
        self.asked += 1
        if self.asked % 14 == 0:
            return Response(status_code=503)
        if (await request.json()).get("stream"):
            return StreamingResponse(self._stream(breaks_off=self.asked % 7 == 0), media_type="text/event-stream")
        return JSONResponse({"choices": [{"message": {"content": "She told of a door in the water."}}]})

    async def _stream(self, *, breaks_off: bool) -> AsyncIterator[str]:
        for piece in SAID.split(" "):
            yield f"data: {json.dumps({'choices': [{'delta': {'content': f'{piece} '}}]})}\n\n"
            if breaks_off:
                return
        yield "data: [DONE]\n\n"


@asynccontextmanager
async def model_at() -> AsyncIterator[tuple[Model, str]]:
    """Serve a model; gives it and its base URL."""
    model = Model()
    app = Starlette(routes=[Route("/v1/chat/completions", model.answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, log_level="warning", lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it.
        await asyncio.sleep(0.01)
    try:
        yield model, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        await serving
