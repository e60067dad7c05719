"""A written conversation as a client has it: start over HTTP, talk over the socket.

Under the relay that is all; with the direct transport every line is reported, and the gate's answer is passed on.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import websockets
from websockets.asyncio.client import ClientConnection, connect

from oneiro.errors import SetupError
from oneiro.loopback import UNPROXIED, proxy
from oneiro.text import clean

Kind = Literal["started", "opening", "user", "part", "interpreter", "safety", "degraded", "error", "ended"]
OPEN_SECONDS = 15.0
REPLY_SECONDS = 90.0
COME_AGAIN = 1012
RESUMES = 3
# Sent upstream beside a line that the crisis gate flagged, so that any brain behind the platform follows its protocol.
ALARM = "The dreamer's next words were flagged by the crisis gate as {tier}. Follow the crisis protocol now."


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that happened in a conversation, as `talk --json` prints it."""

    type: Kind
    content: str = ""
    tier: str | None = None
    card: dict[str, Any] | None = None
    conversation_id: str | None = None

    def data(self) -> dict[str, Any]:
        """The line without what it does not have."""
        given = {"content": self.content, "tier": self.tier, "card": self.card, "conversation_id": self.conversation_id}
        return {"type": self.type, **{name: value for name, value in given.items() if value}}


class _ComeAgain(Exception):
    """The relay asks the client to resume."""


class ApiError(Exception):
    """The API answered with a problem; the message is its detail."""


@dataclass
class Api:
    """The API as a dreamer calls it."""

    client: httpx.AsyncClient

    async def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request; raises `ApiError` with the problem's detail."""
        try:
            answer = await self.client.request(method, f"/v1{path}", json=body)
        except httpx.TransportError as error:
            raise ApiError(f"{self.client.base_url} cannot be reached ({type(error).__name__})") from error
        if answer.is_error:
            raise ApiError(_detail(answer))
        found: dict[str, Any] = answer.json()
        return found


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {answer.status_code}"


@asynccontextmanager
async def signed_in(url: str, token: str | None) -> AsyncIterator[Api]:
    """An API client; without a token the server of this machine is asked for one."""
    async with httpx.AsyncClient(base_url=url.rstrip("/"), timeout=60.0, mounts=UNPROXIED) as client:
        api = Api(client)
        if token is None:
            try:
                token = (await api.call("POST", "/dev/session"))["token"]
            except ApiError as error:
                raise SetupError(f"{url}: {error}. Give a token with --token.") from None
        client.headers["Authorization"] = f"Bearer {token}"
        yield api


