"""Whose turn it is: what was heard waits here, the agent answers one at a time, and may be interrupted."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from itertools import count
from typing import Any

from oneiro.engine import protocol
from oneiro.engine.conversations import Line, Record
from oneiro.engine.delivery import Delivery, Send, pieces_of, sound_of
from oneiro.engine.opening import Opening
from oneiro.engine.pacing import THINKING
from oneiro.engine.sound import SoundFormat
from oneiro.engine.state import Engine
from oneiro.engine.turns import Brain

log = logging.getLogger(__name__)
MOST_WAITING = 16
"""Messages that wait for an answer; further ones are refused."""
DEAF_AFTER = 1.5
"""Seconds of speech after which an agent without a recogniser says that it cannot hear."""
DEAF_AGAIN = 30.0
"""Seconds of further speech after which it says so again."""
ACTIVITY = 2.0
"""Seconds that the agent holds back after a sign of activity."""
CANNOT_HEAR = "I am sorry, I cannot make out spoken words here. Would you write to me instead?"


class Floor:
    """The turns of one conversation."""

    def __init__(self, engine: Engine, record: Record, opening: Opening, send: Send, stir: Callable[[], None]) -> None:
        self._engine, self._record, self._opening, self._send, self._stir = engine, record, opening, send, stir
        self._brain = Brain(engine, opening, record.conversation_id)
        self._format = SoundFormat.of(opening.config.tts.agent_output_audio_format)
        self._ids = count(1)
        self._waiting: asyncio.Queue[str | bytes] = asyncio.Queue(MOST_WAITING)
        self._changing = asyncio.Lock()
        self._turn: asyncio.Task[None] | None = None
        self._delivery: Delivery | None = None
        self._line: Line | None = None
        self._voiced, self._told_deaf_at = 0.0, -DEAF_AGAIN
        self._quiet_until = 0.0
        self._protected = opening.config.agent.disable_first_message_interruptions

    @property
    def busy(self) -> bool:
        """Whether the agent thinks or speaks, or has something to answer."""
        return not self._waiting.empty() or (self._turn is not None and not self._turn.done())

    def note(self, text: str) -> None:
        """Give the brain something to know."""
        self._brain.note(text)

    def hold_back(self) -> None:
        """Let somebody who is active finish first."""
        self._quiet_until = time.monotonic() + ACTIVITY / self._engine.pacing.speed

    def offer(self, heard: str | bytes) -> bool:
        """Put a message or an utterance in the queue; False when it is full."""
        if self._waiting.full():
            return False
        self._waiting.put_nowait(heard)
        return True

    async def run(self) -> None:
        """Say the first message, then answer whatever is heard."""
        if self._opening.first_message:
            await self._hold(self._deliver(_whole(self._opening.first_message), by=None))
        self._protected = False
        while True:
            heard = await self._waiting.get()
            text = heard if isinstance(heard, str) else await self._understand(heard)
            if text:
                await self._hold(self._answer(text, spoken=isinstance(heard, bytes)))

    async def say(self, words: str) -> None:
        """Say something outside of any turn, as the last words of a conversation."""
        await self._deliver(_whole(words), by=None)

    async def close(self) -> None:
        """Stop what is being said."""
        if self._turn:
            self._turn.cancel()
            # A turn whose socket broke has an error that nobody else will ask for.
            await asyncio.gather(self._turn, return_exceptions=True)

    async def interrupt(self, *, thinking: bool) -> None:
        """Stop the reply that is being spoken and say what was heard of it; `thinking` stops one not yet begun.

        The guardrail's words are never stopped, nor a first message that the agent protects.
        """
        async with self._changing:
            turn, delivery = self._turn, self._delivery
            speaking = delivery is not None and delivery.begun
            if turn is None or turn.done() or self._protected or not (speaking or thinking):
                return
            if delivery is None or not speaking:
                turn.cancel()
                return
            heard = delivery.heard(self._engine.pacing)
            if self._line:
                self._line.original, self._line.message, self._line.interrupted = self._line.message, heard, True
            turn.cancel()
            await self._send(protocol.interruption(delivery.event_id))
            await self._send(protocol.correction(delivery.event_id, delivery.text, heard))

    async def _hold(self, turn: Coroutine[Any, Any, None]) -> None:
        """Run one turn of the agent until it is done or interrupted."""
        async with self._changing:
            self._delivery = self._line = None
            self._turn = asyncio.create_task(turn)
        await asyncio.wait([self._turn])
        self._stir()
        if not self._turn.cancelled():
            self._turn.result()

    async def _understand(self, utterance: bytes) -> str:
        """The words of an utterance; without a recogniser none are invented, and the agent says so."""
        recogniser = self._engine.settings.recogniser
        if recogniser is None:
            self._voiced += len(utterance) / 2 / self._input_rate()
            if self._voiced >= DEAF_AFTER and self._voiced >= self._told_deaf_at + DEAF_AGAIN:
                self._told_deaf_at = self._voiced
                await self._hold(self._deliver(_whole(CANNOT_HEAR), by=None))
            return ""
        try:
            text = (await asyncio.to_thread(recogniser, utterance)).strip()
        except Exception as error:  # noqa: BLE001 - a recogniser is somebody else's code; its failure ends no conversation.
            log.warning("engine.recogniser_failed", extra={"cause": type(error).__name__})
            await self._send(protocol.error(1011, "asr_transcription_error", "The speech could not be recognised."))
            return ""
        if text:
            await self._send(protocol.user_transcript(next(self._ids), text))
        return text

    def _input_rate(self) -> int:
        return SoundFormat.of(self._opening.config.asr.user_input_audio_format).rate

    async def _answer(self, text: str, *, spoken: bool) -> None:
        self._record.add(Line("user", text, next(self._ids), self._engine.now(), medium="audio" if spoken else "text"))
        guardrail = self._engine.settings.guardrail
        words = guardrail(text) if guardrail else None
        try:
            if words is not None:
                self._protected = True
                await self._send(protocol.guardrail_triggered())
                await self._deliver(_whole(words), by="guardrail")
                return
            await self._engine.pacing.pause(THINKING)
            while (rest := self._quiet_until - time.monotonic()) > 0:  # noqa: ASYNC110 - a deadline that moves.
                await asyncio.sleep(rest)
            await self._deliver(self._brain.answer(text), by=self._brain.name)
        finally:
            self._protected = False
            self._brain.said(text, self._line.message if self._line else "")

    async def _deliver(self, pieces: AsyncGenerator[str, None], *, by: str | None) -> None:
        """Say one reply and keep it in the transcript."""
        started = time.monotonic()
        delivery = self._delivery = Delivery(next(self._ids))
        if self._opening.text_only:
            await delivery.write(pieces, self._send, self._engine.pacing)
            self._keep(delivery, time.monotonic() - started, by)
            return
        async with aclosing(pieces):
            delivery.text = "".join([piece async for piece in pieces]).strip()
        waited = time.monotonic() - started
        voice = self._engine.voices.find(self._opening.config.tts.voice_id)
        sound = await sound_of(delivery.text, self._opening, voice, self._engine.speech, self._format)
        self._keep(delivery, waited, by)
        if self._record.keeps_sound:
            self._record.recording_rate = self._format.rate
            self._engine.conversations.record(self._record, self._format.decode(sound))
        await delivery.speak(sound, self._format, self._send, self._engine.pacing)

    def _keep(self, delivery: Delivery, waited: float, by: str | None) -> None:
        self._line = Line(
            role="agent",
            message=delivery.text,
            event_id=delivery.event_id,
            at=self._engine.now(),
            medium="text" if self._opening.text_only else "audio",
            ttfb=waited if by else None,
            llm=None if by == "guardrail" else by,
            guarded=by == "guardrail",
        )
        self._record.add(self._line)


async def _whole(text: str) -> AsyncGenerator[str, None]:
    """Fixed words as a reply."""
    for piece in pieces_of(text):
        yield piece
