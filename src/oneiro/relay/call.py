"""One call: two sockets read and written in turn, the gate between them, and one way to end."""

import asyncio
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import structlog

from oneiro import text
from oneiro.conversations.models import EndReason
from oneiro.conversations.relayed.models import Admission, Fault, Outcome
from oneiro.errors import ValidationError
from oneiro.relay import frames
from oneiro.relay.ledger import Ledger, Unwritten
from oneiro.relay.legs import LOST, TOO_BIG, Gone, Leg
from oneiro.relay.limits import Limits
from oneiro.relay.scribe import Scribe
from oneiro.safety import cards
from oneiro.safety.crisis import Tier, assess
from oneiro.tracing import past

ALARM: Final = "The dreamer's words were flagged by the crisis gate as {tier}. Follow the crisis protocol now."
GOODBYE: Final = (
    'This conversation ends in {seconds} seconds. Do not open a new theme. Say goodbye in these words: "{words}"'
)
GOOD_NIGHT: Final = (
    "The dreamer has been silent for a while and may have fallen asleep. Ask nothing more. "
    'Should she speak, go on gently; else the conversation ends in {seconds} seconds with these words: "{words}"'
)
GRAVE: Final = Tier.passive_ideation.rank

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ending:
    """How a call is over: the close that each side gets, and what becomes of the conversation.

    `reason` None: the dreamer may come back. `fault` names what broke. `by_client`: nobody is left to be told.
    """

    reason: EndReason | None
    code: int
    words: str
    fault: str | None = None
    by_client: bool = False

    def outcome(self) -> Outcome:
        """What is written of it."""
        return Outcome(self.reason, self.code, self.fault)


