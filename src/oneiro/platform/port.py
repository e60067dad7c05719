"""What Oneiro asks of a voice platform, in Oneiro's words; an adapter translates."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent as it must be on the platform: everything that is sent, and compared when it is read back.

    `speed`, `stability` and `similarity_boost` are the voice's numbers as the interpreter document has them;
    `max_seconds` and `silence_seconds` bound a call; `tag` names the agent uniquely, so that one whose answer
    got lost can be found again; `retention_days` is how long the platform may keep what was said.
    """

    name: str
    tag: str
    system_prompt: str
    language: str
    model: str
    temperature: float
    max_tokens: int
    voice_id: str
    stability: float
    similarity_boost: float
    speed: float
    max_seconds: int
    silence_seconds: int
    retention_days: int


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A WebSocket address that opens one conversation, and when it stops doing so."""

    url: str
    expires_at: datetime


PROTECTIONS = (
    "auth.enable_auth",
    "overrides.",
    "privacy.record_voice",
    "privacy.retention_days",
    "agent.prompt.prompt",  # It carries the crisis protocol.
)
"""Beginnings of the names of fields that protect the dreamer: an agent that differs in one must not be used."""


@dataclass(frozen=True, slots=True)
class VoiceTuning:
    """Settings of a voice itself; those an agent has of its own are in its spec."""

    stability: float
    similarity_boost: float
    style: float
    use_speaker_boost: bool


class VoicePlatform(Protocol):
    """The platform's calls that we make.

    Each raises `PlatformUnavailable` (its fault, retryable), `PlatformRefused` (ours) or `PlatformLacks` (the thing
    named does not exist there) of `oneiro.platform.errors`. None of them is ever called inside a transaction.
    """

    async def create_agent(self, spec: AgentSpec) -> str:
        """Create an agent and return its id."""

    async def find_agent(self, tag: str) -> str | None:
        """The id of the agent with this tag, if there is one."""

    async def drift(self, agent_id: str, spec: AgentSpec) -> tuple[str, ...]:
        """The names of the fields in which the agent, read back, differs from its spec; see `PROTECTIONS`."""

    async def delete_agent(self, agent_id: str) -> None:
        """Delete an agent; one that is gone already is no error."""

    async def signed_url(self, agent_id: str) -> SignedUrl:
        """A signed URL for one conversation with this agent."""

    async def design_voice(self, *, name: str, description: str, sample: str) -> str:
        """Design a voice from a description, keep it, and return its id; `sample` has 100 to 1000 characters."""

    async def tune_voice(self, voice_id: str, tuning: VoiceTuning) -> None:
        """Set how a voice of ours sounds."""

    async def close(self) -> None:
        """Close its connections."""