@dataclass
class Chat:
    """An open conversation; `say` yields what comes back, and a call that breaks off is resumed."""

    api: Api
    started: dict[str, Any]
    socket: ClientConnection
    sockets: AsyncExitStack
    counts: dict[str, int] = field(default_factory=lambda: {"user": 0, "interpreter": 0})
    over: bool = False

    @property
    def id(self) -> str:
        """The conversation's id."""
        return str(self.started["conversation_id"])

    async def opening(self) -> AsyncIterator[Line]:
        """The interpreter's first words."""
        async for line in self._listen("opening"):
            yield line

    async def say(self, text: str) -> AsyncIterator[Line]:
        """Say something: the gate reads it first, then it goes to the interpreter, whose words follow."""
        verdict = await self._report("user", text)
        yield Line("user", text)
        if verdict:
            yield Line("safety", tier=verdict["tier"], card=verdict.get("card"))
            if verdict["tier"] in {"passive_ideation", "active_danger"}:
                await self._send({"type": "contextual_update", "text": ALARM.format(tier=verdict["tier"])})
        await self._send({"type": "user_message", "text": text})
        async for line in self._listen("interpreter", said=text):
            yield line

    async def end(self, reason: str = "user_ended") -> Line:
        """End the conversation; the line holds its summary."""
        # Before the socket is closed: the relay would end the conversation itself, and leave its summary for later.
        ended = await self.api.call("POST", f"/conversations/{self.id}/end", {"reason": reason})
        await self.socket.close()
        return Line("ended", ended["summary"] or "", conversation_id=self.id)

    async def _listen(self, kind: Literal["opening", "interpreter"], *, said: str = "") -> AsyncIterator[Line]:
        again = False
        for _ in range(RESUMES):
            try:
                async for line in self._heard(kind):
                    yield line
                if not again:
                    return
                # The new session's opening knows nothing of words that were lost on the way: they are said again.
                again = False
                await self._send({"type": "user_message", "text": said})
                async for line in self._heard(kind):
                    yield line
            except _ComeAgain:
                # Else the new session's first words are the reply: they go on where this one broke off.
                self.started = await self.api.call("POST", f"/conversations/{self.id}/resume")
                again = bool(said) and not await self._stored(said)
                self.socket = await self.sockets.enter_async_context(_opened(self.api, self.started))
            else:
                return
        raise ApiError("the connection broke again and again")

    async def _stored(self, said: str) -> bool:
        """Whether the last thing that the dreamer said, as the service has it, is this."""
        found = await self.api.call("GET", f"/conversations/{self.id}/messages?limit=100")
        while found["next_cursor"]:
            path = f"/conversations/{self.id}/messages?limit=100&cursor={found['next_cursor']}"
            found = await self.api.call("GET", path)
        hers = [line["content"] for line in found["items"] if line["sender"] == "user"]
        return bool(hers) and hers[-1] == clean(said)

    async def _heard(self, kind: Literal["opening", "interpreter"]) -> AsyncIterator[Line]:
        async for frame in self._frames():
            if frame.get("type") == "agent_chat_response_part":
                part = frame["text_response_part"]
                if part.get("type") == "delta":
                    yield Line("part", part["text"])
            elif frame.get("type") == "agent_response":
                words = frame["agent_response_event"]["agent_response"]
                await self._report("interpreter", words)
                yield Line(kind, words)
                return
            elif frame.get("type") == "oneiro_safety":
                event = frame["safety_event"]
                yield Line("safety", tier=event["tier"], card=event["card"])
            elif frame.get("type") == "oneiro_degraded":
                yield Line("degraded", frame["degraded_event"]["words"])
            elif frame.get("type") == "error":
                yield Line("error", str(frame["error_event"].get("message") or "the platform reports a fault"))

    async def _frames(self) -> AsyncIterator[dict[str, Any]]:
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                async for raw in self.socket:
                    frame: dict[str, Any] = json.loads(raw)
                    if frame.get("type") == "ping":
                        await self._send({"type": "pong", "event_id": frame["ping_event"]["event_id"]})
                    yield frame
        except TimeoutError:
            raise ApiError(f"no reply came within {REPLY_SECONDS:.0f} seconds") from None
        except websockets.ConnectionClosedError as error:
            if error.rcvd is not None and error.rcvd.code == COME_AGAIN:
                raise _ComeAgain from None
            self.over = True
            raise ApiError(f"the connection broke: {_reason(error)}") from None
        self.over = True

    async def _send(self, frame: dict[str, Any]) -> None:
        with suppress(websockets.ConnectionClosed):
            await self.socket.send(json.dumps(frame))

    async def _report(self, sender: Literal["user", "interpreter"], content: str) -> dict[str, Any] | None:
        if self.started["transport"] == "relay":
            return None
        message = {"event_id": f"1:{sender}:{self.counts[sender]}", "sender": sender, "content": content}
        stored = await self.api.call("POST", f"/conversations/{self.id}/messages", {"messages": [message]})
        self.counts[sender] += 1
        found: dict[str, Any] | None = stored.get("safety")
        return found


def _reason(error: websockets.ConnectionClosed) -> str:
    return error.rcvd.reason or f"code {error.rcvd.code}" if error.rcvd else "no close was sent"


@asynccontextmanager
async def chat(api: Api, interpreter_id: str, dream_id: str | None) -> AsyncIterator[Chat]:
    """Start a written conversation and open its socket."""
    request = {"interpreter_id": interpreter_id, "text_only": True, "dream_id": dream_id}
    started = await api.call("POST", "/conversations", request)
    async with AsyncExitStack() as sockets:
        socket = await sockets.enter_async_context(_opened(api, started))
        yield Chat(api, started, socket, sockets)


@asynccontextmanager
async def _opened(api: Api, started: dict[str, Any]) -> AsyncIterator[ClientConnection]:
    try:
        url, convai = started["signed_url"], websockets.Subprotocol("convai")
        socket = await connect(url, subprotocols=[convai], max_size=2**20, proxy=proxy(url))
    except (OSError, websockets.InvalidHandshake) as error:
        raise ApiError(f"the interpreter cannot be reached ({type(error).__name__})") from error
    async with socket:
        platform_id = await _greeted(socket, started)
        if started["transport"] == "direct":
            body = {"elevenlabs_conversation_id": platform_id}
            await api.call("POST", f"/conversations/{started['conversation_id']}/connected", body)
        yield socket


async def _greeted(socket: ClientConnection, started: dict[str, Any]) -> str:
    """Send the first frame and wait for the platform's; returns its id of the conversation."""
    try:
        async with asyncio.timeout(OPEN_SECONDS):
            await socket.send(json.dumps(_initiation(started)))
            metadata = json.loads(await socket.recv())
        return str(metadata["conversation_initiation_metadata_event"]["conversation_id"])
    except websockets.ConnectionClosed as error:
        raise ApiError(f"the interpreter closed the conversation: {_reason(error)}") from None
    except (TimeoutError, ValueError, KeyError, TypeError):
        raise ApiError("the interpreter did not open the conversation") from None


def _initiation(started: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "conversation_initiation_client_data",
        "conversation_config_override": {"conversation": {"text_only": True}},
        "dynamic_variables": started["dynamic_variables"],
    }
