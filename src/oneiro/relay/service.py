"""The relay of one process: opens calls, keeps them alive, and lets each come to its end."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from starlette.websockets import WebSocket

from oneiro.breaker import CircuitBreaker
from oneiro.conversations.address import reach
from oneiro.conversations.relayed.models import Admission, Fault
from oneiro.conversations.relayed.service import Relayed
from oneiro.errors import OneiroError, PlatformUnavailable, SecurityError, TooMany
from oneiro.events.loops import end
from oneiro.events.models import Filter
from oneiro.events.tail import Lagged, Tail
from oneiro.interpreters.agents.service import Agents
from oneiro.interpreters.agents.stand_in import StandIn
from oneiro.platform.errors import PlatformRefused
from oneiro.platform.port import VoicePlatform
from oneiro.relay import frames
from oneiro.relay.call import CONTINUED_ELSEWHERE, DRAINED, ENDED_ELSEWHERE, Call, Ending, Watch
from oneiro.relay.ledger import Ledger
from oneiro.relay.legs import ClientLeg, Gone, Leg, UpstreamLeg, dial
from oneiro.relay.limits import SUBPROTOCOL, Limits
from oneiro.tracing import continued, traced

CLOSING_TRIES: Final = 10
MOST_SOCKETS: Final = 2
"""Sockets of one session at a time: each that is let in costs a session of the platform, whoever wins the ticket."""
DONE: Final = Filter(
    types=frozenset(f"conversation.{what}" for what in ("ended", "timed_out", "failed", "deleted", "paused", "resumed"))
    | {"dreamer.erased"}
)
"""What others do to a conversation that ends its call here."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Figures:
    """Who is told of measurements.

    turn: interpreter and seconds of a reply; frames: direction, kind and how many since the last time.
    """

    turn: Callable[[str, float], None] = lambda _interpreter, _seconds: None
    frames: Callable[[str, str, int], None] = lambda _direction, _kind, _count: None


