"""One conversation socket: it opens, hears, and ends in exactly one way."""

import asyncio
import logging
import math
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Never

from starlette.websockets import WebSocket, WebSocketDisconnect

from oneiro.engine import protocol
from oneiro.engine.conversations import Record
from oneiro.engine.faults import Close, Cut, Faults
from oneiro.engine.floor import Floor
from oneiro.engine.listening import Ear
from oneiro.engine.opening import Opening
from oneiro.engine.protocol import ALWAYS_SENT, BadFrame, ClientData, ClientFrame, Frame
from oneiro.engine.sound import SoundFormat
from oneiro.engine.state import Engine

log = logging.getLogger(__name__)
PING_EVERY = 5.0
PING_AT_LEAST = 1.0
"""Seconds between pings, however fast the engine is."""
LAST_WORDS = 20.0
"""Seconds that the words at the maximum duration may take."""


@dataclass(frozen=True)
class Ending:
    """How a conversation ended; `error_type` when something went wrong, `by_client` when nobody is left to be told."""

    code: int
    reason: str
    error_type: str | None = None
    by_client: bool = False


class Wire:
    """The socket as frames; the one place where frames leave the engine, and so where a fault is put in.

    `broken` is set when the engine forgets everything.
    """

    def __init__(self, socket: WebSocket, faults: Faults, broken: asyncio.Event) -> None:
        self._socket, self._broken = socket, broken
        self._fault, self._sent = faults.socket(), 0
        self._sending = asyncio.Lock()
        self.admitted: frozenset[str] | None = None

    async def send(self, frame: Frame) -> None:
        """Send a frame, unless the agent's client_events leave it out; a fault raises Cut or WebSocketDisconnect."""
        if self.admitted is None or frame["type"] in self.admitted:
            async with self._sending:
                self._strike()
                await self._socket.send_text(protocol.dump(frame))

    def _strike(self) -> None:
        fault, self._sent = self._fault, self._sent + 1
        if fault is None or self._sent < fault.frame:
            return
        if isinstance(fault, Close):
            self._fault = None
            raise Cut(fault.code, fault.reason)
        # Whoever leaves a socket without a close gets none: the connection just ends.
        raise WebSocketDisconnect(1006)

    async def break_off(self) -> Never:
        """Wait until the engine forgets everything; then the connection just ends."""
        await self._broken.wait()
        raise WebSocketDisconnect(1006)

    async def receive(self) -> ClientFrame:
        """The next frame; raises BadFrame or WebSocketDisconnect."""
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message["code"], message.get("reason"))
        text = message.get("text")
        if text is None:
            raise BadFrame("frames are JSON text")
        return protocol.parse(text)


