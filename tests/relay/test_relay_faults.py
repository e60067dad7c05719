"""Random faults on both sides and in the database: every conversation comes to its end, and no line is lost.

Fifty dreamers talk, vanish, come back and end, while the platform breaks sockets, fails, and is away for a while, and
the database drops its connections. The platform is an engine in a process of its own; the service's memory and tasks
are this process's. `ONEIRO_SOAK_SECONDS` changes how long the soak lasts, `ONEIRO_SOAK_SEED` repeats a run's dice.
"""

import asyncio
import gc
import json
import logging
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.rows import dict_row
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

Serve = Callable[..., Awaitable[Any]]
SignIn = Callable[..., Any]
Row = dict[str, Any]

SLEEPERS = 50
SHORT, LONG = 60.0, 1800.0
"""Seconds that dreamers come and go; the last ones then end in their own time."""
REST = 4.0
"""Seconds that a breaker rests here, instead of thirty: it shall open and close several times."""
OUTAGE = 5.0
"""Seconds that the platform is away: long enough for five faults in a row."""
GROWTH = 32
"""MiB that the process may grow by between its first third and its end."""

FAULTS = [
    {"kind": "drop", "frame": 9, "chance": 0.1},
    {"kind": "close", "frame": 12, "code": 1011, "chance": 0.1},
    {"kind": "close", "frame": 7, "code": 1008, "reason": "Missing required dynamic variables", "chance": 0.02},
    {"kind": "status", "path": "*get-signed-url", "status": 503, "chance": 0.02},
    {"kind": "latency", "path": "*get-signed-url", "seconds": 0.1, "chance": 0.1},
    {"kind": "malformed", "path": "*get-signed-url", "chance": 0.01},
]
AWAY = [{"kind": "status", "path": "/v1/*", "status": 503}, {"kind": "drop", "frame": 1}]
DREAMS = ["A lighthouse called me.", "The stairs had no end.", "My teeth were made of glass.", "A dog spoke to me."]
BROKEN = (ConnectionClosed, InvalidHandshake, OSError, TimeoutError)
KEY = {"xi-api-key": "k"}


class Base:
    """The database, read as its superuser over one connection."""

    def __init__(self, conn: psycopg.AsyncConnection[Row]) -> None:
        self._conn = conn

    async def rows(self, statement: str, *values: object) -> list[Row]:
        cursor = await self._conn.execute(statement.encode(), values)
        return await cursor.fetchall()

    async def empty(self, statement: str, *values: object, within: float) -> None:
        """Wait until there are no such rows."""
        end = time.monotonic() + within
        while found := await self.rows(statement, *values):
            assert time.monotonic() < end, (statement, found[:5])
            await asyncio.sleep(0.1)


@pytest.fixture
async def base(db_url: str) -> AsyncIterator[Base]:
    async with await psycopg.AsyncConnection.connect(db_url, autocommit=True, row_factory=dict_row) as conn:
        yield Base(conn)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """An engine in a process of its own: what it keeps of every conversation is not our memory."""
    log = tmp_path / "engine.log"
    command = [sys.executable, "-m", "oneiro", "engine", "--port", "0", "--speed", "100"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
    try:
        async with asyncio.timeout(60):
            while "listens on " not in (said := log.read_text()):
                assert process.poll() is None, said
                await asyncio.sleep(0.05)
        url = said.split("listens on ")[1].split()[0]
        async with httpx.AsyncClient(base_url=url, headers=KEY, trust_env=False, timeout=30) as client:
            yield client
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 15)


@dataclass
class Tally:
    """What all dreamers have seen."""

    conversations: int = 0
    lines: int = 0
    resumes: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    closes: Counter[int | None] = field(default_factory=Counter)
    """Close codes of sockets that the other side closed."""


