"""Who answers while the voice platform is away: the same interpreters, in writing, at an engine of this process.

The engine has the configured language model behind it and speaks the platform's protocol, so a call leads there by
nothing but another address. It forgets its agents with the process, and so do we.
"""

from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from oneiro.interpreters.agents.models import Provisioned
from oneiro.interpreters.agents.spec import Drafts
from oneiro.interpreters.models import Release
from oneiro.platform.port import VoicePlatform
from oneiro.settings import Settings

AGENT: Final = "stand-in"
"""Stands where an agent's id does, as long as the platform has none for a conversation."""


@dataclass(frozen=True, slots=True)
class EngineAddress:
    """Where an engine of this process listens, and the key that it takes."""

    url: str
    key: str = field(repr=False)


class StandIn:
    """The interpreters at that engine, each made when it is first asked for."""

    def __init__(self, engine: VoicePlatform, *, settings: Settings) -> None:
        self._engine = engine
        self._settings = settings
        self._drafts = Drafts(settings)
        self._made: dict[tuple[UUID, str, str], str] = {}

    def agent(self, release: Release, language: str, model: str) -> Provisioned:
        """What is noted of a conversation that begins here; nothing is asked for."""
        return Provisioned(AGENT, False, 0, 0, self._drafts.of(release, language, model).prompt_sha256)

    async def url(self, release: Release, language: str, model: str) -> str:
        """An address that opens one conversation; raises `PlatformUnavailable` when even the engine does not answer."""
        key = (release.id, language, model)
        agent_id = self._made.get(key)
        if agent_id is None:
            spec = self._drafts.of(release, language, model).spec
            spec = replace(spec, voice_id=self._settings.default_voice_id, tag=AGENT)
            agent_id = self._made[key] = await self._engine.create_agent(spec)
        return (await self._engine.signed_url(agent_id)).url

    async def forget(self, conversation_id: str) -> None:
        """Have the engine forget a conversation that is over; our rows are its record."""
        await self._engine.delete_conversation(conversation_id)

    async def close(self) -> None:
        """Close its connections."""
        await self._engine.close()
