"""Random faults on both sides and in the database: every conversation comes to its end, and no line is lost.

Fifty dreamers, a third of them aloud, talk, break in, vanish, come back and end, while the platform breaks sockets,
fails, is away, is full and is restarted, a language model stands in for it, and the database drops its connections.
The platform is an engine in a process of its own; the service's memory and tasks are this process's.
`ONEIRO_SOAK_SECONDS` changes how long the soak lasts, `ONEIRO_SOAK_SEED` repeats a run's dice.
"""

import asyncio
import ctypes
import gc
import logging
import os
import random
import resource
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from pydantic import SecretStr
from tests.relay.soak_dreamers import Base, Sleeper, Tally, plain
from tests.relay.soak_platform import SPEED, WEBHOOK_SECRET, Account, Platform
from tests.relay.soak_weather import Model, Weather, model_at

from oneiro.app import Surroundings, create_app
from oneiro.cli.listen import bind, listening
from oneiro.cli.stack import model_breaker, standing_in
from oneiro.errors import PlatformUnavailable
from oneiro.events.loops import end
from oneiro.settings import Settings
from oneiro.webhooks.inbox.service import HANDLE

SignIn = Callable[..., Any]

SLEEPERS = 50
SHORT, LONG = 120.0, 1800.0
"""Seconds that dreamers come and go; the last ones then end in their own time."""
REST = 4.0
"""Seconds that a breaker rests here, instead of thirty: it shall open and close several times."""
GROWTH = 16
"""MiB that the process may grow by between its first third and its end."""


@dataclass
class House:
    """An Oneiro as the commands put it together, with the platform that it is led to."""

    app: Any
    url: str
    platform: Platform
    model: Model


@pytest.fixture
async def base(db_url: str) -> AsyncIterator[Base]:
    async with await psycopg.AsyncConnection.connect(db_url, autocommit=True, row_factory=dict_row) as conn:
        yield Base(conn)


@pytest.fixture
async def house(settings: Settings, clock: Any, tmp_path: Path) -> AsyncIterator[House]:
    """Each knows the other's address: the platform's is fixed first, the platform itself begins last."""
    platform = Platform(tmp_path)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(platform.close)
        model, model_url = await stack.enter_async_context(model_at())
        told = {
            "elevenlabs_base_url": platform.url,
            "elevenlabs_webhook_secret": SecretStr(WEBHOOK_SECRET),
            "llm_base_url": model_url,
            "max_concurrent_calls": 2 * SLEEPERS,
        }
        known = settings.model_copy(update=told)
        llm = model_breaker(known)
        stand_in = await stack.enter_async_context(standing_in(known, llm, speed=SPEED))
        app = create_app(known, Surroundings(simulated=True, stand_in=stand_in, llm=llm), clock=clock)
        for breaker in app.state.breakers:
            breaker.retry_timeout = REST
        listened = await stack.enter_async_context(listening(app, bind("127.0.0.1", 0, what="a test"), grace=5))
        platform.webhook_url = f"{listened.url}/webhooks/elevenlabs"
        await platform.begin()
        yield House(app, listened.url, platform, model)


