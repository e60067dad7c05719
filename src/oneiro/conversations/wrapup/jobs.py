"""A language model's summary as a job: asked for when a conversation has ended, where a model is configured."""

from collections.abc import Mapping
from typing import Any, Final, Protocol
from uuid import UUID

import httpx

from oneiro.breaker import CircuitBreaker
from oneiro.conversations.wrapup.llm import summarise_by_llm
from oneiro.database.pool import Connection, Database
from oneiro.events.consumers import Consumer
from oneiro.events.models import Event
from oneiro.jobs import queue
from oneiro.jobs.models import JobFunction
from oneiro.loopback import UNPROXIED
from oneiro.settings import Settings

SUMMARISE: Final = "conversations.summarise"
ATTEMPTS: Final = 8
"""Over some four minutes, as an attempt fails at once while the model's breaker is open."""


class HasBreaker(Protocol):
    """What a command knows beyond the settings, as far as the job needs it."""

    @property
    def llm(self) -> CircuitBreaker | None:
        """The breaker of the model."""


class HasModel(Protocol):
    """The parts of a worker's services that the job needs."""

    @property
    def database(self) -> Database:
        """Where conversations are."""

    @property
    def settings(self) -> Settings:
        """Which model to ask."""

    @property
    def surroundings(self) -> HasBreaker:
        """Through which breaker."""


async def ask_for_summary(conn: Connection, event: Event) -> None:
    """Handle `conversation.ended`: enqueue the model's summary, once for a conversation."""
    if event.conversation_id is not None:
        wanted = str(event.conversation_id)
        key = f"{SUMMARISE}:{wanted}"
        await queue.enqueue(conn, SUMMARISE, {"conversation_id": wanted}, dedupe_key=key, max_attempts=ATTEMPTS)


async def summarise(services: HasModel, payload: Mapping[str, Any]) -> None:
    """Ask the model for the summary of one conversation."""
    async with httpx.AsyncClient(mounts=UNPROXIED) as client:
        wanted = UUID(payload["conversation_id"])
        breaker = services.surroundings.llm or CircuitBreaker("llm")
        await summarise_by_llm(services.database, client, services.settings, wanted, breaker=breaker)


FUNCTIONS: Final[Mapping[str, JobFunction[HasModel]]] = {SUMMARISE: summarise}
# Only for a service with a model: without one every job would find nothing to do.
CONSUMER: Final = Consumer("model_summaries", ("conversation.ended",), ask_for_summary, from_now=True)
