"""Live calls for the bench of the relay, made as cheaply as Python can: the clients and the platform's sockets.

Frames are built once, a client's with its mask, and what arrives is counted by walking the lengths in its headers.
One timer paces all calls in steps of a quarter of a millisecond, each call at a moment of its own. One call in twenty
has the time in its microphone frames, from which the latency follows: both ends read one clock.
"""

import asyncio
import base64
import ctypes
import hashlib
import json
import math
import os
import random
import ssl
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit
from uuid import uuid4

from websockets.speedups import apply_mask

UP_BYTES, DOWN_BYTES = 1391, 10_700
MASK = b"\x5a\xc3\x17\x88"
STEP = 0.00025
MICROPHONE_STEPS, VOICE_STEPS = 128, 1000
"""Every 32 ms a frame upwards; every 250 ms a beat of the interpreter's voice."""
SAMPLED = 20
OPENING_AT_ONCE, TRIES = 6, 5
CLOSE, PING, PONG = 0x8, 0x9, 0xA
STAMP_AT, STAMP_BYTES = 24, 16
"""Where a microphone frame's payload has the time in nanoseconds: on a whole turn of the mask."""
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def framed(payload: bytes, *, mask: bytes = b"", first: int = 0x81) -> bytes:
    """A whole frame (RFC 6455 section 5.2)."""
    masked, length = 0x80 * bool(mask), len(payload)
    size = bytes([length]) if length < 126 else b"\x7e" + length.to_bytes(2, "big")
    head = bytes([first, masked | size[0]]) + size[1:]
    return head + mask + (apply_mask(payload, mask) if mask else payload)


def _sound_up() -> bytes:
    begin, end = b'{"user_audio_chunk":"', b'"}'
    return begin + b"A" * (STAMP_AT - len(begin)) + b"0" * STAMP_BYTES + b"A" * (UP_BYTES - STAMP_AT - 18) + end


def _down(kind: str, name: str, event: Mapping[str, object]) -> bytes:
    return framed(json.dumps({"type": kind, name: event}).encode())


MICROPHONE = framed(_sound_up(), mask=MASK)
STAMPED_FROM = 8 + STAMP_AT
BEFORE_STAMP, AFTER_STAMP = MICROPHONE[:STAMPED_FROM], MICROPHONE[STAMPED_FROM + STAMP_BYTES :]
NO_STAMP = MICROPHONE[STAMPED_FROM : STAMPED_FROM + STAMP_BYTES]
OPENING = framed(b'{"type":"conversation_initiation_client_data"}', mask=MASK)
GOODBYE = framed((1000).to_bytes(2, "big"), mask=MASK, first=0x80 | CLOSE)
VOICE = _down("audio", "audio_event", {"audio_base_64": "A" * (DOWN_BYTES - 79), "event_id": 1})
LINE = _down("agent_response", "agent_response_event", {"agent_response": "A short answer of hers.", "event_id": 1})


@dataclass
class Tally:
    """What came through since `start`; latencies in seconds, of the sampled calls' frames upwards."""

    up: int = 0
    down: int = 0
    latencies: list[float] = field(default_factory=list)


class Socket(asyncio.Protocol):
    """One end of a WebSocket: its handshake, a walk over what arrives, answers to pings and to a close."""

    masked = 0
    mask = b""

    def __init__(self) -> None:
        self.transport: asyncio.Transport = None  # type: ignore[assignment]
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._rest = b""
        self._skip = 0
        self._upgraded = False
        self.closed = "no close"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data, self._rest = self._rest + data, b""
        if not self._upgraded:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            self._upgraded = True
            self.upgrade(head)
        self._walk(data)

    def upgrade(self, head: bytes) -> None:
        """The other side's half of the handshake has arrived."""

    def text(self, data: bytes, at: int) -> None:
        """A text frame whose payload begins there, perhaps not whole."""

    def _walk(self, data: bytes) -> None:
        have, at = len(data), self._skip
        while have - at >= 2:
            length, head = data[at + 1] & 0x7F, 2
            if length > 125:
                head = 4 if length == 126 else 10
                if have - at < head:
                    break
                length = int.from_bytes(data[at + 2 : at + head], "big")
            head += self.masked
            end = at + head + length
            opcode = data[at] & 0x0F
            if opcode < CLOSE:
                self.text(data, at + head)
            elif end > have:
                break
            else:
                self._control(opcode, data[at + head - self.masked : at + head], data[at + head : end])
            at = end
        if at < have:
            self._rest = data[at:]
        self._skip = max(0, at - have)

    def _control(self, opcode: int, mask: bytes, payload: bytes) -> None:
        payload = apply_mask(payload, mask) if mask else payload
        if opcode == PING:
            self.transport.write(framed(payload, mask=self.mask, first=0x80 | PONG))
        elif opcode == CLOSE and not self.transport.is_closing():
            self.closed = f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}"
            self.transport.write(framed(payload, mask=self.mask, first=0x80 | CLOSE))
            self.transport.close()


