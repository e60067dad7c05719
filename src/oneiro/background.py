"""What goes on behind the requests: positions for events, their consumers, jobs, and the tail of this process."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from oneiro.analytics.agents import subscribers as agent_metrics
from oneiro.analytics.conversations import subscribers as analytics
from oneiro.analytics.rollups import jobs as rollups
from oneiro.conversations.reconcile import jobs as reconciling
from oneiro.conversations.wrapup import jobs as wrapup
from oneiro.conversations.wrapup.service import summarise_ended
from oneiro.events.consumers import Consumer, Consumers, Emitter
from oneiro.events.loops import running
from oneiro.events.models import Filter
from oneiro.events.sequencer import Sequencer
from oneiro.events.tail import Lagged
from oneiro.idempotency import store as idempotency
from oneiro.interpreters.agents import jobs as agents
from oneiro.jobs import upkeep
from oneiro.jobs.models import JobFunction, Periodic
from oneiro.jobs.runner import Runner
from oneiro.metrics import LoopLag
from oneiro.parts import Parts
from oneiro.privacy.erasure import jobs as erasure
from oneiro.settings import Settings
from oneiro.webhooks import jobs as webhooks
from oneiro.webhooks.delivery.service import FAN_OUT

BATCH = 1000


async def _forget_answers(parts: Parts, _payload: Mapping[str, Any]) -> None:
    deleted = BATCH
    while deleted == BATCH:
        async with parts.database.as_service() as conn:
            deleted = await idempotency.delete_old(conn, BATCH)


async def _sweep(parts: Parts, _payload: Mapping[str, Any]) -> None:
    await parts.sweeper.sweep()


CONSUMERS: tuple[Consumer | Emitter, ...] = (
    Consumer("summaries", ("conversation.ended", "conversation.timed_out"), summarise_ended),
    FAN_OUT,
    erasure.CONSUMER,
    analytics.CONSUMER,
    agent_metrics.CONSUMER,
)
JOBS: Mapping[str, JobFunction[Parts]] = {
    "conversations.sweep": _sweep,
    "idempotency.prune": _forget_answers,
    **upkeep.FUNCTIONS,
    **wrapup.FUNCTIONS,
    **agents.FUNCTIONS,
    **reconciling.FUNCTIONS,
    **webhooks.FUNCTIONS,
    **erasure.FUNCTIONS,
    **rollups.FUNCTIONS,
}


def consumers(settings: Settings) -> tuple[Consumer | Emitter, ...]:
    """The durable consumers; a model's summaries are asked for where a model is configured."""
    return (*CONSUMERS, wrapup.CONSUMER) if settings.llm_base_url else CONSUMERS


def consumer_names(settings: Settings) -> tuple[str, ...]:
    """The names of their cursors."""
    return tuple(consumer.name for consumer in consumers(settings))


def periodic(parts: Parts) -> tuple[Periodic, ...]:
    """The jobs that come again and again."""
    sweep = Periodic("conversations.sweep", every=float(parts.settings.sweep_seconds))
    answers = Periodic("idempotency.prune", every=600.0)
    features = (upkeep, agents, reconciling, webhooks, erasure, rollups)
    return (sweep, answers, *(each for feature in features for each in feature.PERIODIC))


class CardRefresh:
    """Has the cards of this process read again as soon as an interpreter changes anywhere."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self) -> None:
        """Follow the tail until cancelled."""
        wanted = Filter(types=frozenset({"interpreter.activated", "interpreter.rolled_back", "interpreter.retired"}))
        while True:
            with self._parts.tail.subscribe(wanted) as changes:
                try:
                    async for _ in changes:
                        self._parts.cards.refresh()
                except Lagged:
                    self._parts.cards.refresh()
                else:
                    return  # The tail is closed: the process ends.


@asynccontextmanager
async def listening(parts: Parts) -> AsyncIterator[None]:
    """What every process that serves needs: the bell, the tail, and what follows it."""
    async with running(parts.bell, parts.tail, parts.breaker_events, CardRefresh(parts), LoopLag(parts.metrics)):
        try:
            yield
        finally:
            parts.tail.close()


@asynccontextmanager
async def working(parts: Parts, stopping: asyncio.Event) -> AsyncIterator[None]:
    """What at least one process must do: stamp events, run their consumers and the jobs.

    Jobs are drained from `stopping` on, at the same time as calls, and not after them.
    """
    runner = Runner(parts.database, parts.bell, parts, JOBS, periodic=periodic(parts))
    workers = Consumers(parts.database, parts.bell, consumers(parts.settings))
    async with running(Sequencer(parts.database, parts.bell), *workers.loops, runner, parts.deliverer):
        draining = asyncio.create_task(_drain(runner, stopping, parts.settings.drain_seconds))
        try:
            yield
        finally:
            stopping.set()
            await draining


async def _drain(runner: Runner[Parts], stopping: asyncio.Event, seconds: float) -> None:
    await stopping.wait()
    await runner.drain(seconds)


async def work(parts: Parts, stop: asyncio.Event) -> None:
    """Be a worker until `stop` is set."""
    async with parts.open(), running(parts.bell, parts.breaker_events), working(parts, stop):
        await stop.wait()
