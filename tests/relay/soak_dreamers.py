"""The dreamers of the soak: they write or speak, vanish, come back and end, and look at what is kept of it."""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import pytest
from tests.relay.soak_platform import aloud
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.typing import Subprotocol

Row = dict[str, Any]

DREAMS = ["A lighthouse called me.", "The stairs had no end.", "My teeth were made of glass.", "A dog spoke to me."]
BROKEN = (ConnectionClosed, InvalidHandshake, OSError, TimeoutError)
LONGEST_PAUSE = 6.0
"""Seconds between two lines of hers, at most: fifty of her leave a machine with two cores its breath."""
VANISHES = 0.1
"""How often she is gone after a line of hers."""
BREAKS_IN = 0.3
"""How often one who speaks does not let the interpreter finish."""
PATIENCE = 60.0
"""Seconds in which a reply comes, or a conversation is final."""
STORED = 180.0
"""Seconds in which what the relay could not store comes with the platform's own account."""
NO_END = ("conversation.ended", "conversation.failed")


class Base:
    """The database, read as its superuser over one connection."""

    def __init__(self, conn: psycopg.AsyncConnection[Row]) -> None:
        self._conn = conn

    async def rows(self, statement: str, *values: object) -> list[Row]:
        cursor = await self._conn.execute(statement.encode(), values)
        return await cursor.fetchall()

    async def empty(self, statement: str, *values: object, within: float, what: str) -> None:
        """Wait until there are no such rows."""
        end = time.monotonic() + within
        while found := await self.rows(statement, *values):
            assert time.monotonic() < end, f"{what}, {within} s later: {len(found)}, as {found[:3]}"
            await asyncio.sleep(0.2)


@dataclass
class Tally:
    """What all dreamers have seen."""

    conversations: int = 0
    written: int = 0
    spoken: int = 0
    heard: int = 0
    interruptions: int = 0
    resumes: int = 0
    answers: Counter[str] = field(default_factory=Counter)
    closes: Counter[int | None] = field(default_factory=Counter)
    """Close codes of sockets that the other side closed."""


