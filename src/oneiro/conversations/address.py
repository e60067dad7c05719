"""An address to open: the release's agent, made where it is missing, and a signed URL for it or a ticket of ours."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from oneiro.conversations.models import Transport
from oneiro.conversations.tickets import LIFE, Ticket
from oneiro.errors import PlatformUnavailable
from oneiro.interpreters.agents.models import Provisioned, session_key
from oneiro.interpreters.agents.service import Agents
from oneiro.interpreters.agents.stand_in import StandIn
from oneiro.interpreters.agents.store import AgentRow
from oneiro.interpreters.models import Release
from oneiro.platform.errors import PlatformLacks
from oneiro.platform.port import VoicePlatform
from oneiro.settings import Settings

COME_BACK: Final = 30.0
"""Seconds after which to try again where the platform says nothing: as long as its breaker rests."""
AWAY: Final = (
    "The interpreters cannot be reached just now. What you have told is kept, and you can go on writing in your "
    "journal; please come back in a moment."
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where one conversation can be opened until `expires_at`, and what it took to get there.

    With a `ticket_sha256` it is an address of the relay; `degraded` when that shall lead to the stand-in.
    """

    url: str
    expires_at: datetime
    agent: Provisioned
    upstream_calls: int
    ticket_sha256: str | None = None
    degraded: bool = False


@dataclass(frozen=True, slots=True)
class Wish:
    """For which conversation an address is wanted; `at` is where this service was asked."""

    transport: Transport
    release: Release
    language: str
    model: str
    session_key: str
    at: str


def scoped_key(settings: Settings, user_id: UUID, dream_id: UUID | None) -> str:
    """Names the dreamer and dream that an agent is made for; empty where agents are made for releases."""
    return session_key(user_id, dream_id) if settings.agent_scope == "session" else ""


async def reach(
    agents: Agents, platform: VoicePlatform, release: Release, language: str, model: str, *, session_key: str = ""
) -> Address:
    """Ask for an address; an agent that the platform has forgotten is made anew, once, within the same request.

    With a `session_key` the agent is one of that dreamer and dream alone. Raises what `Agents.ensure` and
    `VoicePlatform.signed_url` raise. Never called inside a transaction.
    """
    agent = await agents.ensure(release, language, model, session_key=session_key)
    calls = agent.upstream_calls + 1
    try:
        signed = await platform.signed_url(agent.agent_id)
    except PlatformLacks:
        await agents.forget(agent.agent_id)
        agent = await agents.ensure(release, language, model, session_key=session_key)
        calls += agent.upstream_calls + 1
        signed = await platform.signed_url(agent.agent_id)
    return Address(signed.url, signed.expires_at, agent, calls)


class Addresses:
    """Addresses of the platform, or of the relay and through it.

    stand_in: who answers in writing while the platform is away, if anybody does. rest: for how many seconds the
    platform is being left alone.
    """

    def __init__(
        self,
        agents: Agents,
        platform: VoicePlatform,
        *,
        settings: Settings,
        clock: Callable[[], datetime],
        stand_in: StandIn | None = None,
        rest: Callable[[], float] = float,
    ) -> None:
        self._agents, self._platform, self._stand_in = agents, platform, stand_in
        self._public_url, self._clock, self._rest = settings.public_url, clock, rest

    def at_once(self, wish: Wish, row: AgentRow | None) -> Address | None:
        """An address of the relay for an agent that is known, asking nobody; None: `of` has to be asked."""
        if wish.transport != "relay" or wish.session_key or row is None or self._rest():
            return None
        agent = self._agents.at_once(row, wish.release, wish.language, wish.model)
        return self._at_relay(wish, agent) if agent is not None else None

    async def of(self, wish: Wish) -> Address:
        """An address for a conversation; of the relay also while the platform is away, if there is a stand-in.

        Raises `PlatformUnavailable` with words for the dreamer and when to come again, and what `Agents.ensure`
        raises. Never called inside a transaction.
        """
        try:
            return await self._at_platform(wish)
        except PlatformUnavailable as error:
            if wish.transport == "relay" and self._stand_in is not None:
                agent = self._stand_in.agent(wish.release, wish.language, wish.model)
                return self._at_relay(wish, agent, degraded=True)
            # The same error, of whichever kind: only what the dreamer reads is put in her words.
            raise type(error)(AWAY, code=error.code, retry_after=error.retry_after or COME_BACK) from error

    async def _at_platform(self, wish: Wish) -> Address:
        if rest := self._rest():
            raise PlatformUnavailable(AWAY, retry_after=rest)
        known = (wish.release, wish.language, wish.model)
        if wish.transport == "direct":
            return await reach(self._agents, self._platform, *known, session_key=wish.session_key)
        # Where the agent is known, the platform is not asked.
        return self._at_relay(wish, await self._agents.ensure(*known, session_key=wish.session_key))

    def _at_relay(self, wish: Wish, agent: Provisioned, *, degraded: bool = False) -> Address:
        ticket = Ticket()
        url = ticket.url(self._public_url or wish.at)
        return Address(url, self._clock() + LIFE, agent, agent.upstream_calls, ticket.sha256, degraded)