ENDED_ELSEWHERE: Final = Ending(None, 1000, "ended")
CONTINUED_ELSEWHERE: Final = Ending(None, 1000, "continued elsewhere")
DRAINED: Final = Ending(None, 1012, "this server stops; please resume")


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told of frames and turns: `frames` counts by direction and kind, `turn` gets interpreter and seconds."""

    frames: Counter[tuple[str, str]]
    turn: Callable[[str, float], None]


class Call:
    """The state of one call; `run` returns how it ended."""

    def __init__(
        self,
        admission: Admission,
        client: Leg,
        upstream: Leg,
        ledger: Ledger,
        *,
        limits: Limits,
        watch: Watch,
        now: Callable[[], datetime],
    ) -> None:
        self.admission = admission
        self._client, self._upstream, self._ledger = client, upstream, ledger
        self._limits, self._watch = limits, watch
        self._scribe = Scribe(admission.session, now=now, seconds=time.monotonic)
        self._began = self._active = self._dreamer_active = time.monotonic()
        self._stopped: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._informed = Tier.none
        self._muted = False
        self._fault: str | None = None
        self._context = copy_context()

    def stop(self, ending: Ending) -> None:
        """End the call from outside."""
        if not self._stopped.done():
            self._stopped.set_result(ending)

    async def run(self) -> Ending:
        """Relay until one side leaves, time is up, or somebody stops it."""
        self._splice()
        tasks = [asyncio.create_task(work) for work in (self._up(), self._down(), self._mind())]
        try:
            await asyncio.wait([self._stopped, *tasks], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._stopped.done():
            return self._stopped.result()
        return _first([task for task in tasks if not task.cancelled()])

    def _splice(self) -> None:
        """Let sound go its own way where both sides can do that."""
        client, upstream = self._client.side, self._upstream.side
        if client is not None and upstream is not None:
            patience = self._limits.writing
            slow = _client_left(Gone(LOST, slow=True)), self._upstream_left(Gone(LOST, slow=True))
            client.splice(upstream, self._sound_up, lambda: self.stop(slow[0]), patience=patience)
            upstream.splice(client, self._sound_down, lambda: self.stop(slow[1]), patience=patience)

    def _sound_up(self) -> bool:
        """Whether the other side hears the dreamer: no sound leaves a written session, whatever its client sends."""
        written = self.admission.text_only or self.admission.degraded
        self._watch.frames["up_dropped" if written else "up", "audio"] += 1
        return not written

    def _sound_down(self) -> bool:
        """Whether the interpreter's voice may be heard now."""
        self._watch.frames["down", "audio"] += 1
        self._active = time.monotonic()
        if self._muted:
            return False
        self._reply_began("audio")
        return True

    async def hear_out(self) -> None:
        """Note what the platform had said before its socket closed; nobody is left to be told."""
        with suppress(Gone):
            while True:
                raw = await self._upstream.receive()
                if not frames.is_sound_down(raw):
                    self._note(frames.downward(raw))

    def _stir(self) -> None:
        """The dreamer is there."""
        self._active = self._dreamer_active = time.monotonic()

    # Upwards

    async def _up(self) -> Ending:
        try:
            while True:
                raw = await self._client.receive()
                if frames.is_sound_up(raw):
                    if self._sound_up():
                        await self._send_up(raw)
                else:
                    await self._take(frames.upward(raw))
        except Gone as gone:
            return _client_left(gone)
        except _Upstream as lost:
            return self._upstream_left(lost.gone)
        except Unwritten:
            # What she wrote is not kept, so it is not answered either: the page sends it again after resuming.
            return Ending(None, 1012, "please resume", fault="not_stored")

    async def _take(self, frame: frames.Upward) -> None:
        match frame:
            case frames.Typed():
                self._watch.frames["up", "user_message"] += 1
                await self._take_typed(frame.text)
            case frames.Allowed():
                self._watch.frames["up", frame.kind] += 1
                if frame.kind == "user_activity":
                    self._stir()
                await self._send_up(frame.frame)
            case frames.Refused():
                self._watch.frames["up_dropped", frame.kind] += 1
            case frames.Opening():
                self._watch.frames["up_dropped", "second_opening"] += 1

    async def _take_typed(self, written: str) -> None:
        """Pass a message on once it is bounded, judged and stored."""
        try:
            message = text.bounded(written, field="text", limit=text.MAX_MESSAGE)
        except ValidationError as error:
            self._watch.frames["up_dropped", "invalid_message"] += 1
            await self._client.send(frames.refusal(error.detail))
            return
        self._stir()
        self._muted = False
        tier = assess(message, self.admission.language)
        line = self._scribe.typed(message, tier)
        if tier.rank >= GRAVE:
            await self._show_card(tier)
        await self._ledger.keep(line, within=self._limits.keeping)
        if tier.rank >= GRAVE:
            await self._inform(tier)
        self._scribe.turn_ended("user_message")
        await self._send_up(frames.user_message(message))

    async def _send_up(self, frame: str) -> None:
        try:
            await self._upstream.send(frame)
        except Gone as gone:
            raise _Upstream(gone) from None

    # Downwards

    async def _down(self) -> Ending:
        try:
            while True:
                try:
                    raw = await self._upstream.receive()
                except Gone as gone:
                    return self._upstream_left(gone)
                if frames.is_sound_down(raw):
                    if self._sound_down():
                        await self._client.send(raw)
                else:
                    await self._bring(raw, frames.downward(raw))
        except Gone as gone:
            return _client_left(gone)
        except _Upstream as lost:
            return self._upstream_left(lost.gone)

    async def _bring(self, raw: str, frame: frames.Downward) -> None:
        """Note what a frame tells, and pass it on unless it holds words that she shall not get now."""
        kind = _KINDS.get(type(frame)) or getattr(frame, "kind", "")
        if kind not in frames.DOWNWARD or isinstance(frame, frames.Metadata):
            self._watch.frames["down_dropped", kind if kind in frames.DOWNWARD else "unknown"] += 1
            return
        self._watch.frames["down", kind] += 1
        if _has_words(frame):
            self._active = time.monotonic()
            self._reply_began("text")
        tier = self._note(frame)
        withheld = isinstance(frame, frames.Said | frames.Corrected) or (
            isinstance(frame, frames.Plain) and frame.words
        )
        if not (self._muted and withheld):
            await self._client.send(raw)
        if tier.rank >= GRAVE:
            await self._show_card(tier)
            await self._inform(tier)

    def _note(self, frame: frames.Downward) -> Tier:
        """Note the lines of a frame; what the gate found where the dreamer spoke."""
        match frame:
            case frames.Heard() if frame.text.strip():
                return self._note_heard(text.clean(frame.text))
            case frames.Said() if frame.text.strip():
                self._ledger.note(self._scribe.said(text.clean(frame.text), frame.event_id, withheld=self._muted))
            case frames.Corrected():
                amendment = self._scribe.corrected(text.clean(frame.text), frame.event_id)
                if amendment is not None:
                    self._ledger.note(amendment)
            case frames.Fault():
                self._fault = frame.error_type
                self._ledger.note(Fault(frame.error_type))
            case frames.Plain(kind="guardrail_triggered"):
                # The platform's own guard speaks in place of the interpreter: let her hear it.
                self._muted = False
        return Tier.none

    def _note_heard(self, heard: str) -> Tier:
        self._stir()
        tier = assess(heard, self.admission.language)
        line = self._scribe.heard(heard, tier)
        if line is None:
            return Tier.none
        self._ledger.note(line)
        self._scribe.turn_ended("user_transcript")
        # An interpreter who has been told of the danger may answer; one who has not may not.
        self._muted = tier.rank >= GRAVE and tier.rank > self._informed.rank
        return tier

    def _reply_began(self, signal: Literal["audio", "text"]) -> None:
        seconds = self._scribe.reply_began(signal)
        if seconds is not None:
            self._watch.turn(self.admission.interpreter_id, seconds)
            # Sound comes in the context of the platform's socket, which is older than the call.
            self._context.run(past, "relay.turn", seconds, signal=signal)

    # What we say ourselves

    async def _show_card(self, tier: Tier) -> None:
        card = cards.card(tier, self.admission.region, self.admission.language)
        assert card is not None
        self._watch.frames["down", "oneiro_safety"] += 1
        await self._client.send(frames.safety(card, cards.spoken(tier, self.admission.region)))

    async def _inform(self, tier: Tier) -> None:
        self._informed = max(self._informed, tier, key=lambda known: known.rank)
        await self._send_up(frames.contextual_update(ALARM.format(tier=tier.value)))

    async def _mind(self) -> Ending:
        """Say goodbye before time is up, and good night when it has been silent for long."""
        limits, admission = self._limits, self.admission
        patience = limits.silence_written if admission.text_only else limits.silence_spoken
        latest = self._began + admission.seconds
        farewell = min(limits.farewell, admission.seconds / 2)
        try:
            while True:
                quiet = self._active + patience
                due = min(latest - farewell, quiet)
                if (rest := due - time.monotonic()) > 0:
                    await asyncio.sleep(rest)
                elif due == quiet:
                    if await self._good_night(farewell):
                        return Ending("timeout", 1000, "good night")
                else:
                    await self._say(admission.bound, GOODBYE, latest - time.monotonic())
                    await asyncio.sleep(latest - time.monotonic())
                    return Ending("timeout", 1000, "time is up")
        except Gone as gone:
            return _client_left(gone)
        except _Upstream as lost:
            return self._upstream_left(lost.gone)

    async def _good_night(self, farewell: float) -> bool:
        """Say good night and wait; whether it stayed silent."""
        await self._say("silence", GOOD_NIGHT, farewell)
        said = self._active = time.monotonic()
        await asyncio.sleep(farewell)
        return self._dreamer_active < said

    async def _say(self, reason: str, context: str, seconds: float) -> None:
        words = self.admission.closing
        self._watch.frames["down", "oneiro_ending"] += 1
        await self._client.send(frames.ending(reason, seconds, words))
        await self._send_up(frames.contextual_update(context.format(seconds=round(seconds), words=words)))

    def _upstream_left(self, gone: Gone) -> Ending:
        if gone.code == 1000:
            return Ending("agent_ended", 1000, "the conversation has ended")
        if self._fault == "max_duration_exceeded":
            return Ending("timeout", 1000, "time is up")
        if gone.code == 1008:
            return Ending("error", 1008, "the platform refused this conversation", fault=self._fault or "upstream_1008")
        fault = "upstream_slow" if gone.slow else f"upstream_{gone.code}"
        return Ending(None, 1012, "please resume", fault=self._fault or fault)


