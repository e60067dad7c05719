"""Reading agents in use back, again and again: people change them in the platform's dashboard, or remove them."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog

from oneiro.database.pool import Database
from oneiro.errors import CircuitBreakerOpenError, OneiroError, PlatformUnavailable
from oneiro.interpreters import store as interpreters
from oneiro.interpreters.agents import store, traces
from oneiro.interpreters.agents.models import VOICE_GONE, Draft
from oneiro.interpreters.agents.service import Agents
from oneiro.interpreters.agents.voices import REFUSED_FOR
from oneiro.interpreters.models import Release
from oneiro.platform.errors import PlatformLacks
from oneiro.platform.port import VoicePlatform, lacking

EVERY: Final = timedelta(days=1)
"""How long an agent goes unread at most, as long as there are no more than `AT_ONCE` for each run."""
AT_ONCE: Final = 20

log = structlog.get_logger(__name__)


class Inspection:
    """Compares agents with what they shall be, those first that were read longest ago."""

    def __init__(self, db: Database, platform: VoicePlatform, agents: Agents, *, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._platform = platform
        self._agents = agents
        self._clock = clock

    async def run(self) -> int:
        """Read back the agents that were not read for a day; how many of them were.

        Raises `PlatformRefused` (the key, for one). An agent that cannot be read just now keeps its turn, and the
        others have theirs; a platform that is away ends the run by its breaker.
        """
        async with self._db.as_service() as conn:
            now = self._clock()
            rows = await store.unread(conn, now - EVERY, now - REFUSED_FOR, AT_ONCE)
        read = 0
        for row in rows:
            try:
                await self._inspect(row)
                read += 1
            except CircuitBreakerOpenError:
                break
            except PlatformUnavailable as error:
                log.warning("agent.unread", agent_id=row.agent_id, code=error.code)
        return read

    async def _inspect(self, row: store.InUse) -> None:
        async with self._db.as_service() as conn:
            release = await interpreters.release(conn, row.interpreter_id, row.release)
        if release is None:
            return
        wanted = self._agents.draft(release, row.language, row.model)
        if wanted.config_sha256 != row.config_sha256:
            # Made by another version of Oneiro, whose words are not ours: the next start replaces it if it is older.
            await self._note(row, wanted, tuple(row.drift))
            return
        try:
            drift = await self._platform.drift(row.agent_id, replace(wanted.spec, voice_id=row.voice_id, tag=row.tag))
        except PlatformLacks:
            await self._agents.forget(row.agent_id)
            await self._anew(row, release)
            return
        voice = await self._voice(row, release)
        if voice is None:
            await self._anew(row, release)
            return
        drift = tuple(sorted({*drift, *voice}))
        await self._note(row, wanted, drift)
        if lacking(drift):
            await self._anew(row, release)

    async def _voice(self, row: store.InUse, release: Release) -> tuple[str, ...] | None:
        """What is wrong with the agent's voice; None when that has taken it out of use, as another would not have it.

        Raises `PlatformUnavailable`.
        """
        if row.voice_error is not None:
            voice = await self._agents.voice(release)
            if voice.error_code is not None:
                return voice.drift
            await self._agents.replace(row, voice_gone=False)
            return None
        if row.voice_source not in {"configured", "designed"} or await self._platform.has_voice(row.voice_id):
            return ()
        if row.voice_source == "configured":
            return (VOICE_GONE,)
        await self._agents.replace(row, voice_gone=True)
        return None

    async def _note(self, row: store.InUse, wanted: Draft, drift: tuple[str, ...]) -> None:
        """What was found, in one transaction; an agent that lacks a protection is out of use from then on."""
        unprotected, now = bool(lacking(drift)), self._clock()
        async with self._db.as_service() as conn:
            if not await store.inspected(conn, row.id, drift, unprotected=unprotected, now=now):
                return  # It went out of use meanwhile.
            if drift and drift != tuple(row.drift):
                await traces.drifted(conn, wanted, row.agent_id, drift, used=not unprotected)
            if unprotected:
                await traces.retired(conn, row.agent_id, row.interpreter_id, "unprotected")

    async def _anew(self, row: store.InUse, release: Release) -> None:
        """Make its successor ahead of the next start, which would do it otherwise, where its release is wanted."""
        if not row.wanted:
            return
        try:
            await self._agents.ensure(release, row.language, row.model)
        except OneiroError as error:
            log.warning("agent.not_replaced", agent_id=row.agent_id, code=error.code)