class Relay:
    """The calls of this process; `running` keeps them alive."""

    def __init__(
        self,
        relayed: Relayed,
        platform: VoicePlatform,
        agents: Agents,
        *,
        clock: Callable[[], datetime],
        breaker: CircuitBreaker | None = None,
        stand_in: StandIn | None = None,
        tail: Tail | None = None,
        figures: Figures | None = None,
    ) -> None:
        self._relayed, self._platform, self._agents = relayed, platform, agents
        self._breaker = breaker or CircuitBreaker("sockets")
        self._stand_in = stand_in
        self._clock = clock
        self._limits = Limits()
        self._tail = tail
        self._figures, self._told = figures or Figures(), Counter[tuple[str, str]]()
        self.watch = Watch(Counter(), self._figures.turn)
        self._calls: dict[tuple[UUID, int], Call] = {}
        self._sockets = Counter[tuple[UUID, int]]()
        self._empty = asyncio.Event()
        self._empty.set()
        self._closing: set[asyncio.Task[None]] = set()
        self._owed: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def calls(self) -> int:
        """How many calls are open."""
        return len(self._calls)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Renew slots and watch what others do; at the end wait for what calls have still to write."""
        tasks = [asyncio.create_task(work(), name=f"relay {work.__name__}") for work in (self._beat, self._follow)]
        try:
            yield
        finally:
            for call in list(self._calls.values()):
                call.stop(DRAINED)
            await self._emptied(self._limits.settling + self._limits.writing)
            if self._owed:
                await asyncio.wait(self._owed, timeout=self._limits.settling)
            await end([*tasks, *self._owed])

    async def drain(self, seconds: float, interrupt: Callable[[list[UUID]], Awaitable[object]]) -> None:
        """Take no further calls, let the open ones go on so long, then ask their clients to resume elsewhere.

        `interrupt` notes of which conversations that is: those whose client does not come back end by it.
        """
        self._draining = True
        if not await self._emptied(seconds):
            try:
                await interrupt([conversation_id for conversation_id, _ in self._calls])
            except OneiroError as error:
                # The sweeper finds them by their slots, which lapse.
                log.warning("relay.not_interrupted", code=error.code)
            for call in list(self._calls.values()):
                call.stop(DRAINED)
            await self._emptied(self._limits.settling)

    async def _emptied(self, within: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._empty.wait()
        return self._empty.is_set()

    async def serve(self, socket: WebSocket, ticket: str) -> None:
        """Serve one client from its handshake to its close."""
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
        client = ClientLeg(socket, writing=self._limits.writing)
        try:
            if self._draining:
                await client.close(DRAINED.code, DRAINED.words)
                return
            admission = await self._relayed.admit(ticket)
            text_only = await self._first_frame(client)
            await self._serve(client, replace(admission, text_only=admission.text_only or text_only))
        except Gone:
            return
        except OneiroError as error:
            await client.close(_close_code(error), error.code)

    async def _first_frame(self, client: Leg) -> bool:
        """Whether the client wishes to write; a first frame that says nothing of it is dropped."""
        try:
            async with asyncio.timeout(self._limits.opening):
                raw = await client.receive()
        except TimeoutError:
            return False
        frame = frames.upward(raw)
        if isinstance(frame, frames.Opening):
            return frame.text_only
        self.watch.frames["up_dropped", "before_opening"] += 1
        return False

    async def _serve(self, client: Leg, admission: Admission) -> None:
        one, session = admission.key
        call = continued("relay.call", admission.traceparent, conversation_id=one, session=session)
        with call, self._door(admission.key):
            await self._call(client, admission)

    @contextmanager
    def _door(self, key: tuple[UUID, int]) -> Iterator[None]:
        """Let a socket in while few others of its session are: until it is over, and for `drain` to wait for it."""
        if self._sockets[key] >= MOST_SOCKETS:
            raise TooMany("This conversation is being opened already.", code="opening")
        self._sockets[key] += 1
        self._empty.clear()
        try:
            yield
        finally:
            self._sockets -= Counter([key])
            self._settle()

    def _settle(self) -> None:
        if not self._calls and not self._sockets:
            self._empty.set()

    async def _call(self, client: Leg, admission: Admission) -> None:
        try:
            admission, upstream, metadata, platform_id = await self._open(admission)
        except OneiroError as error:
            log.warning("relay.not_opened", conversation_id=str(admission.conversation_id), code=error.code)
            await self._relayed.write(admission, [Fault(error.code, phase="connect")])
            raise
        try:
            if await self._connected(client, upstream, admission, platform_id):
                await self._relay(client, upstream, metadata, admission)
        finally:
            if admission.degraded:
                await self._forget(platform_id)

    async def _connected(self, client: Leg, upstream: Leg, admission: Admission, platform_id: str) -> bool:
        """Use the ticket up; else both sides are closed."""
        refused = (1008, "ticket_used")
        try:
            # Draining may have begun while the platform was asked; the ticket is left for another server.
            if self._draining:
                refused = (DRAINED.code, DRAINED.words)
            elif await self._relayed.connect(admission, platform_id):
                return True
        except BaseException:
            await upstream.close(1000, "")
            raise
        await asyncio.gather(upstream.close(1000, ""), client.close(*refused))
        return False

    @traced("relay.open")
    async def _open(self, admission: Admission) -> tuple[Admission, UpstreamLeg, str, str]:
        """The platform's socket with its first frame, or the stand-in's while the platform is away."""
        if self._stand_in is None:
            return await self._open_platform(replace(admission, degraded=False))
        if not admission.degraded:
            try:
                return await self._open_platform(admission)
            except PlatformUnavailable as error:
                log.warning("relay.degraded", conversation_id=str(admission.conversation_id), code=error.code)
        admission = replace(admission, degraded=True, text_only=True)
        url = await self._stand_in.url(admission.release, admission.language, admission.model)
        return admission, *await self._dial(url, admission)

    async def _open_platform(self, admission: Admission) -> tuple[Admission, UpstreamLeg, str, str]:
        """The platform's socket, just in time; an agent it has forgotten is made anew."""
        if rest := self._breaker.rest():
            raise PlatformUnavailable("The voice platform's sockets are being left alone.", retry_after=rest)
        known = (admission.release, admission.language, admission.model)
        address = await reach(self._agents, self._platform, *known, session_key=admission.session_key)
        if address.agent.agent_id != admission.agent_id:
            await self._relayed.replace_agent(admission, address.agent.agent_id)
        return admission, *await self._breaker.call(lambda: self._dial(address.url, admission))

    async def _dial(self, url: str, admission: Admission) -> tuple[UpstreamLeg, str, str]:
        """A socket that has answered: its first frame as it came, and its id of the session."""
        upstream = await dial(url, within=self._limits.dialling, writing=self._limits.writing)
        try:
            async with asyncio.timeout(self._limits.dialling):
                raw, platform_id = await _greet(upstream, admission)
        except Gone as gone:
            await upstream.close(1000, "")
            if gone.code == 1008:
                raise PlatformRefused("The voice platform refused this conversation.") from None
            raise PlatformUnavailable("The voice platform's socket closed before it answered.") from None
        except TimeoutError:
            await upstream.close(1000, "")
            raise PlatformUnavailable("The voice platform's socket did not answer in time.") from None
        except BaseException:
            await upstream.close(1000, "")
            raise
        return upstream, raw, platform_id

    async def _forget(self, conversation_id: str) -> None:
        assert self._stand_in is not None
        try:
            await self._stand_in.forget(conversation_id)
        except OneiroError as error:
            log.warning("relay.not_forgotten", code=error.code)

    async def _relay(self, client: Leg, upstream: UpstreamLeg, metadata: str, admission: Admission) -> None:
        ledger = Ledger(lambda entries: self._relayed.write(admission, entries))
        call = Call(admission, client, upstream, ledger, limits=self._limits, watch=self.watch, now=self._clock)
        self._calls[admission.key] = call
        if self._draining:
            # It began while this one was let in, and may be done with stopping the others.
            call.stop(DRAINED)
        writer = asyncio.create_task(ledger.run(), name="relay writer")
        ending = DRAINED  # Of a task that is cancelled from outside.
        try:
            try:
                await client.send(metadata)
                if admission.degraded:
                    self.watch.frames["down", "oneiro_degraded"] += 1
                    await client.send(frames.degraded(self._relayed.notice(admission).text))
            except Gone as gone:
                ending = Ending(None, gone.code, "", by_client=True)
            else:
                ending = await call.run()
        finally:
            closing = asyncio.create_task(self._close(call, client, upstream, ledger, writer, ending))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            await asyncio.shield(closing)

    async def _close(
        self,
        call: Call,
        client: Leg,
        upstream: UpstreamLeg,
        ledger: Ledger,
        writer: asyncio.Task[None],
        ending: Ending,
    ) -> None:
        """Close both sides at once, then write what is left to write."""
        try:
            sides = [upstream.close(1000, "User ended conversation"), call.hear_out()]
            if not ending.by_client:
                sides.append(client.close(ending.code, ending.words))
            await asyncio.gather(*sides, return_exceptions=True)
            settled = await ledger.settled(within=self._limits.settling)
            await end([writer])
            if not settled:
                self._relayed.keep_findings(call.admission, ledger.left())
                owed = asyncio.create_task(self._catch_up(call.admission, ledger), name="relay arrears")
                self._owed.add(owed)
                owed.add_done_callback(self._owed.discard)
            await self._note_end(call.admission, ending)
        finally:
            # Whatever went wrong: a call that stays here keeps its slot for good, and nobody can stop it.
            writer.cancel()
            del self._calls[call.admission.key]
            self._settle()
            self._count()

    async def _catch_up(self, admission: Admission, ledger: Ledger) -> None:
        """Write what a call left unwritten, and say what is lost when that cannot be done."""
        conversation_id = str(admission.conversation_id)
        log.warning("relay.lines_left", conversation_id=conversation_id, entries=len(ledger.left()))
        try:
            await ledger.catch_up(within=self._limits.owing)
        finally:
            if lost := len(ledger.left()):
                log.error("relay.lines_lost", conversation_id=conversation_id, entries=lost)

    async def _note_end(self, admission: Admission, ending: Ending) -> None:
        """Write how it ended; a database that is away for longer leaves it to the sweeper."""
        for tried in range(CLOSING_TRIES):
            try:
                await self._relayed.close(admission, ending.outcome())
            except OneiroError as error:
                log.warning("relay.end_not_written", error=error.code)
                await asyncio.sleep(min(0.1 * 2**tried, 3.0))
            else:
                return

    async def _beat(self) -> None:
        """Renew the slots, and look at the truth now and then: whoever follows a tail may miss something."""
        while True:
            await asyncio.sleep(self._limits.renewing)
            self._count()
            if not self._calls:
                continue
            await self._look(list(self._calls))
            try:
                await self._relayed.renew([conversation_id for conversation_id, _ in self._calls])
            except OneiroError as error:
                log.warning("relay.not_renewed", error=error.code)

    async def _follow(self) -> None:
        """Hear of what is done elsewhere to conversations of ours, until the tail is closed."""
        while self._tail is not None:
            with self._tail.subscribe(DONE) as done:
                try:
                    async for event in done:
                        await self._look([key for key in self._calls if event.conversation_id in {None, key[0]}])
                except Lagged:
                    await self._look(list(self._calls))
                else:
                    return

    async def _look(self, keys: list[tuple[UUID, int]]) -> None:
        """Stop those of these calls that are over by what others did."""
        if not keys:
            return
        try:
            for found in await self._relayed.elsewhere(keys):
                call = self._calls.get((found.conversation_id, found.session))
                if call is not None:
                    call.stop(ENDED_ELSEWHERE if found.ended else CONTINUED_ELSEWHERE)
        except OneiroError as error:
            log.warning("relay.look_failed", error=error.code)

    def _count(self) -> None:
        """Tell the frames since the last time: a look-up for each of them would cost more than passing it on."""
        for (direction, kind), count in self.watch.frames.items():
            if new := count - self._told[direction, kind]:
                self._told[direction, kind] = count
                self._figures.frames(direction, kind, new)


def _close_code(error: OneiroError) -> int:
    """What a client is told when its call cannot be opened: 1008 not with this ticket, 1013 and 1011 try again."""
    if isinstance(error, SecurityError):
        return 1008
    return 1013 if isinstance(error, TooMany) else 1011


async def _greet(upstream: Leg, admission: Admission) -> tuple[str, str]:
    """Send our first frame and take the platform's: the frame as it came, and the platform's id of the session."""
    greeting = frames.initiation(
        variables=admission.variables, user_id=str(admission.user_id), text_only=admission.text_only
    )
    await upstream.send(greeting)
    raw = await upstream.receive()
    metadata = frames.downward(raw)
    if not isinstance(metadata, frames.Metadata) or not metadata.conversation_id:
        raise PlatformUnavailable("The voice platform opened with a frame that is no metadata.")
    return raw, metadata.conversation_id