class _Upstream(Exception):
    """The platform's side has left while something was sent to it."""

    def __init__(self, gone: Gone) -> None:
        super().__init__()
        self.gone = gone


_KINDS: Final = {
    frames.Metadata: "conversation_initiation_metadata",
    frames.Heard: "user_transcript",
    frames.Said: "agent_response",
    frames.Corrected: "agent_response_correction",
    frames.Fault: "error",
}


def _has_words(frame: frames.Downward) -> bool:
    return isinstance(frame, frames.Said | frames.Corrected) or (isinstance(frame, frames.Plain) and frame.words)


def _client_left(gone: Gone) -> Ending:
    if gone.slow:
        return Ending(None, 1011, "slow_client", fault="slow_client")
    if gone.code == 1000:
        return Ending("user_ended", 1000, "", by_client=True)
    if gone.code == TOO_BIG:
        return Ending(None, TOO_BIG, "a frame has at most 64 KiB", fault="frame_too_big")
    return Ending(None, gone.code, "", by_client=True)


def _first(tasks: list[asyncio.Task[Ending]]) -> Ending:
    """How the first finished task ended; a fault of ours is an ending, too, and is logged without any words."""
    for task in tasks:
        error = task.exception()
        if error is None:
            return task.result()
        place = traceback.extract_tb(error.__traceback__)[-1]
        log.error("relay.failed", error=type(error).__name__, where=f"{place.name}:{place.lineno}")
    return Ending("error", 1011, "internal error", fault="internal_error")
