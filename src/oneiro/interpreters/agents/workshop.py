"""The making of one agent: its row claimed under a lease, its voice found, the agent made, read back and noted."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol
from uuid import uuid4

import structlog

from oneiro.database.pool import Database
from oneiro.errors import AgentCreationError, OneiroError, PlatformUnavailable
from oneiro.interpreters.agents import home_store, store, traces
from oneiro.interpreters.agents.models import AgentVoice, Draft, Tally
from oneiro.interpreters.agents.voices import Voices
from oneiro.interpreters.models import Release
from oneiro.platform.errors import PlatformLacks, PlatformRefused
from oneiro.platform.port import PROVISIONING_SECONDS, AgentSpec, VoicePlatform, lacking

WORK_SECONDS: Final = 6 * PROVISIONING_SECONDS
"""The bound of making an agent: finding, reading, deleting one that was lost, and creating, reading, deleting one."""
SPARE_SECONDS: Final = 30.0
"""What a lease lasts beyond the bound of its work, for the database and for clocks of replicas that differ."""

log = structlog.get_logger(__name__)


class Created(Protocol):
    """Told that an agent was made, or could not be, and how long that took."""

    def __call__(self, interpreter: str, seconds: float, *, success: bool) -> None:
        """Count it."""


def uncounted(interpreter: str, seconds: float, *, success: bool) -> None:
    """Where nobody counts."""


@dataclass(frozen=True, slots=True)
class Made:
    """An agent that exists on the platform and may be used; `drift` names fields that do not protect.

    `prompt_sha256`: of the prompt that it was made with, which another version of Oneiro may have rendered.
    """

    agent_id: str
    drift: tuple[str, ...] = ()
    adopted: bool = False
    prompt_sha256: str | None = None


class Workshop:
    """Makes agents for whoever has claimed their row; `work_seconds` bounds one, and its lease outlasts that."""

    def __init__(
        self,
        db: Database,
        platform: VoicePlatform,
        *,
        default_voice_id: str,
        clock: Callable[[], datetime],
        created: Created,
        work_seconds: float,
    ) -> None:
        self._db = db
        self._platform = platform
        self._clock = clock
        self._created = created
        self._work_seconds = work_seconds
        self._lease = timedelta(seconds=work_seconds + SPARE_SECONDS)
        self._owner = uuid4().hex
        self.voices = Voices(db, platform, default_voice_id=default_voice_id, owner=self._owner, clock=clock)

    async def claim(self, wanted: Draft) -> store.Claim | None:
        """Take the row of the draft under our lease; None when somebody else has it."""
        now = self._clock()
        async with self._db.as_service() as conn:
            here = await home_store.here(conn)
            claim = await store.claim(conn, wanted, self._owner, now, now + self._lease)
        # What a copy of the database would find by the row's tag is the original's, to adopt as well as to delete.
        return replace(claim, taken_over=claim.taken_over and here) if claim else None

    async def voice(self, release: Release, wanted: Draft, tally: Tally, began: float) -> AgentVoice:
        """The voice for the agent; raises `PlatformUnavailable`, of which events and counts tell first."""
        try:
            return await self.voices.of(release.document, tally)
        except PlatformUnavailable as error:
            async with self._db.as_service() as conn:
                await traces.provision_failed(conn, wanted, error.code, elapsed_ms(began))
            self._created(wanted.interpreter_id, elapsed_ms(began) / 1000, success=False)
            raise

    async def make(
        self, wanted: Draft, voice: AgentVoice, claim: store.Claim, tally: Tally, began: float
    ) -> Made | None:
        """Make the agent under our lease; None when the lease was lost meanwhile, or its voice is gone."""
        spec = replace(wanted.spec, voice_id=voice.voice_id, tag=claim.tag)
        try:
            made = await self._in_time(wanted, spec, voice, claim, tally)
            if made is None:
                await self._without(voice, claim)
                return None
            finished = await self._finish(wanted, claim, made, voice, elapsed_ms(began))
        except (PlatformRefused, PlatformLacks) as error:
            failure = AgentCreationError(f"{spec.name}: {error.detail}", retryable=False)
            await self._failed(wanted, claim, failure, elapsed_ms(began))
            raise failure from error
        except OneiroError as error:
            await self._failed(wanted, claim, error, elapsed_ms(began))
            raise
        except BaseException:
            async with self._db.as_service() as conn:
                await store.free(conn, claim.id, self._owner, None)
            raise
        if finished:
            self._created(wanted.interpreter_id, elapsed_ms(began) / 1000, success=True)
            return made
        # Whoever took the row over finds an agent by the same tag: it may be this very one, so it is left alone here,
        # and the stock-taking removes it when no row knows it.
        log.warning("agent.lease_lost", agent_id=made.agent_id, interpreter_id=wanted.interpreter_id)
        return None

    async def _without(self, voice: AgentVoice, claim: store.Claim) -> None:
        """The platform has no voice any more that it designed for us: both are to be made anew."""
        await self.voices.forget(voice.voice_id)
        async with self._db.as_service() as conn:
            await store.free(conn, claim.id, self._owner, None)

    async def _in_time(
        self, wanted: Draft, spec: AgentSpec, voice: AgentVoice, claim: store.Claim, tally: Tally
    ) -> Made | None:
        """Make the agent within the bound that the lease outlasts: nobody takes over a row that is worked on."""
        try:
            async with asyncio.timeout(self._work_seconds):
                if not await self._speaks(spec, voice, tally):
                    return None
                made = await self._make(wanted, spec, claim, tally)
                return replace(made, drift=tuple(sorted({*made.drift, *voice.drift})))
        except TimeoutError:
            raise PlatformUnavailable(
                "The voice platform took too long to prepare the interpreter.", retry_after=5.0
            ) from None

    async def _speaks(self, spec: AgentSpec, voice: AgentVoice, tally: Tally) -> bool:
        """Whether the platform has the voice; one that an operator named and it does not have is an error.

        The default voice is not asked for: it is ready from the start, and listed only for those who chose it.
        """
        if voice.fresh or voice.source == "default" or await tally(self._platform.has_voice(voice.voice_id)):
            return True
        if voice.source == "designed":
            return False
        raise AgentCreationError(
            f"{spec.name}: voice.voice_id: the platform knows no voice {voice.voice_id}.", retryable=False
        )

    async def _make(self, wanted: Draft, spec: AgentSpec, claim: store.Claim, tally: Tally) -> Made:
        """Adopt the agent whose answer was lost, when it is as it should be, or create one and read it back."""
        if claim.taken_over:
            lost = await tally(self._platform.find_agent(spec.tag))
            if lost is not None:
                if not await tally(self._platform.drift(lost, spec)):
                    return Made(lost, adopted=True)
                await tally(self._platform.delete_agent(lost))
        agent_id = await tally(self._platform.create_agent(spec))
        drift = await tally(self._platform.drift(agent_id, spec))
        unprotected = lacking(drift)
        if unprotected:
            await self._refuse(wanted, agent_id, drift, tally)
            raise AgentCreationError(
                f"{spec.name}: read back, the agent does not protect dreamers in {', '.join(unprotected)}; "
                "it is not used.",
                retryable=False,
            )
        return Made(agent_id, drift)

    async def _refuse(self, wanted: Draft, agent_id: str, drift: tuple[str, ...], tally: Tally) -> None:
        """Record what the agent lacks and delete it; when that fails its tag leads to it at the next attempt."""
        async with self._db.as_service() as conn:
            await traces.drifted(conn, wanted, agent_id, drift, used=False)
        try:
            await tally(self._platform.delete_agent(agent_id))
        except (PlatformUnavailable, PlatformRefused) as error:
            async with self._db.as_service() as conn:
                await traces.cleanup_failed(conn, agent_id, wanted.interpreter_id, error.code)

    async def _finish(self, wanted: Draft, claim: store.Claim, made: Made, voice: AgentVoice, ms: int) -> bool:
        """Row and events of an agent that is ready, in one transaction; False when the lease was lost."""
        async with self._db.as_service() as conn:
            ready = await store.ready(
                conn,
                claim.id,
                self._owner,
                agent_id=made.agent_id,
                voice=voice,
                drift=made.drift,
                now=self._clock(),
            )
            if not ready:
                return False
            await traces.provisioned(conn, wanted, made.agent_id, voice, adopted=made.adopted, ms=ms)
            if made.drift:
                await traces.drifted(conn, wanted, made.agent_id, made.drift, used=True)
        return True

    async def _failed(self, wanted: Draft, claim: store.Claim, error: OneiroError, ms: int) -> None:
        async with self._db.as_service() as conn:
            await store.free(conn, claim.id, self._owner, error.code)
            await traces.provision_failed(conn, wanted, error.code, ms)
        self._created(wanted.interpreter_id, ms / 1000, success=False)


def elapsed_ms(began: float) -> int:
    """Whole milliseconds since a moment of `time.perf_counter`."""
    return round((time.perf_counter() - began) * 1000)