class Caller(Socket):
    """A client: a microphone frame every 32 ms, and an ear."""

    mask = MASK

    def __init__(self, url: str, tally: Tally, *, sampled: bool) -> None:
        super().__init__()
        self._url, self._tally, self._sampled = urlsplit(url), tally, sampled
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        key = base64.b64encode(os.urandom(16)).decode()
        path = f"{self._url.path or '/'}?{self._url.query}"
        self.transport.write(
            f"GET {path} HTTP/1.1\r\nHost: {self._url.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: convai\r\n\r\n".encode()
        )

    def upgrade(self, head: bytes) -> None:
        if b" 101 " not in head.partition(b"\r\n")[0]:
            self.transport.abort()
            return
        self.transport.write(OPENING)

    def text(self, data: bytes, at: int) -> None:
        self._tally.down += 1
        if not self.ready.done():
            self.ready.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"a call was not opened: {self.closed}"))

    def beat(self) -> None:
        if self.transport.is_closing():
            return
        if self._sampled:
            stamp = apply_mask(b"%016d" % time.perf_counter_ns(), MASK)
            self.transport.write(BEFORE_STAMP + stamp + AFTER_STAMP)
        else:
            self.transport.write(MICROPHONE)

    def leave(self) -> None:
        if not self.transport.is_closing():
            self.left = True
            self.transport.write(GOODBYE)


class FarEnd(Socket):
    """The platform's side of a call: 4 s of speech in 8, a line every 2.5 s, and the time at which sound came."""

    masked = 4

    def __init__(self, traffic: "Traffic") -> None:
        super().__init__()
        self._traffic, self._tally = traffic, traffic.tally
        self._beats = random.randrange(160)
        self._unstamped = False

    def upgrade(self, head: bytes) -> None:
        lines = (line.split(b":", 1) for line in head.split(b"\r\n")[1:])
        key = {name.strip().lower(): value.strip() for name, value in lines}[b"sec-websocket-key"]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        event = {
            "conversation_id": f"conv_{uuid4().hex}",
            "agent_output_audio_format": "pcm_16000",
            "user_input_audio_format": "pcm_16000",
        }
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: convai\r\nSec-WebSocket-Accept: "
            + accept
            + b"\r\n\r\n"
            + _down("conversation_initiation_metadata", "conversation_initiation_metadata_event", event)
        )
        self._traffic.voice.add(self.beat)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._traffic.voice.remove(self.beat)

    def text(self, data: bytes, at: int) -> None:
        self._tally.up += 1
        if self._unstamped or len(data) - at < UP_BYTES:  # The opening, or a frame in pieces.
            return
        stamp = data[at + STAMP_AT : at + STAMP_AT + STAMP_BYTES]
        if stamp == NO_STAMP:
            self._unstamped = True
        else:
            sent = int(apply_mask(stamp, data[at - 4 : at]))
            self._tally.latencies.append((time.perf_counter_ns() - sent) / 1e9)

    def beat(self) -> None:
        if self.transport.is_closing():
            return
        self._beats += 1
        if self._beats % 32 < 16:
            self.transport.write(VOICE)
        if self._beats % 10 == 0 and self._traffic.lines:
            self.transport.write(LINE)


class Wheel:
    """Calls each of its members once a turn, at a step drawn for it."""

    def __init__(self, steps: int) -> None:
        self._slots: list[list[Callable[[], None]]] = [[] for _ in range(steps)]
        self._at = 0

    def add(self, member: Callable[[], None]) -> None:
        random.choice(self._slots).append(member)

    def remove(self, member: Callable[[], None]) -> None:
        for slot in self._slots:
            if member in slot:
                slot.remove(member)

    def step(self) -> None:
        for member in self._slots[self._at]:
            member()
        self._at = (self._at + 1) % len(self._slots)