def _resident() -> float:
    """MiB of this process now, without what is free already and lies between what is not."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # Where the C library has it.
    if trim is not None:
        trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def _tasks() -> Counter[str]:
    """What is being done, by the name of its coroutine."""
    return Counter(getattr(task.get_coro(), "__qualname__", "?") for task in asyncio.all_tasks())


async def _only(before: Counter[str]) -> None:
    """Wait until no task is left that was not there before."""
    end = time.monotonic() + 60
    while stuck := _tasks() - before:
        assert time.monotonic() < end, f"these tasks are stuck: {stuck}"
        await asyncio.sleep(0.1)


async def _told(base: Base, entity: str) -> Counter[str]:
    """Events so far, by what happened."""
    rows = await base.rows(
        "SELECT event_type, count(*) FROM system_events WHERE split_part(event_type, '.', 1) = %s GROUP BY 1", entity
    )
    return Counter({row["event_type"].partition(".")[2]: row["count"] for row in rows})


async def _settled(house: House, base: Base, clock: Any) -> None:
    """No call, no slot; after an hour all is final, and the platform was asked for whatever it knows."""
    end = time.monotonic() + 60
    while calls := house.app.state.relay.calls:
        assert time.monotonic() < end, f"{calls} calls are still open"
        await asyncio.sleep(0.1)
    # A slot whose start or whose end met a dead database lapses within a minute.
    leased = "SELECT * FROM conversation_slots WHERE leased_until > now()"
    await base.empty(leased, within=90, what="slots are still taken")
    clock.advance(3600)
    await house.app.state.sweeper.sweep()
    open_ones = "SELECT id, status FROM conversations WHERE status NOT IN ('completed', 'failed')"
    await base.empty(open_ones, within=0, what="conversations are not final")
    await base.empty("SELECT * FROM conversation_slots", within=0, what="slots are left")
    sessions = "SELECT * FROM conversation_sessions WHERE session_status IN ('active', 'paused')"
    await base.empty(sessions, within=0, what="sessions are open")
    for job in await house.app.state.jobs.list("dead", HANDLE, None, 100):  # As an operator does after outages.
        await house.app.state.jobs.retry(job.id)
    webhooks = "SELECT id, received_at FROM webhook_inbox WHERE handled_at IS NULL"
    await base.empty(webhooks, within=120, what="webhooks are not handled")
    while await house.app.state.reconciler.run():
        pass


@dataclass
class Compared:
    """What the platform's accounts have brought to light: their lines, and how many of these nobody can have."""

    lines: int = 0
    unknown: int = 0
    """Accounts of sockets that broke before the relay had let anybody in."""
    unheard: int = 0
    """Last replies that were swallowed with their socket, in sessions whose account a restart swallowed as well."""


async def _has_what_the_platform_said(house: House, base: Base) -> Compared:
    """Every line of all lives of the platform is in the database.

    A session whose account was taken over is whole. Where a restart came before that, the reply at which the socket
    broke is the one line that nobody can know of.
    """
    sessions = await base.rows(
        "SELECT elevenlabs_conversation_id AS id, conversation_id, session, reconciled_at IS NOT NULL "
        "AND NOT coalesce(session_metadata -> 'platform' ? 'missing', false) AS accounted "
        "FROM conversation_sessions WHERE elevenlabs_conversation_id IS NOT NULL"
    )
    ours = {row["id"]: row for row in sessions}
    compared = Compared()
    for account in house.platform.accounts():
        if (session := ours.get(account.platform_id)) is None:
            compared.unknown += 1
            continue
        kept = await base.rows(
            "SELECT sender, content FROM messages WHERE conversation_id = %s AND session = %s",
            session["conversation_id"],
            session["session"],
        )
        compared.lines += len(account.lines)
        lost = _missing(account, Counter((row["sender"], plain(row["content"])) for row in kept))
        if not session["accounted"] and lost in (Counter(), _last_reply(account)):
            compared.unheard += lost.total()
            continue
        assert not lost, f"the platform said in session {session}, and it is not stored: {lost}"
    return compared