class Sleeper:
    """A dreamer who holds one conversation after the other, in writing or aloud."""

    def __init__(self, http: httpx.AsyncClient, dice: random.Random, base: Base, tally: Tally, *, speaks: bool) -> None:
        self._http, self._dice, self._base, self._tally, self._speaks = http, dice, base, tally, speaks
        self._sent, self._sockets = 0, 0
        self._over: Callable[[], bool] = bool
        self._degraded = False
        self._typed: list[str] = []
        self._told: list[str] = []
        self._heard: dict[tuple[int, int], str] = {}
        """Replies by socket and event id, each as it was heard at last."""

    async def dream_until(self, over: Callable[[], bool]) -> None:
        """Hold one conversation after the other."""
        self._over = over
        if self._speaks:
            await self._insist(lambda: self._ask("PATCH", "/me", consents={"voice": True}))
        while not self._over() and (started := await self._start()) is not None:
            self._typed, self._told, self._heard = [], [], {}
            await self._hold(started)
            await self._is_kept(started["conversation_id"])
            self._tally.conversations += 1
            self._tally.written += len(self._typed)
            self._tally.spoken += len(self._told)
            self._tally.heard += len(self._heard)

    async def _start(self) -> Any:
        interpreter = self._dice.choice(["carl", "lakshmi"])
        while not self._over():
            answer = await self._ask("POST", "/conversations", interpreter_id=interpreter, text_only=not self._speaks)
            if answer.status_code == 201:
                return answer.json()
            await self._wait(answer)
        return None

    async def _hold(self, started: Any) -> None:
        conversation, turns = started["conversation_id"], self._dice.randrange(3, 15)
        while turns > 0 and not self._over():
            with suppress(*BROKEN):
                turns = await self._talk(started["signed_url"], turns)
            turns -= 1
            answer = await self._ask("POST", f"/conversations/{conversation}/resume")
            if answer.status_code == 409 and not answer.json()["retryable"]:
                return
            if answer.is_success:
                self._tally.resumes += 1
                started = answer.json()
            else:
                await self._wait(answer)
        await self._insist(lambda: self._ask("POST", f"/conversations/{conversation}/end"))

    async def _talk(self, url: str, turns: int) -> int:
        self._sockets, self._degraded = self._sockets + 1, False
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
        await self._until(socket, "agent_response")
        while turns > 0 and not self._over():
            breaks_in = self._speaks and self._dice.random() < BREAKS_IN
            await self._linger(socket, 0.0 if breaks_in else LONGEST_PAUSE * self._dice.random())
            await self._turn(socket)
            turns -= 1
            # Who came to write and is heard by a stand-in tries again whether the interpreter is back.
            if self._dice.random() < (3 * VANISHES if self._degraded else VANISHES):
                socket.transport.abort()
                return turns
        return 0

    async def _turn(self, socket: ClientConnection) -> None:
        """Say something, and take what comes up to its reply."""
        self._sent += 1
        text = f"{self._dice.choice(DREAMS)} ({self._sent})"
        if self._speaks and not self._degraded:
            for frame in aloud(text):
                await socket.send(frame)
            while (await self._until(socket, "user_transcript")) != text:
                pass
        else:
            await socket.send(json.dumps({"type": "user_message", "text": text}))
        await self._until(socket, "agent_response")
        if not self._speaks or self._degraded:
            # Answered, so it was passed on, so it is stored.
            self._typed.append(text)

    async def _until(self, socket: ClientConnection, kind: str) -> str:
        """Take what comes up to a frame of this kind; gives its words."""
        async with asyncio.timeout(PATIENCE):
            while True:
                found, words = self._note(await socket.recv(decode=True))
                if found == kind:
                    return words

    async def _linger(self, socket: ClientConnection, seconds: float) -> None:
        """Listen for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    self._note(await socket.recv(decode=True))

    def _note(self, raw: str) -> tuple[str, str]:
        """Note what a frame says; its kind and its words."""
        frame = json.loads(raw)
        match frame:
            case {"agent_response_event": {"agent_response": words, "event_id": number}}:
                self._heard[self._sockets, number] = words
            case {"agent_response_correction_event": {"corrected_agent_response": words, "event_id": number}}:
                self._heard[self._sockets, number] = words
                self._tally.interruptions += 1
            case {"user_transcription_event": {"user_transcript": words}}:
                self._told.append(words)
            case {"type": "oneiro_degraded"}:
                self._degraded, words = True, ""
            case _:
                words = ""
        return frame["type"], words

    async def _ask(self, method: str, path: str, **body: Any) -> httpx.Response:
        while True:
            try:
                answer = await self._http.request(method, path, json=body or None)
            except httpx.TransportError:  # A kept connection that the server has closed just now.
                await asyncio.sleep(0.05)
            else:
                self._tally.answers[f"{path.rsplit('/', 1)[-1]} {answer.status_code}"] += 1
                assert answer.status_code != 500, f"{method} {path}: {answer.text}"
                return answer

    async def _insist(self, attempt: Callable[[], Awaitable[httpx.Response]]) -> None:
        while (answer := await attempt()).is_error:
            await self._wait(answer)

    async def _wait(self, answer: httpx.Response) -> None:
        assert answer.json()["retryable"], f"{answer.request.method} {answer.request.url.path}: {answer.text}"
        await asyncio.sleep(min(float(answer.headers.get("Retry-After", "1")), 2.0) * (0.5 + self._dice.random()))

    async def _is_kept(self, conversation: str) -> None:
        """The conversation is final and ended once; each line that reached somebody is there, hers exactly once."""
        await self._base.empty(
            "SELECT id, status FROM conversations WHERE id = %s AND status NOT IN ('completed', 'failed')",
            conversation,
            within=PATIENCE,
            what="a conversation that ended is not final",
        )
        end = time.monotonic() + STORED
        while lost := await self._lost(conversation):
            if time.monotonic() > end:
                pytest.fail(f"heard in {conversation} and not stored: {lost}; {await self._account(conversation)}")
            await asyncio.sleep(0.5)
        hers = await self._base.rows(
            "SELECT content FROM messages WHERE conversation_id = %s AND sender = 'user'", conversation
        )
        stored, said = Counter(row["content"] for row in hers), Counter(self._typed + self._told)
        wrong = {line: stored[line] for line, count in said.items() if stored[line] != count}
        assert not wrong, f"said once in {conversation} and stored so often: {wrong}"
        ended = await self._base.rows(
            "SELECT event_type FROM system_events WHERE entity_id = %s AND event_type = ANY (%s)",
            conversation,
            list(NO_END),
        )
        assert len(ended) == 1, f"{conversation} ended so often: {ended}"

    async def _account(self, conversation: str) -> str:
        """What is known of a conversation that went wrong."""
        lines = await self._base.rows(
            "SELECT event_id, content, original_content, metadata FROM messages WHERE conversation_id = %s"
            " ORDER BY occurred_at, ordinal",
            conversation,
        )
        sessions = await self._base.rows(
            "SELECT session, session_status, close_code, connected_at, reconciled_at, session_metadata"
            " FROM conversation_sessions WHERE conversation_id = %s ORDER BY session",
            conversation,
        )
        return f"heard: {self._heard}; stored: {lines}; sessions: {sessions}"

    async def _lost(self, conversation: str) -> list[str]:
        """Replies that she heard and that are not stored, as they stand or as they stood before they were cut."""
        rows = await self._base.rows(
            "SELECT content, original_content FROM messages WHERE conversation_id = %s AND sender = 'interpreter'",
            conversation,
        )
        stored = [{plain(row["content"]), plain(row["original_content"])} for row in rows]
        lost = []
        # What could be fewest lines chooses first: many a reply was cut to the same few letters.
        for words in sorted(map(plain, self._heard.values()), key=lambda one: sum(one in row for row in stored)):
            place = next((place for place, row in enumerate(stored) if words in row), None)
            if place is None:
                lost.append(words)
            else:
                del stored[place]
        return lost


def plain(words: str | None) -> str:
    """Words as one writer and another agree on them."""
    return " ".join((words or "").split())
