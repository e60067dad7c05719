"""Provisioning: a release's agent is made once, read back, and then only looked up.

The row is claimed in one transaction and finished in another; the platform is asked between them, never inside.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import structlog

from oneiro.database.pool import Connection, Database
from oneiro.errors import AgentCreationError, OneiroError, PlatformUnavailable
from oneiro.interpreters.agents import home_store, leaving_store, store, traces
from oneiro.interpreters.agents.models import AgentVoice, Draft, Patience, Provisioned, Tally
from oneiro.interpreters.agents.spec import Drafts
from oneiro.interpreters.agents.workshop import WORK_SECONDS, Created, Made, Workshop, elapsed_ms, uncounted
from oneiro.interpreters.models import Release
from oneiro.jobs.queue import enqueue
from oneiro.platform.errors import PlatformRefused
from oneiro.platform.port import VoicePlatform
from oneiro.settings import Settings

GRACE: Final = timedelta(days=1)
"""An agent that was replaced may be in a conversation; it is deleted on the platform a day later."""
SESSION_LIFE: Final = timedelta(hours=1)
"""How long an agent of one dreamer and dream is used again, as in the guide."""
IDLE: Final = timedelta(minutes=15)
"""How long after its last start an agent is left alone, as a signed URL opens for that long."""
NOTED: Final = timedelta(minutes=5)
"""A start that takes an agent of a release notes it only when it was not noted for so long: every start writes none."""
SESSIONS_KEPT: Final = timedelta(days=30)
"""How long the row of a session's agent stays after the agent is gone, for whoever looks into a complaint."""
SWEPT_AT_ONCE: Final = 100
RETIRE: Final = "agents.retire"

log = structlog.get_logger(__name__)


