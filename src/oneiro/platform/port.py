"""What Oneiro asks of a voice platform, in Oneiro's words; an adapter translates."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

PROVISIONING_SECONDS: Final = 15.0
"""The bound of each call that concerns agents, voices or past conversations, but for designing a voice."""
OWNER_TAG: Final = "oneiro"
"""The tag that all agents of Oneiro bear on the platform, whichever installation made them."""
DESIGN_SECONDS: Final = 45.0
"""Designing a voice renders three previews of the sample before it answers."""


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


PROTECTIONS: Final = frozenset(
    {
        "auth.enable_auth",
        "privacy.record_voice",
        "privacy.retention_days",
        "agent.prompt.prompt",  # It carries the crisis protocol.
        "conversation.client_events.user_transcript",  # What the crisis gate hears by.
        "conversation.client_events.agent_response",
        "conversation.max_duration_seconds",  # The one bound on what a forgotten line costs that nobody can get round.
    }
)
"""Fields that protect the dreamer or the house: an agent that differs in one must not be used."""
INTRUSIONS: Final = frozenset(
    {
        "auth.shareable_token",  # It opens to whoever has the token.
        "workflow",  # Another prompt takes the place of ours, without the crisis protocol.
        "procedures",
        "agent.prompt.built_in_tools.transfer_to_agent",
        "agent.prompt.built_in_tools.transfer_to_number",
        "phone_numbers",  # The crisis gate hears nothing of calls that do not come through us.
        "whatsapp_accounts",
        "agent.prompt.tool_ids",  # What was said goes to somebody of whom no dreamer was told.
        "agent.prompt.tools",
        "agent.prompt.mcp_server_ids",
        "agent.prompt.native_mcp_server_ids",
    }
)
"""What must not have been added to an agent, for the same reason."""
_SHUT: Final = ("overrides.", "workspace_overrides.")
"""So must no override stand open, nor the agent have webhooks of its own."""


def lacking(drift: tuple[str, ...]) -> list[str]:
    """Those of these fields by which dreamers or the house are not protected."""
    return [name for name in drift if name in PROTECTIONS | INTRUSIONS or name.startswith(_SHUT)]


@dataclass(frozen=True, slots=True)
class VoiceTuning:
    """Settings of a voice itself; those an agent has of its own are in its spec."""

    stability: float
    similarity_boost: float
    style: float
    use_speaker_boost: bool


@dataclass(frozen=True, slots=True)
class HeldLine:
    """A line of a transcript as the platform has it.

    `original` is what the interpreter was about to say before it was interrupted; `seconds` counts from the
    conversation's beginning; `event_id` is the number that the line's frame had.
    """

    sender: Literal["user", "interpreter"]
    text: str
    original: str | None
    seconds: float
    at: datetime | None
    interrupted: bool
    event_id: int | None


@dataclass(frozen=True, slots=True)
class HeldConversation:
    """A conversation as the platform gives account of it afterwards.

    `state`: it goes on or is still being looked through (`open`), or it is over. `our_id` is the variable
    `conversation_id` that we sent. `evaluation` holds results by criterion, without their reasons, which may quote.
    """

    id: str
    agent_id: str | None
    our_id: str | None
    state: Literal["open", "over"]
    started_at: datetime | None
    seconds: int | None
    cost: float | None
    termination_reason: str | None
    error_code: str | None
    successful: str | None
    evaluation: Mapping[str, str]
    language: str | None
    summary: str | None
    lines: tuple[HeldLine, ...]


@dataclass(frozen=True, slots=True)
class HeldEntry:
    """A conversation in the platform's list."""

    id: str
    agent_id: str | None
    started_at: datetime | None


@dataclass(frozen=True, slots=True)
class HeldPage:
    """A part of the platform's list, and the cursor of the next one."""

    entries: tuple[HeldEntry, ...]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class HeldAgent:
    """An agent in the platform's list; `called`: somebody has talked to it."""

    id: str
    tags: tuple[str, ...]
    created_at: datetime | None
    called: bool


@dataclass(frozen=True, slots=True)
class HeldVoice:
    """A designed voice in the platform's list."""

    id: str
    name: str
    created_at: datetime | None


class VoicePlatform(Protocol):
    """The platform's calls that we make.

    Each raises `PlatformUnavailable` (its fault, retryable), `PlatformRefused` (ours) or `PlatformLacks` (the thing
    named does not exist there) of `oneiro.platform.errors`. None of them is ever called inside a transaction.
    """

    async def create_agent(self, spec: AgentSpec) -> str:
        """Create an agent and return its id."""

    async def find_agent(self, tag: str) -> str | None:
        """The id of the agent with this tag, if there is one."""

    async def list_agents(self, tag: str, cursor: str | None = None) -> tuple[list[HeldAgent], str | None]:
        """A page of the agents with this tag, and the cursor of the next one."""

    async def drift(self, agent_id: str, spec: AgentSpec) -> tuple[str, ...]:
        """The names of the fields in which the agent, read back, differs from its spec; see `lacking`.

        A bound that is kept shorter than was asked for is named with `.shorter`, of the client's frames each that is
        missing by `.` and its own name, and so is each tool or guardrail that was added.
        """

    async def delete_agent(self, agent_id: str) -> None:
        """Delete an agent; one that is gone already is no error."""

    async def signed_url(self, agent_id: str) -> SignedUrl:
        """A signed URL for one conversation with this agent."""

    async def design_voice(self, *, name: str, description: str, sample: str) -> str:
        """Design a voice from a description, keep it, and return its id; `sample` has 100 to 1000 characters."""

    async def tune_voice(self, voice_id: str, tuning: VoiceTuning) -> None:
        """Set how a voice of ours sounds."""

    async def has_voice(self, voice_id: str) -> bool:
        """Whether agents can speak with this voice."""

    async def list_voices(self, cursor: str | None = None) -> tuple[list[HeldVoice], str | None]:
        """A page of the voices that were designed, and the cursor of the next one."""

    async def delete_voice(self, voice_id: str) -> None:
        """Delete a voice; one that is gone already is no error."""

    async def list_conversations(self, started_after: datetime, cursor: str | None = None) -> HeldPage:
        """Conversations of every agent that began after a time, the oldest first."""

    async def conversation(self, conversation_id: str) -> HeldConversation:
        """The platform's account of a conversation, with its transcript."""

    async def delete_conversation(self, conversation_id: str) -> None:
        """Let the platform forget a conversation; one that is gone already is no error."""

    async def close(self) -> None:
        """Close its connections."""
