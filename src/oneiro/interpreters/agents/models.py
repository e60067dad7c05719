"""What an agent is made for, what it shall be, and what came of it."""

import asyncio
import hashlib
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeVar
from uuid import UUID

from oneiro.platform.port import AgentSpec

Answer = TypeVar("Answer")
VoiceSource = Literal["configured", "designed", "default"]

VOICE_REFUSED: Final = "voice.voice_description.refused"
VOICE_GONE: Final = "voice.voice_id.gone"
"""Drift that no comparison of fields shows: the platform refused the description, or has the voice no more."""

FIRST_PAUSE, LONGEST_PAUSE, PATIENCE = 0.05, 1.0, 20.0
"""Seconds between two looks at a row that somebody else works on, doubling; and how long to look in all."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An agent to be: whose it is, and its spec but for the voice and the tag, which provisioning decides.

    `config_sha256` covers all that would make an existing agent outdated; `session_key` is empty unless the agent
    serves one dreamer and dream alone, until `expires_at`.
    """

    interpreter_id: str
    release_id: UUID
    release: int
    language: str
    model: str
    spec: AgentSpec
    prompt_sha256: str
    config_sha256: str
    session_key: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Provisioned:
    """An agent that can be talked to.

    `upstream_calls` and `ms` are what this request spent on it; `drift` names the fields that the platform gives
    back otherwise than they were sent, none of which protects the dreamer.
    """

    agent_id: str
    created: bool
    upstream_calls: int
    ms: int
    prompt_sha256: str
    drift: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentVoice:
    """The voice of an agent, where it comes from, and which settings of the document it cannot have.

    `error_code`: why it is the default one. `fresh`: the platform has just made it for us.
    """

    voice_id: str
    source: VoiceSource
    ignored: tuple[str, ...] = ()
    error_code: str | None = None
    fresh: bool = False

    @property
    def drift(self) -> tuple[str, ...]:
        """What is told of an agent that speaks with the default voice because its own was refused."""
        return (VOICE_REFUSED,) if self.error_code else ()


def session_key(user_id: UUID, dream_id: UUID | None) -> str:
    """Names one dreamer and dream without telling who, for an agent of their own (`ONEIRO_AGENT_SCOPE=session`)."""
    return hashlib.sha256(f"{user_id}:{dream_id or 'general'}".encode()).hexdigest()


class Tally:
    """Counts the calls of the platform that one request makes."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, call: Awaitable[Answer]) -> Answer:
        """Count the call and wait for its answer."""
        self.count += 1
        return await call


class Patience:
    """Pauses between looks at a row, growing, until `PATIENCE` is used up."""

    def __init__(self) -> None:
        self._pause, self._left = FIRST_PAUSE, PATIENCE

    async def pause(self) -> bool:
        """Wait a little; False when there was no patience left to wait."""
        if self._left <= 0:
            return False
        pause = min(self._pause, self._left)
        await asyncio.sleep(pause)
        self._left -= pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return True
