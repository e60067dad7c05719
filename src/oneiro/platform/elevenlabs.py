"""ElevenLabs Agents through the official SDK; its words, shapes and errors stop here.

Known ways of SDK 2.78.0 that this module answers: it retries POSTs that are not idempotent (so `max_retries=0`), waits
240 s by default (so a bound on every call), lets httpx's errors through, checks no answer, and its errors print
headers and bodies (so none is chained to ours).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, TypeVar
from urllib.parse import urlsplit

import httpx
from elevenlabs.client import AsyncElevenLabs
from elevenlabs.conversational_ai.agents.client import AsyncAgentsClient
from elevenlabs.conversational_ai.conversations.client import AsyncConversationsClient
from elevenlabs.core.api_error import ApiError
from elevenlabs.core.parse_error import ParsingError
from elevenlabs.core.request_options import RequestOptions
from elevenlabs.text_to_voice.client import AsyncTextToVoiceClient
from elevenlabs.types.voice_settings import VoiceSettings
from elevenlabs.voices.settings.client import AsyncSettingsClient
from pydantic import BaseModel
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from oneiro import tracing
from oneiro.breaker import CircuitBreaker
from oneiro.errors import OneiroError, SetupError
from oneiro.platform.errors import PlatformLacks, PlatformUnavailable
from oneiro.platform.faults import fault_of
from oneiro.platform.held import entry, read
from oneiro.platform.port import AgentSpec, HeldConversation, HeldPage, SignedUrl, VoiceTuning
from oneiro.platform.translate import conversation_config, differences, platform_settings, tags

Answer = TypeVar("Answer")
Call = Callable[[RequestOptions], Awaitable[Answer]]
Observe = Callable[[str, str, float], None]

SIGNED_URL_LIFE: Final = timedelta(minutes=15)
"""A signed URL must be opened within this time (elevenlabs.io/docs, agent authentication)."""
CONVERSATION_SECONDS: Final = 5.0
PROVISIONING_SECONDS: Final = 15.0
DESIGN_SECONDS: Final = 45.0
"""Designing a voice renders three previews of the sample before it answers."""
ATTEMPTS: Final = 3
JITTER: Final = wait_random_exponential(multiplier=0.2, max=2.0)
REPEATABLE: Final = frozenset(
    {
        "signed_url",
        "find_agent",
        "read_agent",
        "delete_agent",
        "tune_voice",
        "list_conversations",
        "read_conversation",
        "delete_conversation",
    }
)
"""Calls that may be made twice; an agent or a voice is made by one that may not: there is no key against a second."""
PAGE: Final = 100
MOST_PAGES: Final = 100
LOOPBACK: Final = {"127.0.0.1", "::1", "localhost"}


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
        self._key = api_key
        self._clock = clock
        self._observe = observe
        self._conversation_seconds, self._provisioning_seconds = conversation_seconds, provisioning_seconds
        # A proxy of the environment must not stand between us and an engine on this machine.
        local = base_url is not None and urlsplit(base_url).hostname in LOOPBACK
        self._http = httpx.AsyncClient(timeout=PROVISIONING_SECONDS, follow_redirects=False, trust_env=not local)
        client = AsyncElevenLabs(base_url=base_url, api_key=api_key, httpx_client=self._http)
        # The SDK imports each part on first use, which takes up to a second: now, not in somebody's conversation.
        self._agents: AsyncAgentsClient = client.conversational_ai.agents
        self._conversations: AsyncConversationsClient = client.conversational_ai.conversations
        self._voice_design: AsyncTextToVoiceClient = client.text_to_voice
        self._voice_settings: AsyncSettingsClient = client.voices.settings

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
            page = await self._agents_page(tag, cursor)
            for agent in getattr(page, "agents", None) or ():
                if tag in (getattr(agent, "tags", None) or ()):
                    return _text(agent, "agent_id")
            cursor = getattr(page, "next_cursor", None)
            if not cursor or not getattr(page, "has_more", False):
                break
        return None

    async def drift(self, agent_id: str, spec: AgentSpec) -> tuple[str, ...]:
        """The names of the fields in which the agent, read back, differs from its spec; see `PROTECTIONS`."""
        agent = await self._provision("read_agent", lambda options: self._agents.get(agent_id, request_options=options))
        if not hasattr(agent, "model_dump"):
            raise _unreadable()
        # The SDK builds its models unchecked, so pydantic would warn of each value that is not of the declared type.
        return differences(spec, agent.model_dump(warnings=False))

    async def delete_agent(self, agent_id: str) -> None:
        """Delete an agent; one that is gone already is no error."""
        try:
            await self._provision(
                "delete_agent", lambda options: self._agents.delete(agent_id, request_options=options)
            )
        except PlatformLacks:
            return

    async def signed_url(self, agent_id: str) -> SignedUrl:
        """A signed URL for one conversation with this agent; it opens once, and within fifteen minutes."""
        expires_at = self._clock() + SIGNED_URL_LIFE
        answer = await self._ask(
            self.conversation_breaker,
            "signed_url",
            self._conversation_seconds,
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
            raise _unreadable()
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
            raise _unreadable()
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
            raise _unreadable()
        return held

    async def delete_conversation(self, conversation_id: str) -> None:
        """Let the platform forget a conversation; one that is gone already is no error."""
        try:
            await self._provision(
                "delete_conversation",
                lambda options: self._conversations.delete(conversation_id, request_options=options),
            )
        except PlatformLacks:
            return

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def _agents_page(self, tag: str, cursor: str | None) -> object:
        return await self._provision(
            "find_agent",
            lambda options: self._agents.list(tags=[tag], page_size=PAGE, cursor=cursor, request_options=options),
        )

    async def _provision(self, name: str, call: Call[Answer], seconds: float | None = None) -> Answer:
        return await self._ask(self.provisioning_breaker, name, seconds or self._provisioning_seconds, call)

    async def _ask(self, breaker: CircuitBreaker, name: str, seconds: float, call: Call[Answer]) -> Answer:
        """Make one call through its breaker, bounded as a whole, and tell how it went."""
        began = time.perf_counter()
        outcome = "ok"
        try:
            return await breaker.call(lambda: self._insist(name, seconds, call))
        except OneiroError as error:
            outcome = error.code
            raise
        finally:
            tracing.past(f"platform.{name}", time.perf_counter() - began, outcome)
            if self._observe is not None:
                self._observe(name, outcome, time.perf_counter() - began)

    async def _insist(self, name: str, seconds: float, call: Call[Answer]) -> Answer:
        """Make a call within its time; one that may be repeated is tried again while there is time for it."""
        if name not in REPEATABLE:
            return await self._once(seconds, call)
        latest = time.monotonic() + seconds
        again = AsyncRetrying(
            retry=retry_if_exception_type(PlatformUnavailable),
            stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(seconds),
            wait=_pause,
            reraise=True,
        )

        async def attempt() -> Answer:
            return await self._once(seconds, call, left=latest - time.monotonic())

        return await again(attempt)

    async def _once(self, seconds: float, call: Call[Answer], *, left: float | None = None) -> Answer:
        # The SDK's own timeout is per phase of a request; the outer bound holds for the whole of it.
        # httpx takes fractions of a second, whatever the SDK declares.
        options = RequestOptions(max_retries=0, timeout_in_seconds=seconds)  # type: ignore[typeddict-item]
        try:
            async with asyncio.timeout(seconds if left is None else left):
                return await call(options)
        except ApiError as error:
            raise fault_of(error.status_code, error.headers, error.body, secret=self._key, now=self._clock()) from None
        except (httpx.TimeoutException, TimeoutError):
            raise PlatformUnavailable(f"The voice platform did not answer within {seconds:g} seconds.") from None
        except httpx.RequestError as error:
            raise PlatformUnavailable(f"The voice platform cannot be reached ({type(error).__name__}).") from None
        except (ParsingError, UnicodeDecodeError, TypeError):
            # TypeError: the SDK unpacks whatever stands where it expects an object.
            raise _unreadable() from None


def _pause(state: RetryCallState) -> float:
    """Seconds before the next attempt: as the platform says, else a random part of 0.2 s, doubling."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, PlatformUnavailable) else None
    return JITTER(state) if asked is None else asked


def _unreadable() -> PlatformUnavailable:
    return PlatformUnavailable("The voice platform gave an answer that cannot be read.")


def _plain(answer: object) -> object:
    """An answer as plain data; the SDK builds its models unchecked, so pydantic would warn of odd values."""
    return answer.model_dump(warnings=False) if isinstance(answer, BaseModel) else answer


def _text(answer: object, name: str) -> str:
    """A text of an answer that the SDK has not checked; raises `PlatformUnavailable` when it is not there."""
    value = getattr(answer, name, None)
    if not isinstance(value, str) or not value:
        raise _unreadable()
    return value
