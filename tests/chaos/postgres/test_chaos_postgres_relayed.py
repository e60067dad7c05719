"""kill -9 of PostgreSQL under calls through the relay, written and spoken; its owner brings it back."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.chaos.clients import MARKER, Answer, Call, Dreamer, Traffic, dialled
from tests.chaos.processes import WITHIN, House, Postgres, until
from tests.relay.soak_platform import aloud, recognised
from websockets.exceptions import ConnectionClosed

from oneiro.engine.app import running
from oneiro.engine.settings import EngineSettings

SignIn = Callable[..., Awaitable[Dreamer]]
Settle = Callable[..., Awaitable[None]]
Look = Callable[..., Awaitable[list[dict[str, Any]]]]

WRITING, SPEAKING = 3, 2
PAUSE = 0.2
"""Seconds between a reply and her next line."""
DANGER = "I want to kill myself tonight."
COME_AGAIN = 1012
NOT_OPENED = 1011


@pytest.fixture
async def engine(oneiro: House) -> AsyncIterator[None]:
    """A platform that hears what is said aloud."""
    async with running(EngineSettings(speed=100, recogniser=recognised)) as url:
        oneiro.settings["ONEIRO_ELEVENLABS_BASE_URL"] = url
        yield


class Caller:
    """A dreamer in a call: comes back when it breaks off, and says again what the transcript does not have."""

    def __init__(self, dreamer: Dreamer, started: Answer, *, speaks: bool) -> None:
        self._dreamer, self._speaks = dreamer, speaks
        self._url = str(started["signed_url"])
        self.id = str(started["conversation_id"])
        self._said = 0
        self.answered: list[str] = []
        self.replies: list[str] = []
        # Close codes of calls that were open, and of those that did not come so far.
        self.broken: list[int | None] = []
        self.shut: list[int | None] = []

    async def talk_until(self, enough: asyncio.Event) -> None:
        """Say one line after the other, and hang up."""
        while not await self._call(enough):
            self._url = (await self._dreamer.post(f"/conversations/{self.id}/resume"))["signed_url"]
            if self._words in await self.kept("user"):
                # Stored, and not answered.
                self._said += 1

    async def _call(self, enough: asyncio.Event) -> bool:
        """One call; whether she hung up herself."""
        async with dialled(self._url) as call:
            try:
                await call.open(text_only=not self._speaks)
            except ConnectionClosed:
                self.shut.append(call.socket.close_code)
                return False
            try:
                while not enough.is_set():
                    await self._say(call, self._words)
                    self._said += 1
                    await asyncio.sleep(PAUSE)
            except ConnectionClosed:
                self.broken.append(call.socket.close_code)
                await self._is_paused()
                return False
        return True

    @property
    def _words(self) -> str:
        return f"Corridor {self._said} of {self.id[:4]}: a {MARKER}."

    async def _say(self, call: Call, words: str) -> None:
        if self._speaks:
            for frame in aloud(words):
                await call.socket.send(frame)
            while (await call.until("user_transcript"))["user_transcription_event"]["user_transcript"] != words:
                pass
            self.replies.append(await call.reply())
        else:
            self.replies.append(await call.say(words))
        self.answered.append(words)

    async def _is_paused(self) -> None:
        """The relay has written all that it had of the call."""

        async def paused() -> bool:
            return (await self._dreamer.read(self.id))["paused_at"] is not None

        await until("a call that broke off is paused", paused)

    async def kept(self, sender: str) -> list[str]:
        return [line["content"] for line in await self._dreamer.lines(self.id) if line["sender"] == sender]


async def _callers(sign_in: SignIn) -> list[Caller]:
    found = []
    for number in range(WRITING + SPEAKING):
        dreamer, speaks = await sign_in(), number >= WRITING
        if speaks:
            assert (await dreamer.ask("PATCH", "/me", {"consents": {"voice": True}})).is_success
        found.append(Caller(dreamer, await dreamer.start(text_only=not speaks), speaks=speaks))
    return found


async def _more(callers: Sequence[Caller], count: int) -> None:
    known = [len(caller.answered) for caller in callers]

    async def told() -> bool:
        return all(len(caller.answered) >= had + count for caller, had in zip(callers, known, strict=True))

    await until(f"everybody gets {count} answers more", told, within=2 * WITHIN)


async def _in_danger(server: Postgres, call: Call) -> None:
    """Take the database away, and tell of danger: she is helped at once, and asked to come again."""
    server.hold()
    server.kill()
    await call.socket.send(json.dumps({"type": "user_message", "text": DANGER}))
    shown = await call.until("oneiro_safety")
    assert shown["safety_event"]["tier"] == "active_danger"
    assert await call.closed() == COME_AGAIN


@pytest.mark.usefixtures("engine")
async def test_calls_live_on_or_are_resumed_and_no_line_is_lost_or_kept_twice(
    server: Postgres, oneiro: House, traffic: Traffic, sign_in: SignIn, settle: Settle, look: Look
) -> None:
    service = await oneiro.serve(ONEIRO_TRANSPORT="relay")
    traffic.door.opens(service.url)
    callers, enough = await _callers(sign_in), asyncio.Event()
    grave = await sign_in()
    started = await grave.start()
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as calls:
        for caller in callers:
            calls.create_task(caller.talk_until(enough))
        call = await stack.enter_async_context(dialled(started["signed_url"]))
        await call.open()
        await call.say(f"I stood in a lighthouse with a {MARKER}.")
        await _more(callers, 3)
        server.kill()
        await _more(callers, 3)
        # Longer than a written line is waited for.
        await _in_danger(server, call)
        server.let_go()
        await _more(callers, 3)
        enough.set()

    async def told() -> bool:
        return bool(await look("SELECT FROM system_events WHERE event_type = 'safety.escalated'"))

    await until("the finding is told", told)
    assert (await grave.read(started["conversation_id"]))["safety_tier"] == "active_danger"
    await grave.post(f"/conversations/{started['conversation_id']}/end")

    async def all_over() -> bool:
        return not await look("SELECT FROM conversations WHERE status <> 'completed'")

    await until("every conversation is over", all_over)
    assert await look("SELECT * FROM conversation_slots") == []
    for caller in callers:
        await _kept_well(caller)
    assert any(caller.broken for caller in callers[:WRITING]), "what could not be stored was not answered"
    assert len(await look("SELECT FROM system_events WHERE event_type = 'safety.escalated'")) == 1
    await settle(traffic.acknowledged)


async def _kept_well(caller: Caller) -> None:
    assert set(caller.broken) <= {COME_AGAIN}
    assert set(caller.shut) <= {COME_AGAIN, NOT_OPENED}
    kept = await caller.kept("user")
    assert [words for words in kept if words in caller.answered] == caller.answered, "each once, and in order"
    assert Counter(caller.replies) <= Counter(await caller.kept("interpreter"))
