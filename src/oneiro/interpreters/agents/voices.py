"""The voice of an interpreter: configured, else designed once from its description, else the default one."""

import asyncio
import hashlib
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import structlog

from oneiro.database.pool import Database
from oneiro.errors import PlatformUnavailable
from oneiro.interpreters.agents import home_store, traces, voice_store
from oneiro.interpreters.agents.marks import every, prefix, voice_name, voice_sha
from oneiro.interpreters.agents.models import AgentVoice, Patience, Tally
from oneiro.interpreters.models import InterpreterDocument, Voice
from oneiro.platform.errors import PlatformLacks, PlatformRefused
from oneiro.platform.port import DESIGN_SECONDS, PROVISIONING_SECONDS, VoicePlatform, VoiceTuning

WORK_SECONDS: Final = DESIGN_SECONDS + 3 * PROVISIONING_SECONDS
"""The bound of looking for a voice that was lost, designing one, keeping and tuning it."""
LEASE: Final = timedelta(seconds=WORK_SECONDS + 30)
"""Longer than the work by what the database takes and clocks of replicas differ."""
REFUSED_FOR: Final = timedelta(hours=1)
"""A refused description is tried again after this, since a quota may have grown meanwhile."""
SAMPLE: Final = (
    "You were standing at the edge of the water, and it was quite still. Take your time; there is no hurry at all. "
    "What was the first thing you felt when the surface began to move?"
)
"""What a new voice reads; the platform asks for 100 to 1000 characters."""
OF_OWN_VOICES: Final = ("voice.style", "voice.use_speaker_boost")

log = structlog.get_logger(__name__)


class Voices:
    """Finds the voice for a document; of several processes one designs it and the others wait."""

    def __init__(
        self,
        db: Database,
        platform: VoicePlatform,
        *,
        default_voice_id: str,
        owner: str,
        clock: Callable[[], datetime],
    ) -> None:
        self._db = db
        self._platform = platform
        self._default = default_voice_id
        self._owner = owner
        self._clock = clock

    async def of(self, document: InterpreterDocument, tally: Tally) -> AgentVoice:
        """The voice of this document; raises `PlatformUnavailable`.

        A description that the platform refuses gives the default voice, with the reason in `error_code`.
        """
        voice = document.voice
        if voice is not None and voice.voice_id:
            return AgentVoice(voice.voice_id, "configured", OF_OWN_VOICES)
        if voice is None or not voice.voice_description:
            return AgentVoice(self._default, "default", OF_OWN_VOICES if voice else ())
        sha = hashlib.sha256(voice.voice_description.encode()).hexdigest()
        patience = Patience()
        while True:
            known = await self._known(sha, tuning_of(voice))
            if known is not None:
                return known
            claim = await self._claim(sha, document.id)
            if claim is not None:
                made = await self._make(document, voice, claim, tally)
                if made is not None:
                    return made
            if not await patience.pause():
                raise PlatformUnavailable("The interpreter's voice is still being made.", retry_after=10.0)

    async def forget(self, voice_id: str) -> None:
        """The platform has this voice no more: the next one that needs it designs it again."""
        async with self._db.as_service() as conn:
            await voice_store.forget(conn, voice_id)
        log.warning("voice.gone", voice_id=voice_id)

    async def _known(self, sha: str, tuning: VoiceTuning) -> AgentVoice | None:
        async with self._db.as_service() as conn:
            row = await voice_store.find(conn, sha, self._clock())
        if row is None or row.free:
            return None
        if row.voice_id is not None:
            return AgentVoice(row.voice_id, "designed", row.ignored(tuning))
        return self._instead(row.error_code) if row.error_code else None

    async def _claim(self, sha: str, interpreter_id: str) -> voice_store.Claim | None:
        now = self._clock()
        async with self._db.as_service() as conn:
            await home_store.here(conn)
            return await voice_store.claim(conn, sha, interpreter_id, self._owner, now, now + LEASE)

    async def _make(
        self, document: InterpreterDocument, voice: Voice, claim: voice_store.Claim, tally: Tally
    ) -> AgentVoice | None:
        """Have the voice under our lease; None when the lease was lost meanwhile, and somebody else has one."""
        began, sha = time.perf_counter(), claim.description_sha256
        try:
            async with asyncio.timeout(WORK_SECONDS):
                voice_id, adopted = await self._found_or_designed(document, voice, claim, tally)
                tuned = await self._tune(voice_id, tuning_of(voice), tally)
        except (PlatformRefused, PlatformLacks) as error:
            log.warning("voice.refused", interpreter_id=document.id, code=error.code)
            await self._free(sha, error.code, self._clock() + REFUSED_FOR)
            return self._instead(error.code)
        except TimeoutError:
            await self._free(sha, None, None)
            raise PlatformUnavailable("The voice platform took too long to make a voice.", retry_after=5.0) from None
        except BaseException:
            await self._free(sha, None, None)
            raise
        ms, ignored = round((time.perf_counter() - began) * 1000), () if tuned else OF_OWN_VOICES
        async with self._db.as_service() as conn:
            if not await voice_store.ready(conn, sha, self._owner, voice_id, tuned):
                # Ours is spare, unless whoever took over found this very one; the stock-taking tells and removes it.
                log.warning("voice.lease_lost", voice_id=voice_id, interpreter_id=document.id)
                return None
            await traces.voice_designed(conn, document.id, voice_id, ignored=ignored, adopted=adopted, ms=ms)
        return AgentVoice(voice_id, "designed", ignored, fresh=True)

    async def _found_or_designed(
        self, document: InterpreterDocument, voice: Voice, claim: voice_store.Claim, tally: Tally
    ) -> tuple[str, bool]:
        """The voice that an earlier attempt made and could not store, when there was one; else a new one."""
        mark, description = prefix(claim.installation), voice.voice_description or ""
        if claim.taken_over:
            lost = await tally(self._lost(mark, claim.description_sha256))
            if lost is not None:
                return lost, True
        name = voice_name(document.name, mark, claim.description_sha256)
        return await tally(self._platform.design_voice(name=name, description=description, sample=SAMPLE)), False

    async def _lost(self, mark: str, sha: str) -> str | None:
        shown = voice_sha(voice_name("", mark, sha), mark)
        async for held in every(self._platform.list_voices):
            if voice_sha(held.name, mark) == shown:
                return held.id
        return None

    async def _tune(self, voice_id: str, tuning: VoiceTuning, tally: Tally) -> VoiceTuning | None:
        """Give the new voice its own settings; None when it did not take them."""
        try:
            await tally(self._platform.tune_voice(voice_id, tuning))
        except (PlatformUnavailable, PlatformRefused, PlatformLacks) as error:
            # The voice speaks all the same, and designing it again would only make another one.
            log.warning("voice.not_tuned", voice_id=voice_id, code=error.code)
            return None
        return tuning

    async def _free(self, sha: str, error_code: str | None, until: datetime | None) -> None:
        async with self._db.as_service() as conn:
            await voice_store.free(conn, sha, self._owner, error_code, until)

    def _instead(self, error_code: str | None) -> AgentVoice:
        return AgentVoice(self._default, "default", OF_OWN_VOICES, error_code)


def tuning_of(voice: Voice) -> VoiceTuning:
    """The settings of the voice itself."""
    return VoiceTuning(voice.stability, voice.similarity_boost, voice.style, voice.use_speaker_boost)
