"""Going on: a new session of a conversation that was paused, or whose client lost its socket."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from oneiro.auth import Identity
from oneiro.conversations import continuing, store
from oneiro.conversations.access import locked, missing
from oneiro.conversations.address import Address, at_relay, reach
from oneiro.conversations.events import record
from oneiro.conversations.models import Sender, Started
from oneiro.conversations.slots.service import reserve
from oneiro.conversations.start import material, protection, scoped_key
from oneiro.conversations.state import after
from oneiro.conversations.transitions import store as transitions
from oneiro.database.pool import Connection, Database
from oneiro.dreamers import store as dreamers
from oneiro.dreamers.models import Dreamer
from oneiro.dreams import store as dreams
from oneiro.dreams.models import Dream
from oneiro.errors import Conflict
from oneiro.interpreters import store as interpreters
from oneiro.interpreters.agents.service import Agents
from oneiro.interpreters.models import Release
from oneiro.interpreters.variables import conversation_values, neutral
from oneiro.platform.port import VoicePlatform
from oneiro.safety.disclosure import Disclosure, disclosure
from oneiro.settings import Settings


@dataclass(frozen=True, slots=True)
class _Past:
    """What is known of the conversation that goes on."""

    conversation: store.Locked
    dreamer: Dreamer
    release: Release
    dream: Dream | None
    lines: list[tuple[Sender, str]]


class Resumes:
    """Resumes conversations with the release, language and model they began with."""

    def __init__(
        self,
        db: Database,
        platform: VoicePlatform,
        agents: Agents,
        *,
        settings: Settings,
        simulated: bool,
        clock: Callable[[], datetime],
    ) -> None:
        self._db = db
        self._platform = platform
        self._agents = agents
        self._settings = settings
        self._simulated = simulated
        self._clock = clock

    async def resume(self, caller: Identity, conversation_id: UUID, *, at: str) -> Started:
        """Give a conversation a new session with an address of its own; `at` is where this service was asked.

        While the latest session waits for its client, a repeat gives another address for that session. Raises
        `NotFound`, `Conflict` (it has ended, or is starting), `TooMany` (`no_slot`), and `PlatformUnavailable`,
        after which the conversation stands as before.
        """
        async with self._db.as_service() as conn:
            past = await self._past(conn, caller, conversation_id)
        address = await self._address(past, at)
        async with self._db.as_service() as conn:
            return await self._reopen(conn, await locked(conn, caller, conversation_id), past, address)

    async def _address(self, past: _Past, at: str) -> Address:
        known = past.conversation
        key = scoped_key(self._settings, known.user_id, known.dream_id)
        if known.transport != "relay":
            return await reach(self._agents, self._platform, past.release, known.language, known.model, session_key=key)
        public_url = self._settings.public_url or at
        return await at_relay(
            self._agents,
            past.release,
            known.language,
            known.model,
            public_url=public_url,
            now=self._clock(),
            session_key=key,
        )

    async def _past(self, conn: Connection, caller: Identity, conversation_id: UUID) -> _Past:
        known = await store.look(conn, caller.dreamer(), conversation_id)
        if known is None:
            raise missing()
        _check(known)
        dreamer = await dreamers.find(conn, known.user_id, self._clock())
        release = await interpreters.release(conn, known.interpreter_id, known.release)
        if dreamer is None or release is None:
            raise Conflict("The profile was deleted just now.", retryable=True)
        dream = await dreams.find(conn, known.user_id, known.dream_id) if known.dream_id else None
        return _Past(known, dreamer, release, dream, await store.latest_lines(conn, conversation_id))

    async def _reopen(self, conn: Connection, held: store.Locked, past: _Past, address: Address) -> Started:
        _check(held)
        now = self._clock()
        values = self._values(past, now)
        opened = transitions.Opened(
            agent_id=address.agent.agent_id,
            prompt_sha256=address.agent.prompt_sha256,
            variable_names=sorted(values),
            upstream_calls=address.upstream_calls,
            expires_at=address.expires_at,
            ticket_sha256=address.ticket_sha256,
        )
        told = disclosure(past.release.document.name, held.language, simulated=self._simulated)
        if held.state == "paused" or held.session_connected_at is not None:
            session = held.session + 1
            await transitions.resume(conn, held.conversation_id, session, opened, now)
            await record(conn, held.conversation_id, held.user_id, "conversation.resumed", {"session": session})
            await record(conn, held.conversation_id, held.user_id, "disclosure.given", {"disclosure": told.id})
        else:
            await transitions.readdress(conn, held.conversation_id, held.session, opened, now)
        # Who is in the middle of a dream is let in up to the last slot.
        await reserve(conn, held.conversation_id, "high", self._settings.max_concurrent_calls, now)
        return self._started(past, address, values, told)

    def _values(self, past: _Past, now: datetime) -> dict[str, str]:
        name = past.release.document.name
        values = conversation_values(
            conversation_id=str(past.conversation.conversation_id),
            now=now,
            user_name=past.dreamer.name,
            dream=material(past.dream) if past.dream else None,
            remembered=continuing.story(past.lines, name),
        )
        spoken = continuing.opening(past.lines, past.conversation.language, past.conversation.safety_tier)
        return {**values, "opening": neutral(spoken)}

    def _started(self, past: _Past, address: Address, values: dict[str, str], told: Disclosure) -> Started:
        conversation = past.conversation
        return Started(
            conversation_id=conversation.conversation_id,
            status="initializing" if conversation.status == "initializing" else "active",
            transport=conversation.transport or "direct",
            text_only=conversation.text_only,
            signed_url=address.url,
            expires_at=address.expires_at,
            agent_id=address.agent.agent_id,
            interpreter_name=past.release.document.name,
            opening=values["opening"],
            dynamic_variables=values,
            disclosure=told,
            **protection(conversation.language, past.dreamer.region),
            demo=self._simulated,
        )


def _check(conversation: store.Locked) -> None:
    # A relayed conversation that nobody has opened yet only gets another address.
    if conversation.status != "initializing" or conversation.session == 0:
        after(conversation.state, "resume")