class Sleeper:
    """A dreamer who talks, vanishes, comes back and ends, as the dice fall; checks what is kept of it each time."""

    def __init__(self, dreamer: Any, dice: random.Random, base: Base, tally: Tally) -> None:
        self._http: httpx.AsyncClient = dreamer.http
        self._dice, self._base, self._tally = dice, base, tally
        self._sent, self._end = 0, 0.0
        self.typed: list[str] = []
        self.heard: list[str] = []

    async def dream_until(self, end: float) -> None:
        """Hold one conversation after the other."""
        self._end = end
        while not self._tired:
            started = await self._start()
            if started is None:
                return
            self.typed, self.heard = [], []
            await self._hold(started)
            await self._is_kept(started["conversation_id"])
            self._tally.conversations += 1
            self._tally.lines += len(self.typed) + len(self.heard)

    @property
    def _tired(self) -> bool:
        return time.monotonic() >= self._end

    async def _start(self) -> Any:
        interpreter = self._dice.choice(["carl", "lakshmi"])
        while not self._tired:
            answer = await self._post("/conversations", interpreter_id=interpreter, text_only=True)
            if answer.status_code == 201:
                return answer.json()
            await self._wait(answer)
        return None

    async def _hold(self, started: Any) -> None:
        conversation, turns = started["conversation_id"], self._dice.randrange(5, 25)
        while turns > 0 and not self._tired:
            with suppress(*BROKEN):
                turns = await self._talk(started["signed_url"], turns)
            turns -= 1
            answer = await self._post(f"/conversations/{conversation}/resume")
            if answer.status_code == 409 and not answer.json()["retryable"]:
                return
            if answer.is_success:
                self._tally.resumes += 1
                started = answer.json()
            else:
                await self._wait(answer)
        while (answer := await self._post(f"/conversations/{conversation}/end")).is_error:
            await self._wait(answer)

    async def _talk(self, url: str, turns: int) -> int:
        async with connect(
            url, subprotocols=[Subprotocol("convai")], compression=None, proxy=None, close_timeout=5
        ) as socket:
            try:
                return await self._say(socket, turns)
            except ConnectionClosed:
                self._tally.closes[socket.close_code] += 1
                raise

    async def _say(self, socket: ClientConnection, turns: int) -> int:
        """Talk until all is said or the line is cut, by her or by others; gives the turns that are left."""
        await socket.send(json.dumps({"type": "conversation_initiation_client_data"}))
        await self._listen(socket)
        while turns > 0 and not self._tired:
            await asyncio.sleep(self._dice.random())
            self._sent += 1
            text = f"{self._dice.choice(DREAMS)} ({self._sent})"
            await socket.send(json.dumps({"type": "user_message", "text": text}))
            await self._listen(socket)
            # Answered, so it was passed on, so it is stored.
            self.typed.append(text)
            turns -= 1
            if self._dice.random() < 0.1:
                socket.transport.abort()
                return turns
        return 0

    async def _listen(self, socket: ClientConnection) -> None:
        """Take what comes up to the next reply."""
        async with asyncio.timeout(30):
            while (frame := json.loads(await socket.recv()))["type"] != "agent_response":
                pass
        self.heard.append(frame["agent_response_event"]["agent_response"])

    async def _post(self, path: str, **body: Any) -> httpx.Response:
        while True:
            try:
                answer = await self._http.post(path, json=body or None)
            except httpx.TransportError:  # A kept connection that the server has closed just now.
                await asyncio.sleep(0.05)
            else:
                self._tally.answers[f"{path.rsplit('/', 1)[-1]} {answer.status_code}"] += 1
                assert answer.status_code != 500, answer.text
                return answer

    async def _wait(self, answer: httpx.Response) -> None:
        assert answer.json()["retryable"], answer.text
        await asyncio.sleep(min(float(answer.headers.get("Retry-After", "1")), 1.0) * (0.5 + self._dice.random()))

    async def _is_kept(self, conversation: str) -> None:
        """The conversation is final and ended once; each line that reached somebody is there, hers exactly once."""
        await self._base.empty(
            "SELECT status FROM conversations WHERE id = %s AND status NOT IN ('completed', 'failed')",
            conversation,
            within=60,
        )
        kept = "SELECT content FROM messages WHERE conversation_id = %s AND sender = %s"
        heard = {" ".join(line.split()) for line in self.heard}
        end = time.monotonic() + 60
        while True:
            said = [
                " ".join(row["content"].split()) for row in await self._base.rows(kept, conversation, "interpreter")
            ]
            if not (lost := heard - set(said)):
                break
            assert time.monotonic() < end, (conversation, lost)
            await asyncio.sleep(0.1)
        typed = Counter(row["content"] for row in await self._base.rows(kept, conversation, "user"))
        assert [line for line in self.typed if typed[line] != 1] == []
        ended = await self._base.rows(
            "SELECT event_type FROM system_events WHERE entity_id = %s AND event_type = ANY (%s)",
            conversation,
            ["conversation.ended", "conversation.failed"],
        )
        assert len(ended) == 1


