"""Clients that do what the documentation asks of them: send again, with the same event id, until it is taken."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import SplitResult, urlsplit
from uuid import uuid4

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tests.chaos.invariants import Acknowledged
from tests.chaos.processes import SECRET, WITHIN, Process, until
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from oneiro.auth import issue_token
from oneiro.cli.listen import bind, listening

Answer = dict[str, Any]
MARKER = "zaffrekite"
"""A word that only dreamers say: no log and no event may hold it."""


class Door:
    """Where the service is to be found now; closed while it is known to be away."""

    def __init__(self) -> None:
        self.url = ""
        self._open = asyncio.Event()

    def opens(self, url: str) -> None:
        self.url = url
        self._open.set()

    def closes(self) -> None:
        self._open.clear()

    async def passed(self) -> str:
        async with asyncio.timeout(2 * WITHIN):
            await self._open.wait()
        return self.url


@dataclass
class Traffic:
    """What all clients of a test have seen: answers by status, and what was never answered."""

    door: Door = field(default_factory=Door)
    acknowledged: Acknowledged = field(default_factory=Acknowledged)
    answers: Counter[int] = field(default_factory=Counter)
    refusals: list[httpx.Response] = field(default_factory=list)
    broken: int = 0
    stored: int = 0
    duplicates: int = 0
    sent: int = 0
    """Requests that went out whole; those that were answered, or broke after that."""
    settled: int = 0

    @property
    def in_flight(self) -> int:
        return self.sent - self.settled


@dataclass
class Dreamer:
    """A dreamer who tells things over HTTP, a connection for each request."""

    traffic: Traffic
    headers: dict[str, str]

    def at(self, url: str) -> "Dreamer":
        """The same dreamer at one replica."""
        there = Dreamer(replace(self.traffic, door=Door()), self.headers)
        there.traffic.door.opens(url)
        return there

    async def ask(self, method: str, path: str, body: object = None, **headers: str) -> httpx.Response:
        """Ask until there is an answer that is final: broken connections and 503 are tried again."""
        traffic = self.traffic
        while True:
            url = urlsplit(f"{await traffic.door.passed()}/v1{path}")
            try:
                answer = await self._exchange(method, url, body, headers)
            except OSError:
                traffic.broken += 1
                # Until the next one is there: a port that nobody has gives refusals without end.
                await asyncio.sleep(0.05)
                continue
            traffic.answers[answer.status_code] += 1
            if answer.status_code not in {503, 429}:
                return answer
            traffic.refusals.append(answer)
            await asyncio.sleep(min(float(answer.headers.get("Retry-After", "1")), 2.0))

    async def _exchange(self, method: str, url: SplitResult, body: object, more: dict[str, str]) -> httpx.Response:
        """One request, written by hand: a thousand at once shall cost the service more than the test."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Host": url.netloc, "Content-Type": "application/json", "Content-Length": str(len(content))}
        headers |= {"Connection": "close"} | self.headers | more
        target = url.path + (f"?{url.query}" if url.query else "")
        head = "".join(
            [f"{method} {target} HTTP/1.1\r\n", *(f"{name}: {value}\r\n" for name, value in headers.items())]
        )
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        try:
            writer.write(f"{head}\r\n".encode() + content)
            await writer.drain()
            self.traffic.sent += 1
            try:
                async with asyncio.timeout(2 * WITHIN):
                    return _answer(await reader.read())
            finally:
                self.traffic.settled += 1
        finally:
            writer.close()

    async def start(self, **request: object) -> Answer:
        key = str(uuid4())
        body = {"interpreter_id": "carl", "text_only": True, **request}
        answer = await self.ask("POST", "/conversations", body, **{"Idempotency-Key": key})
        assert answer.status_code == 201, answer.text
        started: Answer = answer.json()
        return started

    async def say(self, conversation_id: str, number: int, at: datetime | None = None) -> None:
        """Report a line until it is acknowledged."""
        event_id, said = f"line {number}", f"In room {number} there was a {MARKER} on the sill."
        line = {
            "event_id": event_id,
            "sender": "user",
            "content": said,
            "timestamp": (at or datetime.now(UTC)).isoformat(),
        }
        answer = await self.ask("POST", f"/conversations/{conversation_id}/messages", {"messages": [line]})
        assert answer.status_code == 202, answer.text
        self.traffic.stored += answer.json()["stored"]
        self.traffic.duplicates += answer.json()["duplicates"]
        self.traffic.acknowledged.note(conversation_id, event_id)

    async def post(self, path: str, body: object = None) -> Answer:
        answer = await self.ask("POST", path, body)
        assert answer.is_success, answer.text
        found: Answer = answer.json()
        return found

    async def read(self, conversation_id: str) -> Answer:
        found: Answer = (await self.ask("GET", f"/conversations/{conversation_id}")).json()
        return found

    async def lines(self, conversation_id: str) -> list[Answer]:
        """The whole transcript, page by page."""
        items: list[Answer] = []
        cursor = ""
        while True:
            page = (await self.ask("GET", f"/conversations/{conversation_id}/messages?limit=100{cursor}")).json()
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            cursor = f"&cursor={page['next_cursor']}"


