"""Random faults on both sides and in the database: every conversation comes to its end, and no line is lost."""

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed

Serve = Callable[..., Awaitable[Any]]
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]
Dial = Callable[..., Awaitable[Any]]

FAULTS = [
    {"kind": "drop", "frame": 9, "chance": 0.15},
    {"kind": "close", "frame": 12, "code": 1011, "chance": 0.15},
    {"kind": "close", "frame": 7, "code": 1008, "reason": "Missing required dynamic variables", "chance": 0.03},
    {"kind": "status", "path": "*get-signed-url", "status": 503, "chance": 0.02},
    {"kind": "latency", "path": "*get-signed-url", "seconds": 0.1, "chance": 0.1},
    {"kind": "malformed", "path": "*get-signed-url", "chance": 0.01},
]
DREAMS = ["A lighthouse called me.", "The stairs had no end.", "My teeth were made of glass.", "A dog spoke to me."]


class Sleeper:
    """A dreamer who talks, vanishes, comes back and ends, as the dice fall; keeps every line that reached her."""

    def __init__(self, dreamer: Any, dial: Dial, dice: random.Random) -> None:
        self._dreamer, self._dial, self._dice = dreamer, dial, dice
        self.conversation_id = ""
        self._sent = 0
        self.typed: list[str] = []
        self.heard: list[str] = []

    async def dream(self, turns: int) -> None:
        started = await self._start()
        self.conversation_id = started["conversation_id"]
        for _ in range(30):
            try:
                turns = await self._talk(started["signed_url"], turns)
            except (ConnectionClosed, OSError, TimeoutError):
                turns -= 1
            answer = await self._post(f"/conversations/{self.conversation_id}/resume")
            if answer.status_code == 409 and not answer.json()["retryable"]:
                return
            if turns <= 0:
                break
            if answer.is_success:
                started = answer.json()
            await asyncio.sleep(self._dice.random() / 10)
        while (await self._post(f"/conversations/{self.conversation_id}/end")).is_error:  # noqa: ASYNC110 - until it is.
            await asyncio.sleep(0.2)

    async def _post(self, path: str, **body: Any) -> httpx.Response:
        while True:
            try:
                answer: httpx.Response = await self._dreamer.http.post(path, json=body or None)
            except httpx.TransportError:  # A kept connection that the server has closed just now.
                await asyncio.sleep(0.05)
            else:
                return answer

    async def _start(self) -> Any:
        for _ in range(50):
            interpreter = self._dice.choice(["carl", "lakshmi"])
            answer = await self._post("/conversations", interpreter_id=interpreter, text_only=True)
            if answer.is_success:
                return answer.json()
            await asyncio.sleep(0.2)
        raise AssertionError(answer.text)

    async def _talk(self, url: str, turns: int) -> int:
        socket = await self._dial(url)
        await socket.open()
        await self._listen(socket)
        while turns > 0:
            self._sent += 1
            text = f"{self._dice.choice(DREAMS)} ({self._sent})"
            await socket.send(type="user_message", text=text)
            await self._listen(socket)
            # Answered, so it was passed on, so it is stored.
            self.typed.append(text)
            turns -= 1
            if self._dice.random() < 0.15:
                socket.socket.transport.abort()
                return turns
        await socket.socket.close(1000)
        return 0

    async def _listen(self, socket: Any) -> None:
        self.heard.append(await socket.reply())


async def _run(
    replica: Any, sign_in: Callable[..., Any], dial: Dial, look: Rows, engine_url: str, *, sleepers: int, turns: int
) -> list[Sleeper]:
    dice = random.Random(11)  # noqa: S311 - dice, no secret.
    async with httpx.AsyncClient(base_url=engine_url, headers={"xi-api-key": "k"}, trust_env=False) as engine:
        await engine.put("/engine/faults", json={"faults": FAULTS})
        try:
            people = [Sleeper(sign_in(replica), dial, random.Random(dice.random())) for _ in range(sleepers)]  # noqa: S311
            await asyncio.gather(*(person.dream(turns) for person in people))
        finally:
            await engine.delete("/engine/faults")
    return people


async def _check(people: list[Sleeper], replica: Any, look: Rows) -> None:
    # A slot whose start or whose end met a dead database lapses within a minute.
    async with asyncio.timeout(75):
        while replica.relay.calls or await look(  # noqa: ASYNC110 - calls and leases settle on their own.
            "SELECT 1 FROM conversation_slots WHERE leased_until > now()"
        ):
            await asyncio.sleep(0.05)
    for person in people:
        (row,) = await look("SELECT * FROM conversations WHERE id = %s", person.conversation_id)
        assert row["status"] in {"completed", "failed"}, row
        lines = await look("SELECT sender, content FROM messages WHERE conversation_id = %s", person.conversation_id)
        kept = [(line["sender"], line["content"]) for line in lines]
        for text in person.typed:
            assert kept.count(("user", text)) == 1
        for text in person.heard:
            assert ("interpreter", text) in kept
        ended = "SELECT 1 FROM system_events WHERE entity_id = %s AND event_type = ANY (%s)"
        types = ["conversation.ended", "conversation.failed"]
        assert len(await look(ended, person.conversation_id, types)) == 1
    stuck = [task.get_name() for task in asyncio.all_tasks() if task.get_name() == "relay writer"]
    assert stuck == []


async def test_no_line_is_lost_and_every_conversation_ends_under_random_faults(
    serve: Serve, sign_in: Callable[..., Any], dial: Dial, look: Rows, engine_url: str, limits: Any
) -> None:
    replica = await serve(max_concurrent_calls=100)
    people = await _run(replica, sign_in, dial, look, engine_url, sleepers=16, turns=4)
    await _check(people, replica, look)
    assert json.dumps([replica.frames("up", "user_message")]) != "[0]"


@pytest.mark.soak
@pytest.mark.timeout(600)
async def test_fifty_conversations_under_faults_and_a_failing_database(
    serve: Serve, sign_in: Callable[..., Any], dial: Dial, look: Rows, engine_url: str, limits: Any, db_url: str
) -> None:
    replica = await serve(max_concurrent_calls=100)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND usename = %s"

    async def disturb() -> None:
        while True:
            await asyncio.sleep(3)
            async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as killer:
                await killer.execute(kill, ("oneiro_service",))

    disturbing = asyncio.create_task(disturb())
    try:
        people = await _run(replica, sign_in, dial, look, engine_url, sleepers=50, turns=30)
    finally:
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
    await _check(people, replica, look)