def _missing(account: Account, kept: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    said = Counter((_SENDERS[role], plain(words)) for role, words in account.lines if plain(words))
    return said - kept


def _last_reply(account: Account) -> Counter[tuple[str, str]]:
    replies = [words for role, words in account.lines if role == "agent"]
    return Counter([("interpreter", plain(words)) for words in replies[-1:]])


_SENDERS = {"agent": "interpreter", "user": "user"}


async def _together(*works: Coroutine[Any, Any, None]) -> None:
    """Do all of this; what fails first is raised, and the others are ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        await end(tasks)


def _after(seconds: float) -> Callable[[], bool]:
    """Whether so many seconds are over."""
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


async def _survives(seconds: float, house: House, sign_in: SignIn, base: Base, clock: Any) -> None:
    seed = int(os.environ.get("ONEIRO_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
    # Its warnings name the connections that were cut; pytest keeps them, and with them the connections.
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    print(f"ONEIRO_SOAK_SEED={seed}")  # noqa: T201 - pytest shows it with a failure.
    dice, tally = random.Random(seed), Tally()  # noqa: S311 - dice, no secret.
    breakers = house.app.state.breakers
    people = [
        Sleeper(sign_in(house).http, random.Random(dice.random()), base, tally, speaks=number % 3 == 0)  # noqa: S311 - as above.
        for number in range(SLEEPERS)
    ]
    # One conversation each way without faults first: what a process makes once is there then.
    await asyncio.gather(*(person.dream_until(_after(3)) for person in people[:2]))
    before, latest = _tasks(), time.monotonic() + seconds
    weather = Weather(house.platform, base, breakers, random.Random(dice.random()))  # noqa: S311 - as above.
    sizes: list[float] = []

    async def weigh() -> None:
        while time.monotonic() < latest:
            await asyncio.sleep(seconds / 30)
            sizes.append(_resident())

    def over() -> bool:
        return weather.over and time.monotonic() > latest

    await _together(
        weather.of_the_platform(latest - seconds / 5),
        weather.of_the_database(latest - 5),
        weigh(),
        *(person.dream_until(over) for person in people),
    )
    print(tally, weather.seen, f"MiB: {[round(size, 1) for size in sizes]}")  # noqa: T201 - as above.
    await house.platform.behave()
    limit = time.monotonic() + 60
    while opened := [breaker.name for breaker in breakers if breaker.state != "closed"]:
        assert time.monotonic() < limit, f"breakers that do not close again: {opened}"
        await people[0].dream_until(_after(1))
        with suppress(PlatformUnavailable):
            await house.app.state.platform.list_agents("nobody's")
    await _only(before)
    await _settled(house, base, clock)
    await house.platform.end()
    compared, told = await _has_what_the_platform_said(house, base), await _told(base, "conversation")
    switched = await _told(base, "breaker")
    print(compared, told, switched, f"{house.model.asked} answers of the model")  # noqa: T201 - as above.
    assert tally.conversations >= SLEEPERS // 2, f"only {tally.conversations} conversations came to their end"
    for what, count in (
        ("close with 1012", tally.closes[1012]),
        ("written line", tally.written),
        ("spoken line", tally.spoken),
        ("interruption", tally.interruptions),
        ("outage", weather.seen["away"]),
        ("restart", weather.seen["restarted"]),
        ("full platform", weather.seen["full"]),
        ("degraded conversation", told["degraded"]),
        ("conversation that was restored", told["restored"]),
        ("account of a webhook or of the platform", told["reconciled"]),
        ("breaker that opened", switched["opened"]),
        ("breaker that closed", switched["closed"]),
        ("answer of the model", house.model.asked),
        ("line of the platform", compared.lines),
    ):
        assert count > 0, f"there was no {what}: the run proves too little ({tally}, {weather.seen}, {told})"
    third = len(sizes) // 3
    grown = max(sizes[-3:]) - max(sizes[third - 2 : third + 1])
    assert grown < GROWTH, f"memory grew by {grown:.1f} MiB: {[round(size, 1) for size in sizes]}"


@pytest.mark.timeout(600)
async def test_fifty_conversations_survive_faults_outages_and_a_failing_database(
    house: House, sign_in: SignIn, base: Base, clock: Any
) -> None:
    await _survives(SHORT, house, sign_in, base, clock)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_they_survive_them_for_half_an_hour(house: House, sign_in: SignIn, base: Base, clock: Any) -> None:
    await _survives(float(os.environ.get("ONEIRO_SOAK_SECONDS", LONG)), house, sign_in, base, clock)