def _answer(raw: bytes) -> httpx.Response:
    """An answer as it came; raises OSError for half of one."""
    head, _, content = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = httpx.Headers([(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)])
    if not status or len(content) != int(headers.get("Content-Length", "0")):
        raise ConnectionResetError
    return httpx.Response(int(status.split()[1]), headers=headers, content=content)


def dreamer(traffic: Traffic, *, operator: bool = False) -> Dreamer:
    """Sign in somebody new."""
    token = issue_token(SECRET, user_id=uuid4(), operator=operator, ttl=timedelta(hours=1), now=datetime.now(UTC))
    return Dreamer(traffic, {"Authorization": f"Bearer {token}"})


class Call:
    """An open socket, of the relay or of the platform itself."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.platform_id = ""

    async def open(self, variables: dict[str, str] | None = None, *, text_only: bool = True) -> None:
        """Send what a client sends first, and take the metadata; without variables it is a relay's."""
        first: Answer = {"type": "conversation_initiation_client_data"}
        first["conversation_config_override"] = {"conversation": {"text_only": text_only}}
        if variables is not None:
            first["dynamic_variables"] = variables
        await self.socket.send(json.dumps(first))
        metadata = await self.until("conversation_initiation_metadata")
        self.platform_id = metadata["conversation_initiation_metadata_event"]["conversation_id"]
        await self.reply()

    async def next(self) -> Answer:
        # Not `wait_for`: on Python 3.11 it loses a cancellation that comes together with a frame, and who was told to
        # be silent would talk on.
        async with asyncio.timeout(WITHIN):
            frame: Answer = json.loads(await self.socket.recv())
        return frame

    async def until(self, kind: str) -> Answer:
        while (frame := await self.next())["type"] != kind:
            pass
        return frame

    async def reply(self) -> str:
        return str((await self.until("agent_response"))["agent_response_event"]["agent_response"])

    async def say(self, text: str) -> str:
        await self.socket.send(json.dumps({"type": "user_message", "text": text}))
        return await self.reply()

    async def closed(self) -> int | None:
        """Read to the end; the close code, 1006 when there was none."""
        with suppress(ConnectionClosed):
            while True:
                await self.next()
        return self.socket.close_code


@asynccontextmanager
async def dialled(url: str) -> AsyncIterator[Call]:
    """Open a socket."""
    async with connect(url, subprotocols=[Subprotocol("convai")], compression=None, proxy=None, close_timeout=2) as one:
        yield Call(one)


@dataclass(frozen=True, slots=True)
class Switchboard:
    """The faults of an engine."""

    http: httpx.AsyncClient

    async def put(self, *faults: Answer) -> None:
        """Have these faults, and no others."""
        assert (await self.http.put("/engine/faults", json={"faults": faults})).is_success

    async def struck(self) -> None:
        """Wait until the first fault has happened."""

        async def happened() -> bool:
            return bool((await self.http.get("/engine/faults")).json()["faults"][0]["struck"])

        await until("the fault has struck", happened)


@asynccontextmanager
async def switchboard(engine: Process) -> AsyncIterator[Switchboard]:
    headers = {"xi-api-key": "k"}
    async with httpx.AsyncClient(base_url=engine.url, headers=headers, trust_env=False, timeout=WITHIN) as http:
        yield Switchboard(http)


@asynccontextmanager
async def hook(take: Callable[[Request], Awaitable[Response]]) -> AsyncIterator[str]:
    """Somebody else's server, in this process: gives the address to which webhooks are posted."""
    app = Starlette(routes=[Route("/hook", take, methods=["POST"])])
    async with listening(app, bind("127.0.0.1", 0, what="a hook")) as served:
        yield f"{served.url}/hook"
