"""An address to open: the release's agent, made where it is missing, and a signed URL for it or a ticket of ours."""

from dataclasses import dataclass
from datetime import datetime

from oneiro.conversations.tickets import LIFE, Ticket
from oneiro.interpreters.agents.models import Provisioned
from oneiro.interpreters.agents.service import Agents
from oneiro.interpreters.models import Release
from oneiro.platform.errors import PlatformLacks
from oneiro.platform.port import VoicePlatform


@dataclass(frozen=True, slots=True)
class Address:
    """Where one conversation can be opened until `expires_at`, and what it took to get there.

    With a `ticket_sha256` it is an address of the relay.
    """

    url: str
    expires_at: datetime
    agent: Provisioned
    upstream_calls: int
    ticket_sha256: str | None = None


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


async def at_relay(
    agents: Agents,
    release: Release,
    language: str,
    model: str,
    *,
    public_url: str,
    now: datetime,
    session_key: str = "",
) -> Address:
    """An address of the relay under `public_url`; where the agent is known, the platform is not asked.

    Raises what `Agents.ensure` raises. Never called inside a transaction.
    """
    agent = await agents.ensure(release, language, model, session_key=session_key)
    ticket = Ticket()
    return Address(ticket.url(public_url), now + LIFE, agent, agent.upstream_calls, ticket.sha256)
