"""An endpoint that fails is left alone, tried by one delivery at a time, and let in again; others notice nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from starlette.responses import Response

from oneiro.auth import Identity
from oneiro.breaker import FAULTS, SUCCESSES
from oneiro.database.pool import Database
from oneiro.errors import NotFound
from oneiro.events import outbox
from oneiro.events.bell import Bell
from oneiro.events.consumers import Worker
from oneiro.events.sequencer import Sequencer
from oneiro.webhooks.delivery.breaker import REST, Breaker
from oneiro.webhooks.delivery.guard import connections
from oneiro.webhooks.delivery.service import FAN_OUT, Bounds, Deliverer
from oneiro.webhooks.endpoints.models import EndpointChange, NewEndpoint
from oneiro.webhooks.endpoints.service import Webhooks

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]
Serve = Callable[..., Awaitable[str]]
Fire = Callable[[int], Awaitable[None]]
NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)


def test_five_faults_in_a_row_open_it_and_three_answers_close_it() -> None:
    breaker = Breaker()
    for _ in range(FAULTS - 1):
        breaker = breaker.after(fault=True, now=NOW)
    assert breaker.after(fault=False, now=NOW) == Breaker()
    breaker = breaker.after(fault=True, now=NOW)
    assert (breaker.state, breaker.rests_until) == ("open", NOW + REST)
    later = NOW + REST
    seen = [(breaker := breaker.after(fault=False, now=later)).state for _ in range(SUCCESSES)]
    assert seen == ["half-open", "half-open", "closed"]
    assert breaker == Breaker()


def test_one_fault_opens_it_again_and_what_began_before_changes_nothing() -> None:
    opened = Breaker(FAULTS, 0, NOW + REST)
    assert opened.after(fault=True, now=NOW + REST / 2) is opened
    assert opened.after(fault=False, now=NOW + REST / 2) is opened
    tried = opened.after(fault=False, now=NOW + REST)
    assert tried.after(fault=True, now=NOW + REST * 2) == Breaker(1, 0, NOW + REST * 3)


@pytest.fixture
async def webhooks(database: Database) -> Webhooks:
    return Webhooks(database, allow_private=True, clock=lambda: datetime.now(UTC))


@pytest.fixture
async def make(database: Database, bell: Bell) -> AsyncIterator[Callable[..., Deliverer]]:
    async with connections(allow_private=True) as pool:

        def deliverer(**bounds: Any) -> Deliverer:
            kept = Bounds(**bounds)
            return Deliverer(
                database, bell, pool, source="https://dreams.example", clock=lambda: datetime.now(UTC), bounds=kept
            )

        yield deliverer


@pytest.fixture
def fire(database: Database, bell: Bell, sequencer: Sequencer) -> Fire:
    async def events(count: int) -> None:
        async with database.as_service() as conn:
            for n in range(count):
                await outbox.record(
                    conn, "interpreter.released", entity_type="interpreter", entity_id="carl", data={"number": n}
                )
        while await sequencer.step():
            pass
        worker = Worker(database, bell, FAN_OUT)
        while await worker.step():
            pass
        await worker.release()

    return events


async def register(webhooks: Webhooks, look: Look, url: str) -> UUID:
    operator = Identity(user_id=None, role="service_role", operator=True, claims={}, expires_at=NOW)
    made = await webhooks.create(operator, NewEndpoint(url=url, event_types=["interpreter.released"]))
    # It gets the events since it was there.
    await look("UPDATE webhook_endpoints SET created_at = now() - interval '1 day'")
    return made.id


async def deliver(deliverer: Deliverer) -> int:
    total = 0
    while taken := await deliverer.step():
        total += taken
        await deliverer.settled()
    return total


async def rested(look: Look) -> None:
    await look("UPDATE webhook_endpoints SET rests_until = now() WHERE rests_until IS NOT NULL")
    await look("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE state = 'pending'")


async def told(look: Look) -> list[str]:
    rows = await look("SELECT event_type FROM system_events WHERE entity_type = 'breaker' ORDER BY seq")
    return [row[0] for row in rows]


async def test_what_waits_for_a_failing_endpoint_keeps_its_attempts_and_others_get_theirs(
    serve: Serve, receiver: Any, webhooks: Webhooks, fire: Fire, make: Any, look: Look
) -> None:
    failing = type(receiver)(answers=[Response(status_code=500)])
    endpoint = await register(webhooks, look, f"{await serve(failing)}/failing")
    await register(webhooks, look, receiver.url)
    await fire(9)

    await deliver(make(per_endpoint=1))

    assert (len(failing.got), len(receiver.got)) == (FAULTS, 9)
    kept = await look("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND attempts = 0")
    assert kept == [(9 - FAULTS,)]
    shown = await webhooks.read(endpoint)
    assert shown.breaker == "open"
    assert shown.rests_until is not None
    assert timedelta(seconds=20) < shown.rests_until - datetime.now(UTC) <= REST
    assert await told(look) == ["breaker.opened"]


async def test_one_delivery_at_a_time_tries_it_over_all_processes_and_answers_let_the_rest_in(
    receiver: Any, webhooks: Webhooks, fire: Fire, make: Any, look: Look
) -> None:
    endpoint = await register(webhooks, look, receiver.url)
    receiver.answers = [Response(status_code=500)]
    await fire(12)
    one, other = make(), make()
    await deliver(one)
    assert (await webhooks.read(endpoint)).breaker == "open"
    receiver.answers, receiver.got, receiver.gate = [Response()], [], asyncio.Event()

    await rested(look)
    taken = sum(await asyncio.gather(*(each.step() for each in (one, other) * 3)))
    assert taken == 1
    receiver.gate.set()
    await asyncio.gather(one.settled(), other.settled())
    assert (await webhooks.read(endpoint)).breaker == "half-open"
    await deliver(one)

    assert (await webhooks.read(endpoint)).breaker == "closed"
    assert len(receiver.got) == 12
    assert await look("SELECT DISTINCT state FROM webhook_deliveries") == [("delivered",)]
    assert await told(look) == ["breaker.opened", "breaker.half_opened", "breaker.closed"]


async def test_a_refusal_is_no_fault(receiver: Any, webhooks: Webhooks, fire: Fire, make: Any, look: Look) -> None:
    endpoint = await register(webhooks, look, receiver.url)
    receiver.answers = [Response(status_code=422)]
    await fire(9)

    await deliver(make())

    assert len(receiver.got) == 9
    shown = await webhooks.read(endpoint)
    assert (shown.breaker, shown.consecutive_failures) == ("closed", 9)


@pytest.mark.parametrize("way", ["another address", "sent again", "all sent again"])
async def test_who_mends_an_endpoint_need_not_wait(
    receiver: Any, webhooks: Webhooks, fire: Fire, make: Any, look: Look, way: str
) -> None:
    endpoint = await register(webhooks, look, receiver.url)
    receiver.answers = [Response(status_code=500)]
    await fire(FAULTS)
    await deliver(make())
    receiver.answers, receiver.got = [Response()], []

    if way == "another address":
        await webhooks.change(endpoint, EndpointChange(url=f"{receiver.url}/mended"))
    elif way == "sent again":
        [(delivery,)] = await look("SELECT id FROM webhook_deliveries LIMIT 1")
        await webhooks.redeliver(endpoint, delivery)
    else:
        await webhooks.redeliver_since(endpoint, NOW - timedelta(days=9999))

    assert (await webhooks.read(endpoint)).breaker == "closed"
    assert await told(look) == ["breaker.opened", "breaker.closed"]
    assert await deliver(make()) == (1 if way == "sent again" else 0)


async def test_an_endpoint_that_took_nothing_for_a_day_is_switched_off_though_its_backlog_was_hardly_tried(
    receiver: Any, webhooks: Webhooks, fire: Fire, make: Any, look: Look
) -> None:
    endpoint = await register(webhooks, look, receiver.url)
    receiver.answers = [Response(status_code=500)]
    await fire(40)
    await deliver(make(per_endpoint=1))
    await rested(look)
    assert await deliver(make()) == 1
    assert (await webhooks.read(endpoint)).is_active

    await look("UPDATE webhook_deliveries SET created_at = now() - interval '25 hours'")
    await rested(look)
    await deliver(make())

    shown = await webhooks.read(endpoint)
    assert (shown.is_active, shown.disabled_reason, shown.breaker) == (False, "failing", "closed")
    assert await look("SELECT DISTINCT state FROM webhook_deliveries") == [("dead",)]
    assert await told(look) == ["breaker.opened", "breaker.closed"]


async def test_an_endpoint_that_took_something_today_is_not_switched_off_for_old_backlog(
    receiver: Any, webhooks: Webhooks, fire: Fire, make: Any, look: Look
) -> None:
    endpoint = await register(webhooks, look, receiver.url)
    receiver.answers = [Response(), Response(status_code=500)]
    await fire(9)
    await deliver(make(per_endpoint=1))
    await look("UPDATE webhook_deliveries SET created_at = now() - interval '25 hours'")
    await rested(look)
    await deliver(make())

    assert (await webhooks.read(endpoint)).is_active


async def test_an_unknown_delivery_wakes_nobody(
    receiver: Any, webhooks: Webhooks, fire: Fire, make: Any, look: Look
) -> None:
    endpoint = await register(webhooks, look, receiver.url)
    receiver.answers = [Response(status_code=500)]
    await fire(FAULTS)
    await deliver(make())
    with pytest.raises(NotFound):
        await webhooks.redeliver(endpoint, UUID(int=1))
    assert (await webhooks.read(endpoint)).breaker == "open"