class _Interval(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "first_s", "first_ns")]


def _ticking(seconds: float) -> int:
    """A file that can be read every so often: asyncio's own timers are as coarse as a millisecond."""
    libc, nanoseconds = ctypes.CDLL(None, use_errno=True), int(1e9 * seconds)
    clock: int = libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    interval = _Interval(0, nanoseconds, 0, nanoseconds)
    if clock < 0 or libc.timerfd_settime(clock, 0, ctypes.byref(interval), None):
        raise OSError(ctypes.get_errno(), "no timer")
    return clock


class Traffic:
    """All calls of a run, the platform that they reach, and how late the two of them were."""

    def __init__(self, *, lines: bool, tls: ssl.SSLContext | None) -> None:
        self.lines, self._tls = lines, tls
        self.tally, self.late = Tally(), list[float]()
        self.microphones, self.voice = Wheel(MICROPHONE_STEPS), Wheel(VOICE_STEPS)
        self._trusting = ssl.create_default_context() if tls else None

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: FarEnd(self), "127.0.0.1", 0, ssl=self._tls, backlog=1024)
        scheme, port = "wss" if self._tls else "ws", self._server.sockets[0].getsockname()[1]
        self.url = f"{scheme}://localhost:{port}/"
        self._clock, self._due = _ticking(STEP), time.perf_counter() + STEP
        loop.add_reader(self._clock, self._tick)
        return self

    async def __aexit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self._clock)
        os.close(self._clock)
        self._server.close()

    def _tick(self) -> None:
        os.read(self._clock, 8)
        now = time.perf_counter()
        while self._due <= now:
            self.late.append(now - self._due)
            self.microphones.step()
            self.voice.step()
            self._due += STEP

    async def open(self, urls: list[str]) -> "Calls":
        """Open so many calls, a few at a time; one that cannot be is broken from the start."""
        calls, turns = Calls(self), asyncio.Semaphore(OPENING_AT_ONCE)

        async def one(number: int, url: str) -> None:
            async with turns:
                await calls.insist(url, sampled=number % SAMPLED == 0)

        await asyncio.gather(*(one(number, url) for number, url in enumerate(urls)))
        return calls

    def start(self) -> None:
        """Count from here."""
        self.tally.up = self.tally.down = 0
        del self.tally.latencies[:], self.late[:]


class Calls:
    """The clients of one row."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic, self._callers, self._unopened = traffic, list[Caller](), 0

    async def insist(self, url: str, *, sampled: bool) -> None:
        """Open a call, and try again as a client does whose ticket is still good."""
        for _ in range(TRIES):
            try:
                await self.open(url, sampled=sampled)
            except (ConnectionError, TimeoutError) as error:
                print(f"not opened: {error}", file=sys.stderr)
                await asyncio.sleep(1)
            else:
                return
        self._unopened += 1

    async def open(self, url: str, *, sampled: bool) -> None:
        port, secure = urlsplit(url).port, url.startswith("wss")
        assert port is not None
        _, caller = await asyncio.get_running_loop().create_connection(
            lambda: Caller(url, self._traffic.tally, sampled=sampled),
            "127.0.0.1",
            port,
            ssl=self._traffic._trusting if secure else None,  # noqa: SLF001 - of the same run.
            server_hostname="localhost" if secure else None,
        )
        await asyncio.wait_for(caller.ready, 30)
        self._callers.append(caller)
        self._traffic.microphones.add(caller.beat)

    @property
    def broken(self) -> int:
        """How many did not begin, or ended before they were to."""
        return self._unopened + sum(caller.lost.done() and not caller.left for caller in self._callers)

    async def close(self) -> None:
        """Say goodbye on each and wait for its end."""
        for caller in self._callers:
            self._traffic.microphones.remove(caller.beat)
            caller.leave()
        await asyncio.wait_for(asyncio.gather(*(caller.lost for caller in self._callers)), 60)


def quantile(values: Iterable[float], share: float) -> float:
    """In milliseconds; not a number where nothing was measured."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else math.nan