class Agents:
    """Agents of releases, whichever process made them; raises what `ensure` names, and `DatabaseUnavailable`.

    created: told of each agent that was made or failed. work_seconds: the bound of making one.
    """

    def __init__(
        self,
        db: Database,
        platform: VoicePlatform,
        *,
        settings: Settings,
        clock: Callable[[], datetime],
        created: Created = uncounted,
        work_seconds: float = WORK_SECONDS,
    ) -> None:
        self._db = db
        self._platform = platform
        self._settings = settings
        self._clock = clock
        self._since = clock()
        self._drafts = Drafts(settings)
        self._workshop = Workshop(
            db,
            platform,
            default_voice_id=settings.default_voice_id,
            clock=clock,
            created=created,
            work_seconds=work_seconds,
        )

    async def ensure(self, release: Release, language: str, model: str, *, session_key: str = "") -> Provisioned:
        """The agent of this release: looked up when it is known, else made; of many callers one makes it.

        With a `session_key` it is an agent for that dreamer and dream alone, for an hour, as in the guide. Raises
        `PlatformUnavailable` (come again), `AgentCreationError` (refused, or without its protections) and
        `ValidationError` (the release has no system prompt).
        """
        began, tally = time.perf_counter(), Tally()
        wanted = self.draft(release, language, model)
        if session_key:
            wanted = replace(wanted, session_key=session_key, expires_at=self._clock() + SESSION_LIFE)
        agent, created = await self._known(wanted), False
        if agent is None:
            agent, created = await self._make(release, wanted, tally)
        sha = agent.prompt_sha256 or wanted.prompt_sha256
        return Provisioned(agent.agent_id, created, tally.count, elapsed_ms(began), sha, agent.drift)

    def at_once(self, row: store.AgentRow, release: Release, language: str, model: str) -> Provisioned | None:
        """The agent of a row that was just read, if `ensure` would take it without writing anything; else None."""
        wanted = self.draft(release, language, model)
        if row.agent_id is None or self._done_with(row, wanted) or not _noted(row, self._clock()):
            return None
        sha = row.prompt_sha256 or wanted.prompt_sha256
        return Provisioned(
            row.agent_id, created=False, upstream_calls=0, ms=0, prompt_sha256=sha, drift=tuple(row.drift)
        )

    async def prepare(self, release: Release, language: str, model: str) -> Provisioned:
        """Ahead of traffic, make sure that the platform takes this release's agent; raises as `ensure`.

        Where agents are made for sessions no start would use it: it is made, read back and removed again.
        """
        if self._settings.agent_scope == "release":
            return await self.ensure(release, language, model)
        tried = await self.ensure(release, language, model, session_key=uuid4().hex)
        try:
            await self._platform.delete_agent(tried.agent_id)
        except (PlatformUnavailable, PlatformRefused) as error:
            # It expires as an agent of a session does, and is deleted then.
            async with self._db.as_service() as conn:
                await traces.cleanup_failed(conn, tried.agent_id, release.interpreter_id, error.code)
        else:
            await self._gone(tried.agent_id, "deleted")
        return tried

    async def forget(self, agent_id: str) -> None:
        """The platform does not know this agent any more: the next `ensure` makes a new one."""
        await self._gone(agent_id, "unknown_to_platform")

    async def voice(self, release: Release) -> AgentVoice:
        """The voice that a new agent of this release would have, designed when it is time; raises as `Voices.of`."""
        return await self._workshop.voices.of(release.document, Tally())

    async def replace(self, row: store.InUse, *, voice_gone: bool) -> None:
        """Take an agent out of use whose voice is gone, or for which there is a better one now."""
        if voice_gone:
            await self._workshop.voices.forget(row.voice_id)
        async with self._db.as_service() as conn:
            if await store.replace(conn, row.id, self._clock()):
                await traces.retired(conn, row.agent_id, row.interpreter_id, "voice")

    async def sweep(self) -> int:
        """Take out of use what is not wanted any more, and enqueue a job for each agent that can go; how many.

        None in a copy of the database: its agents may be another one's.
        """
        now = self._clock()
        async with self._db.as_service() as conn:
            if not await home_store.here(conn):
                log.warning("agents.kept", reason="database_copied")
                return 0
            await leaving_store.follow(conn, now, shared=self._settings.agent_scope == "release")
            await leaving_store.take_out(conn, now=now, before=now - GRACE, idle=now - IDLE)
            await leaving_store.purge(conn, now - SESSIONS_KEPT)
            rows = await leaving_store.due(conn, RETIRE, before=now - GRACE, idle=now - IDLE, limit=SWEPT_AT_ONCE)
            jobs = [await enqueue(conn, RETIRE, {"row": str(row)}, dedupe_key=f"{RETIRE}/{row}") for row in rows]
        return sum(job is not None for job in jobs)

    async def retire(self, row_id: UUID) -> None:
        """Delete an agent that is out of use on the platform; raises what the platform says, so that a job retries."""
        async with self._db.as_service() as conn:
            leaving = await leaving_store.leaving(conn, row_id) if await home_store.here(conn) else None
        if leaving is None:
            return
        try:
            agent_id = leaving.agent_id or await self._platform.find_agent(leaving.tag)
            if agent_id is not None:
                await self._platform.delete_agent(agent_id)
        except (PlatformUnavailable, PlatformRefused) as error:
            async with self._db.as_service() as conn:
                await traces.cleanup_failed(conn, leaving.agent_id or str(row_id), leaving.interpreter_id, error.code)
            raise
        async with self._db.as_service() as conn:
            if await leaving_store.retired(conn, row_id, self._clock()) and agent_id is not None:
                await traces.retired(conn, agent_id, leaving.interpreter_id, "deleted")

    def draft(self, release: Release, language: str, model: str) -> Draft:
        """What the agent of this release shall be; raises `ValidationError` when it has no system prompt."""
        return self._drafts.of(release, language, model)

    async def _known(self, wanted: Draft, *, waited: bool = False) -> Made | None:
        """The agent that is ready; raises what befell whoever made it while we waited."""
        now = self._clock()
        async with self._db.as_service() as conn:
            row = await store.live(conn, wanted, now)
            if row is None:
                return None
            if row.agent_id is not None:
                if await self._replaced(conn, row, row.agent_id, wanted, now) or not await _take(conn, row, now):
                    return None
                return Made(row.agent_id, tuple(row.drift), prompt_sha256=row.prompt_sha256)
        if waited and row.free and row.error_code:
            raise _failed_elsewhere(row.error_code)
        return None

    async def _replaced(
        self, conn: Connection, row: store.AgentRow, agent_id: str, wanted: Draft, now: datetime
    ) -> bool:
        """Take an agent out of use that has expired, or that an earlier version of Oneiro made otherwise."""
        if not self._done_with(row, wanted):
            return False
        if await store.replace(conn, row.id, now):
            await traces.retired(conn, agent_id, wanted.interpreter_id, "expired" if row.expired else "outdated")
        return True

    def _done_with(self, row: store.AgentRow, wanted: Draft) -> bool:
        """Whether an agent has expired or is outdated.

        Only rows older than this process are outdated: while two versions run side by side, the older one leaves the
        newer one's agents alone.
        """
        return row.expired or (row.config_sha256 != wanted.config_sha256 and row.created_at < self._since)

    async def _gone(self, agent_id: str, reason: str) -> None:
        async with self._db.as_service() as conn:
            interpreter_id = await store.forget(conn, agent_id, self._clock())
            if interpreter_id is not None:
                await traces.retired(conn, agent_id, interpreter_id, reason)

    async def _make(self, release: Release, wanted: Draft, tally: Tally) -> tuple[Made, bool]:
        """Make the agent, or wait for whoever makes it; the agent, and whether we made it."""
        began = time.perf_counter()
        # Before the claim, since designing a voice outlasts the lease; it has a lease of its own.
        voice = await self._workshop.voice(release, wanted, tally, began)
        patience = Patience()
        while True:
            claim = await self._workshop.claim(wanted)
            if claim is not None:
                made = await self._workshop.make(wanted, voice, claim, tally, began)
                if made is not None:
                    return made, True
            elif not await patience.pause():
                raise PlatformUnavailable("The interpreter is still being prepared.", retry_after=5.0)
            known = await self._known(wanted, waited=True)
            if known is not None:
                return known, False
            if claim is not None:
                # Its voice was gone, and is designed again; else it is known.
                voice = await self._workshop.voice(release, wanted, tally, began)


async def _take(conn: Connection, row: store.AgentRow, now: datetime) -> bool:
    """Note that a conversation is about to use the agent; False when a sweep took it out of use just before."""
    return _noted(row, now) or await store.take(conn, row.id, now)


def _noted(row: store.AgentRow, now: datetime) -> bool:
    return not row.expires and row.last_used_at is not None and now - row.last_used_at < NOTED


def _failed_elsewhere(code: str) -> OneiroError:
    """What befell the one we waited for, as our own error."""
    if code == AgentCreationError.code:
        return AgentCreationError("The interpreter could not be prepared: the platform refused it.", retryable=False)
    return PlatformUnavailable("The interpreter could not be prepared just now.", retry_after=5.0)
