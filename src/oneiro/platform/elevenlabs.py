"""ElevenLabs Agents through the official SDK; its words, shapes and errors stop here.

What is asked stands here, how it is asked in `calls`, and how answers, which the SDK does not check, are read in `held`
and `translate`.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import httpx
from elevenlabs.base_client import AsyncBaseElevenLabs
from elevenlabs.types.voice_settings import VoiceSettings
from pydantic import BaseModel

from oneiro.breaker import CircuitBreaker
from oneiro.errors import SetupError
from oneiro.loopback import UNPROXIED
from oneiro.platform.calls import Answer, Call, Calls, Observe, unreadable
from oneiro.platform.errors import PlatformLacks
from oneiro.platform.held import agents, entry, read, voices
from oneiro.platform.port import (
    DESIGN_SECONDS,
    PROVISIONING_SECONDS,
    AgentSpec,
    HeldAgent,
    HeldConversation,
    HeldPage,
    HeldVoice,
    SignedUrl,
    VoiceTuning,
)
from oneiro.platform.translate import conversation_config, differences, platform_settings, tags

if TYPE_CHECKING:
    # Importing these takes most of a second, which only a process that has a platform shall spend.
    from elevenlabs.conversational_ai.agents.client import AsyncAgentsClient
    from elevenlabs.conversational_ai.conversations.client import AsyncConversationsClient
    from elevenlabs.text_to_voice.client import AsyncTextToVoiceClient
    from elevenlabs.voices.client import AsyncVoicesClient
    from elevenlabs.voices.settings.client import AsyncSettingsClient

SIGNED_URL_LIFE: Final = timedelta(minutes=15)
"""A signed URL must be opened within this time (elevenlabs.io/docs, agent authentication)."""
CONVERSATION_SECONDS: Final = 5.0
PAGE: Final = 100
MOST_PAGES: Final = 100


class ElevenLabsPlatform:
    """The voice platform behind `VoicePlatform`; with another `base_url` the engine, or a regional service.

    conversations, provisioning: the breakers of what a conversation needs now, and of agents and voices.
    observe: told the call, its outcome (`ok` or an error's code) and its seconds.
    Raises `SetupError` when the key cannot be one.
    """

    def __init__(
        self,
        api_key: str,
        *,
        conversations: CircuitBreaker,
        provisioning: CircuitBreaker,
        clock: Callable[[], datetime],
        base_url: str | None = None,
        observe: Observe | None = None,
        conversation_seconds: float = CONVERSATION_SECONDS,
        provisioning_seconds: float = PROVISIONING_SECONDS,
    ) -> None:
        if not api_key.isascii() or not api_key.isprintable() or not api_key.strip():
            raise SetupError("ELEVENLABS_API_KEY is not a key: it is empty or holds characters that no key has")
        self.conversation_breaker, self.provisioning_breaker = conversations, provisioning
        self._clock = clock
        self._calls = Calls(secret=api_key, clock=clock, observe=observe)
        self._conversation_seconds, self._provisioning_seconds = conversation_seconds, provisioning_seconds
        self._http = httpx.AsyncClient(timeout=PROVISIONING_SECONDS, follow_redirects=False, mounts=UNPROXIED)
        client = AsyncBaseElevenLabs(base_url=base_url, api_key=api_key, httpx_client=self._http)
        # The SDK imports each part on first use, which takes up to a second: now, not in somebody's conversation.
        self._agents: AsyncAgentsClient = client.conversational_ai.agents
        self._conversations: AsyncConversationsClient = client.conversational_ai.conversations
        self._voice_design: AsyncTextToVoiceClient = client.text_to_voice
        self._voices: AsyncVoicesClient = client.voices
        self._voice_settings: AsyncSettingsClient = self._voices.settings

    async def create_agent(self, spec: AgentSpec) -> str:
        """Create an agent and return its id."""
        config, settings = conversation_config(spec), platform_settings(spec)
        answer = await self._provision(
            "create_agent",
            lambda options: self._agents.create(
                name=spec.name,
                tags=tags(spec),
                conversation_config=config,  # type: ignore[arg-type]  # The SDK takes plain data as well.
                platform_settings=settings,  # type: ignore[arg-type]  # The same.
                request_options=options,
            ),
        )
        return _text(answer, "agent_id")

    async def find_agent(self, tag: str) -> str | None:
        """The id of the agent with this tag, if there is one."""
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page, cursor = await self.list_agents(tag, cursor)
            if page:
                return page[0].id
            if cursor is None:
                break
        return None

    async def list_agents(self, tag: str, cursor: str | None = None) -> tuple[list[HeldAgent], str | None]:
        """A page of the agents with this tag, and the cursor of the next one."""
        answer = await self._provision(
            "list_agents",
            lambda options: self._agents.list(tags=[tag], page_size=PAGE, cursor=cursor, request_options=options),
        )
        return agents(_plain(answer), tag)

    async def drift(self, agent_id: str, spec: AgentSpec) -> tuple[str, ...]:
        """The names of the fields in which the agent, read back, differs from its spec; see `PROTECTIONS`."""
        agent = await self._provision("read_agent", lambda options: self._agents.get(agent_id, request_options=options))
        tree = _plain(agent)
        if not isinstance(tree, Mapping):
            raise unreadable()
        return differences(spec, tree)

    async def delete_agent(self, agent_id: str) -> None:
        """Delete an agent; one that is gone already is no error."""
        with suppress(PlatformLacks):
            await self._provision(
                "delete_agent", lambda options: self._agents.delete(agent_id, request_options=options)
            )

    async def signed_url(self, agent_id: str) -> SignedUrl:
        """A signed URL for one conversation with this agent; it opens once, and within fifteen minutes."""
        expires_at = self._clock() + SIGNED_URL_LIFE
        answer = await self._converse(
            "signed_url",
            lambda options: self._conversations.get_signed_url(
                agent_id=agent_id, include_conversation_id=True, request_options=options
            ),
        )
        return SignedUrl(_text(answer, "signed_url"), expires_at)

    async def design_voice(self, *, name: str, description: str, sample: str) -> str:
        """Design a voice from a description, keep its first preview, and return its id."""
        designed = await self._provision(
            "design_voice",
            lambda options: self._voice_design.design(
                voice_description=description, text=sample, request_options=options
            ),
            DESIGN_SECONDS,
        )
        previews = getattr(designed, "previews", None)
        if not previews:
            raise unreadable()
        preview = _text(previews[0], "generated_voice_id")
        kept = await self._provision(
            "keep_voice",
            lambda options: self._voice_design.create(
                voice_name=name, voice_description=description, generated_voice_id=preview, request_options=options
            ),
        )
        return _text(kept, "voice_id")

    async def tune_voice(self, voice_id: str, tuning: VoiceTuning) -> None:
        """Set how a voice of ours sounds."""
        settings = VoiceSettings(
            stability=tuning.stability,
            similarity_boost=tuning.similarity_boost,
            style=tuning.style,
            use_speaker_boost=tuning.use_speaker_boost,
        )
        await self._provision(
            "tune_voice",
            lambda options: self._voice_settings.update(voice_id, request=settings, request_options=options),
        )

    async def has_voice(self, voice_id: str) -> bool:
        """Whether agents can speak with this voice."""
        try:
            await self._provision("read_voice", lambda options: self._voices.get(voice_id, request_options=options))
        except PlatformLacks:
            return False
        return True

    async def list_voices(self, cursor: str | None = None) -> tuple[list[HeldVoice], str | None]:
        """A page of the voices that were designed, and the cursor of the next one."""
        answer = await self._provision(
            "list_voices",
            lambda options: self._voices.search(
                category="generated", page_size=PAGE, next_page_token=cursor, request_options=options
            ),
        )
        return voices(_plain(answer))

    async def delete_voice(self, voice_id: str) -> None:
        """Delete a voice; one that is gone already is no error."""
        with suppress(PlatformLacks):
            await self._provision(
                "delete_voice", lambda options: self._voices.delete(voice_id, request_options=options)
            )

    async def list_conversations(self, started_after: datetime, cursor: str | None = None) -> HeldPage:
        """Conversations of every agent that began after a time, the oldest first."""
        page = await self._provision(
            "list_conversations",
            lambda options: self._conversations.list(
                call_start_after_unix=int(started_after.timestamp()),
                sort_direction="asc",
                page_size=PAGE,
                cursor=cursor,
                request_options=options,
            ),
        )
        rows = getattr(page, "conversations", None)
        if not isinstance(rows, list):
            raise unreadable()
        following = getattr(page, "next_cursor", None) if getattr(page, "has_more", False) else None
        entries = [entry(_plain(row)) for row in rows]
        return HeldPage(tuple(each for each in entries if each), following or None)

    async def conversation(self, conversation_id: str) -> HeldConversation:
        """The platform's account of a conversation, with its transcript."""
        answer = await self._provision(
            "read_conversation",
            lambda options: self._conversations.get(conversation_id, request_options=options),
        )
        held = read(_plain(answer))
        if held is None:
            raise unreadable()
        return held

    async def delete_conversation(self, conversation_id: str) -> None:
        """Let the platform forget a conversation; one that is gone already is no error."""
        with suppress(PlatformLacks):
            await self._provision(
                "delete_conversation",
                lambda options: self._conversations.delete(conversation_id, request_options=options),
            )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _converse(self, name: str, call: Call[Answer]) -> Answer:
        return await self._calls.ask(self.conversation_breaker, name, self._conversation_seconds, call)

    async def _provision(self, name: str, call: Call[Answer], seconds: float | None = None) -> Answer:
        return await self._calls.ask(self.provisioning_breaker, name, seconds or self._provisioning_seconds, call)


def _plain(answer: object) -> object:
    """An answer as plain data; the SDK builds its models unchecked, so pydantic would warn of odd values."""
    return answer.model_dump(warnings=False) if isinstance(answer, BaseModel) else answer


def _text(answer: object, name: str) -> str:
    """A text of an answer that the SDK has not checked; raises `PlatformUnavailable` when it is not there."""
    value = getattr(answer, name, None)
    if not isinstance(value, str) or not value:
        raise unreadable()
    return value