async def _misbehave(engine: httpx.AsyncClient, dice: random.Random, end: float) -> None:
    """Faults all the time, and now and then a platform that is away; at least once in the first half."""
    pause = (end - time.monotonic()) / 5
    while time.monotonic() < end:
        (await engine.put("/engine/faults", json={"faults": FAULTS})).raise_for_status()
        await asyncio.sleep(min(pause, 120) * (0.75 + dice.random() / 2))
        (await engine.put("/engine/faults", json={"faults": AWAY})).raise_for_status()
        await asyncio.sleep(OUTAGE)
    (await engine.put("/engine/faults", json={"faults": FAULTS})).raise_for_status()


async def _disturb(base: Base, dice: random.Random, end: float) -> None:
    """Cut all connections of the service to its database, every few seconds."""
    while time.monotonic() < end:
        await asyncio.sleep(4 * dice.random() + 1)
        await base.rows(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND usename = 'oneiro_service'"
        )


def _resident() -> float:
    """MiB of this process now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _tasks() -> Counter[str]:
    """What is being done, by the name of its coroutine."""
    return Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())


async def _only(before: Counter[str]) -> None:
    """Wait until no task is left that was not there before."""
    end = time.monotonic() + 30
    while stuck := _tasks() - before:
        assert time.monotonic() < end, stuck
        await asyncio.sleep(0.1)


async def _breakers(base: Base) -> Counter[str]:
    rows = await base.rows("SELECT event_type FROM system_events WHERE entity_type = 'breaker'")
    return Counter(row["event_type"].removeprefix("breaker.") for row in rows)


async def _settled(replica: Any, base: Base, clock: Any) -> None:
    """No call, no slot; after an hour nothing is left that is not final."""
    async with asyncio.timeout(60):
        while replica.relay.calls:  # noqa: ASYNC110 - calls settle on their own.
            await asyncio.sleep(0.05)
    # A slot whose start or whose end met a dead database lapses within a minute.
    await base.empty("SELECT * FROM conversation_slots WHERE leased_until > now()", within=75)
    clock.advance(3600)
    await replica.app.state.sweeper.sweep()
    await base.empty("SELECT * FROM conversations WHERE status NOT IN ('completed', 'failed')", within=0)
    await base.empty("SELECT * FROM conversation_slots", within=0)
    await base.empty("SELECT * FROM conversation_sessions WHERE session_status IN ('active', 'paused')", within=0)


async def _has_what_the_engine_said(replica: Any, base: Base, engine: httpx.AsyncClient) -> int:
    """Every line of the platform's own accounts is in the database; returns how many there were.

    What it swallowed with a socket nobody could see: that is asked for afterwards, as it always is.
    """
    while await replica.app.state.reconciler.run():
        pass
    sessions = await base.rows(
        "SELECT conversation_id, session, elevenlabs_conversation_id AS id FROM conversation_sessions "
        "WHERE elevenlabs_conversation_id IS NOT NULL ORDER BY session_start_time DESC LIMIT 4000"
    )
    lines = 0
    for one in sessions:
        account = (await engine.get(f"/v1/convai/conversations/{one['id']}")).raise_for_status().json()
        kept = await base.rows(
            "SELECT sender, content FROM messages WHERE conversation_id = %s AND session = %s",
            one["conversation_id"],
            one["session"],
        )
        have = Counter((row["sender"], " ".join(row["content"].split())) for row in kept)
        said = Counter(
            ("interpreter" if line["role"] == "agent" else "user", " ".join((line["message"] or "").split()))
            for line in account["transcript"]
            if line["message"]
        )
        assert said - have == Counter(), one
        lines += said.total()
    return lines


@asynccontextmanager
async def _running(*works: Awaitable[None]) -> AsyncIterator[None]:
    async def work(one: Awaitable[None]) -> None:
        await one

    tasks = [asyncio.create_task(work(one)) for one in works]
    try:
        yield
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _survives(seconds: float, serve: Serve, sign_in: SignIn, base: Base, engine: Any, clock: Any) -> None:
    seed = int(os.environ.get("ONEIRO_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    # Its warnings name the connections that were cut; pytest keeps them, and with them the connections.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    print(f"ONEIRO_SOAK_SEED={seed}")  # noqa: T201 - pytest shows it with a failure.
    dice, tally = random.Random(seed), Tally()  # noqa: S311 - dice, no secret.
    replica = await serve(max_concurrent_calls=2 * SLEEPERS, elevenlabs_base_url=str(engine.base_url).rstrip("/"))
    for breaker in replica.app.state.breakers:
        breaker._retry_timeout = REST
    people = [
        Sleeper(sign_in(replica), random.Random(dice.random()), base, tally)  # noqa: S311 - as above.
        for _ in range(SLEEPERS)
    ]
    # One conversation without faults first: what a process makes once is there then.
    await people[0].dream_until(time.monotonic() + 3)
    before, began = _tasks(), time.monotonic()
    end = began + seconds
    sizes: list[float] = []

    async def weigh() -> None:
        while time.monotonic() < end:
            await asyncio.sleep(seconds / 30)
            sizes.append(_resident())

    async with _running(_misbehave(engine, dice, end - seconds / 5), _disturb(base, dice, end - 5), weigh()):
        await asyncio.gather(*(person.dream_until(end) for person in people))
    print(tally, f"MiB: {[round(size) for size in sizes]}")  # noqa: T201 - as above.
    await engine.delete("/engine/faults")
    async with asyncio.timeout(60):
        while any(breaker.state != "closed" for breaker in replica.app.state.breakers):
            await people[0].dream_until(time.monotonic() + 1)
    await _only(before)
    await _settled(replica, base, clock)
    lines = await _has_what_the_engine_said(replica, base, engine)
    breakers = await _breakers(base)
    print(breakers, f"{lines} lines of the engine")  # noqa: T201 - as above.
    # A machine with other work does as little as this; it is some twenty times as much where there is none.
    assert tally.conversations >= SLEEPERS // 2
    assert tally.closes[1012] > 0
    assert lines >= SLEEPERS
    assert breakers["opened"] >= 1
    assert breakers["closed"] >= 1
    assert {breaker.state for breaker in replica.app.state.breakers} == {"closed"}
    third = len(sizes) // 3
    assert max(sizes[-3:]) - max(sizes[third - 2 : third + 1]) < GROWTH, sizes


@pytest.mark.timeout(360)
async def test_fifty_conversations_survive_faults_outages_and_a_failing_database(
    serve: Serve, sign_in: SignIn, base: Base, engine: httpx.AsyncClient, clock: Any
) -> None:
    await _survives(SHORT, serve, sign_in, base, engine, clock)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_they_survive_them_for_half_an_hour(
    serve: Serve, sign_in: SignIn, base: Base, engine: httpx.AsyncClient, clock: Any
) -> None:
    await _survives(float(os.environ.get("ONEIRO_SOAK_SECONDS", LONG)), serve, sign_in, base, engine, clock)
