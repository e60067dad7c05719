"""What a start and a resume have in common: what they are made of, and what they note and answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from oneiro.conversations.address import Address, Addresses
from oneiro.conversations.models import Started, Status, Transport
from oneiro.conversations.transitions.store import Opened
from oneiro.database.pool import Database
from oneiro.interpreters.models import Release
from oneiro.safety.cards import card
from oneiro.safety.crisis import Tier, coverage
from oneiro.safety.disclosure import Disclosure, disclosure, provider
from oneiro.settings import Settings


@dataclass(frozen=True, slots=True)
class Known:
    """A conversation, as far as its answer tells of it."""

    conversation_id: UUID
    status: Status
    transport: Transport
    text_only: bool
    release: Release
    language: str
    region: str | None


@dataclass(frozen=True, slots=True)
class Wiring:
    """The parts that `Starts` and `Resumes` work with.

    simulated: the platform is an engine. begun: told of each start whose interpreter is known: who it is, `ok` or the
    error's code, and its seconds.
    """

    db: Database
    addresses: Addresses
    settings: Settings
    simulated: bool
    clock: Callable[[], datetime]
    begun: Callable[[str, str, float], None] = lambda _interpreter, _outcome, _seconds: None

    def disclosed(self, release: Release, language: str) -> Disclosure:
        """What a dreamer is told before she speaks."""
        return disclosure(release.document.name, language, self.simulated, provider(self.settings))

    def started(self, known: Known, address: Address, values: dict[str, str], told: Disclosure) -> Started:
        """The answer that holds the address."""
        return Started(
            conversation_id=known.conversation_id,
            status=known.status,
            transport=known.transport,
            text_only=known.text_only or address.degraded,
            signed_url=address.url,
            expires_at=address.expires_at,
            agent_id=address.agent.agent_id,
            interpreter_name=known.release.document.name,
            opening=values["opening"],
            dynamic_variables=values,
            disclosure=told,
            **protection(known.language, known.region),
            demo=self.simulated,
            degraded=address.degraded,
        )


def opened(address: Address, values: Mapping[str, str]) -> Opened:
    """What a session's row holds of its address."""
    return Opened(
        agent_id=address.agent.agent_id,
        prompt_sha256=address.agent.prompt_sha256,
        variable_names=sorted(values),
        upstream_calls=address.upstream_calls,
        expires_at=address.expires_at,
        ticket_sha256=address.ticket_sha256,
        # Whoever stands in for the platform was not looked for there.
        agent_known=None if address.degraded else not address.agent.created,
    )


def protection(language: str, region: str | None) -> dict[str, Any]:
    """Whether the gate understands a language, and the help lines to show at all times where it does not."""
    rules = coverage(language)
    lines = card(Tier.passive_ideation, region, language) if rules == "none" else None
    return {"safety_coverage": rules, "help_card": lines}