class Session:
    """The state of one conversation; `run` returns how it ended."""

    def __init__(self, engine: Engine, wire: Wire, record: Record, opening: Opening) -> None:
        config = opening.config
        wire.admitted = frozenset(config.conversation.client_events) | ALWAYS_SENT
        self._wire, self._record, self._opening = wire, record, opening
        self._pacing = engine.pacing
        self._floor = Floor(engine, record, opening, wire.send, self._stir)
        self._ear = Ear(SoundFormat.of(config.asr.user_input_audio_format), config.turn.turn_eagerness)
        self._lull: asyncio.TimerHandle | None = None
        self._pings: dict[int, float] = {}
        self._ping_ms: int | None = None
        self._began = self._active = time.monotonic()
        self._stirred = asyncio.Event()

    async def run(self, early: ClientFrame | None) -> Ending:
        """Converse until somebody ends it; `early` is a first frame that was not the client's data."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._read(early), self._floor.run(), self._watch(), self._ping(), self._wire.break_off())
        ]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if self._lull:
                self._lull.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._floor.close()
        ending = _outcome(done)
        last_words = self._opening.config.agent.max_conversation_duration_message
        if ending.error_type == "max_duration_exceeded" and last_words:
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await self._floor.say(last_words)
        return ending

    def _stir(self) -> None:
        """Something happened: the silence begins anew."""
        self._active = time.monotonic()
        self._stirred.set()

    async def _read(self, early: ClientFrame | None) -> Ending:
        frame = early
        while True:
            try:
                if frame is not None:
                    await self._take(frame)
                frame = await self._wire.receive()
            except BadFrame as bad:
                frame = None
                await self._wire.send(protocol.error(1002, "invalid_message", str(bad)))
            except WebSocketDisconnect as gone:
                return Ending(gone.code, "Client disconnected", by_client=True)

    async def _take(self, frame: ClientFrame) -> None:
        match frame:
            case protocol.AudioChunk():
                await self._hear(frame.sound())
            case protocol.UserMessage(text=str(text)) | protocol.Multimodal(text=protocol.UserMessage(text=str(text))):
                await self._typed(text)
            case protocol.UserActivity():
                self._floor.hold_back()
                self._stir()
            case protocol.ContextualUpdate():
                self._floor.note(frame.text)
            case protocol.Pong():
                self._measure(frame.event_id)
            case protocol.Opinion():
                self._record.judge(frame.event_id, frame.score)
            case ClientData():
                raise BadFrame("the conversation has already been opened")
            case protocol.UserMessage() | protocol.Multimodal():
                raise BadFrame("the message is empty")
            case _:
                self._stir()

    async def _typed(self, text: str) -> None:
        if not text.strip():
            raise BadFrame("the message is empty")
        self._stir()
        if not self._opening.text_only:
            await self._floor.interrupt(thinking=False)
        if not self._floor.offer(text):
            raise BadFrame("too many messages wait for an answer")

    async def _hear(self, sound: bytes) -> None:
        if self._opening.text_only:
            raise BadFrame("the conversation is written")
        for change in self._ear.hear(sound):
            self._stir()
            if change == "began":
                await self._floor.interrupt(thinking=True)
            else:
                self._hand_over(change)
        if self._lull:
            self._lull.cancel()
        if self._ear.open:
            patience = self._ear.patience / self._pacing.speed
            self._lull = asyncio.get_running_loop().call_later(patience, self._cut_short)

    def _cut_short(self) -> None:
        """Take the utterance as finished when a microphone falls silent by sending nothing."""
        self._hand_over(self._ear.take())

    def _hand_over(self, utterance: bytes) -> None:
        if not self._floor.offer(utterance):
            log.warning("engine.utterance_dropped")

    async def _watch(self) -> Ending:
        """Wait for the maximum duration or for a silence that is too long."""
        config = self._opening.config
        latest = self._began + config.conversation.max_duration_seconds
        patience = config.turn.silence_end_call_timeout
        while True:
            now = time.monotonic()
            silent = math.inf if patience <= 0 or self._floor.busy else self._active + patience
            if now >= latest:
                return Ending(1011, "Conversation has exceeded maximum duration", "max_duration_exceeded")
            if now >= silent:
                return Ending(1000, "Call ended due to silence")
            self._stirred.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(latest, silent) - now):
                    await self._stirred.wait()

    async def _ping(self) -> Ending:
        """Ask from time to time how far away the client is."""
        for event_id in count(1):
            self._pings = {event_id: time.monotonic()}
            await self._wire.send(protocol.ping(event_id, self._ping_ms))
            await asyncio.sleep(max(PING_AT_LEAST, PING_EVERY / self._pacing.speed))
        raise AssertionError("count has no end")

    def _measure(self, event_id: int) -> None:
        sent = self._pings.pop(event_id, None)
        if sent is not None:
            self._ping_ms = round((time.monotonic() - sent) * 1000)


def _outcome(done: set[asyncio.Task[Ending | None]]) -> Ending:
    """How the first finished task ended; a fault of ours is an ending too, and is logged without any words."""
    faults = [fault for task in done if (fault := task.exception())]
    endings = [ending for task in done if not task.exception() and (ending := task.result())]
    if endings:
        return endings[0]
    if any(isinstance(fault, WebSocketDisconnect) for fault in faults):
        return Ending(1006, "Client disconnected", by_client=True)
    for fault in faults:
        if isinstance(fault, Cut):
            return Ending(fault.code, fault.reason)
        place = traceback.extract_tb(fault.__traceback__)[-1]
        cause = f"{type(fault).__name__} in {place.name}, line {place.lineno}"
        log.error("engine.session_failed", extra={"cause": cause})
    return Ending(1011, "Internal error", "unknown")
