"""From an event to a receiver on loopback: fan-out, signatures, retries, disabling, crashes, order."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from starlette.responses import Response

from oneiro.database.pool import Database
from oneiro.events import outbox
from oneiro.events.bell import Bell
from oneiro.events.consumers import Worker
from oneiro.events.sequencer import Sequencer
from oneiro.webhooks.delivery.guard import connections
from oneiro.webhooks.delivery.message import new_secret
from oneiro.webhooks.delivery.schedule import PAUSES, pause
from oneiro.webhooks.delivery.service import FAN_OUT, Bounds, Deliverer, prune

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]
Serve = Callable[..., Awaitable[str]]
SOURCE = "https://dreams.example"

Fire = Callable[..., Awaitable[None]]
Make = Callable[..., Deliverer]
Register = Callable[..., Awaitable[tuple[UUID, str]]]


@pytest.fixture
def register(look: Look) -> Register:
    """Puts an endpoint into the table, a day old, and gives its id and secret."""

    async def made(url: str, *types: str, **columns: object) -> tuple[UUID, str]:
        secret = str(columns.get("secret") or new_secret())
        rows = await look(
            "INSERT INTO webhook_endpoints (url, event_types, secret, created_by, created_at)"
            " VALUES (%s, %s, %s, 'op', now() - interval '1 day') RETURNING id",
            url,
            list(types),
            secret,
        )
        return rows[0][0], secret

    return made


@pytest.fixture
async def make(database: Database, bell: Bell) -> AsyncIterator[Make]:
    """Makes deliverers whose pauses are exact."""
    async with connections(allow_private=True) as pool:

        def deliverer(**bounds: Any) -> Deliverer:
            kept = Bounds(draw=lambda _low, _high: 1.0, **bounds)
            return Deliverer(database, bell, pool, source=SOURCE, clock=lambda: datetime.now(UTC), bounds=kept)

        yield deliverer


@pytest.fixture
def fire(database: Database, bell: Bell, sequencer: Sequencer) -> Fire:
    """Records events and lets the consumer fan them out."""

    async def events(*datas: dict[str, object], conversation_id: UUID | None = None) -> None:
        for data in datas or ({"name": "agents"},):
            async with database.as_service() as conn:
                await outbox.record(
                    conn,
                    "conversation.rated" if conversation_id else "breaker.opened",
                    entity_type="conversation" if conversation_id else "breaker",
                    entity_id=str(conversation_id or "agents"),
                    data=data,
                )
        while await sequencer.step():
            pass
        worker = Worker(database, bell, FAN_OUT)
        while await worker.step():
            pass
        await worker.release()

    return events


async def deliver(deliverer: Deliverer) -> int:
    """Deliver until nothing more is due now."""
    total = 0
    while taken := await deliverer.step():
        total += taken
        await deliverer.settled()
    return total


async def states(look: Look) -> list[tuple[Any, ...]]:
    return await look("SELECT state, attempts FROM webhook_deliveries ORDER BY position")


async def skip_pause(look: Look) -> None:
    await look("UPDATE webhook_deliveries SET next_attempt_at = now() WHERE state = 'pending'")


async def test_an_event_arrives_signed_as_a_cloud_event(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    _, secret = await register(receiver.url)
    conversation_id = uuid4()

    await fire({"score": 4}, conversation_id=conversation_id)
    assert await deliver(make()) == 1

    [(headers, content)] = receiver.got
    document = Webhook(secret).verify(content, headers)
    [(event_id, position)] = await look("SELECT id, position FROM system_events")
    assert document.pop("time").endswith("Z")
    assert document == {
        "specversion": "1.0",
        "id": str(event_id),
        "source": SOURCE,
        "type": "conversation.rated",
        "subject": f"conversation/{conversation_id}",
        "datacontenttype": "application/json",
        "sequence": str(position),
        "conversationid": str(conversation_id),
        "data": {"score": 4},
    }
    assert headers["content-type"].startswith("application/cloudevents+json")
    assert headers["webhook-id"] == str(event_id)
    assert await states(look) == [("delivered", 1)]


async def test_another_secret_does_not_verify(receiver: Any, register: Register, fire: Fire, make: Make) -> None:
    await register(receiver.url)
    await fire()
    await deliver(make())

    headers, content = receiver.got[0]
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(content, headers)


async def test_while_a_secret_is_rotated_both_sign_and_afterwards_the_new_one_alone(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    _, new = await register(receiver.url)
    old = new_secret()
    await look(
        "UPDATE webhook_endpoints SET previous_secret = %s, previous_secret_until = now() + interval '1 hour'", old
    )
    await fire()
    await deliver(make())
    await look("UPDATE webhook_endpoints SET previous_secret_until = now() - interval '1 second'")
    await fire()
    await deliver(make())

    (both, first), (alone, second) = receiver.got
    Webhook(old).verify(first, both)
    Webhook(new).verify(first, both)
    Webhook(new).verify(second, alone)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(second, alone)


async def test_an_endpoint_gets_the_events_it_asked_for_since_it_was_there(
    serve: Serve, receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    await fire({"name": "before"})
    await register(f"{receiver.url}/all")
    await register(f"{receiver.url}/rated", "conversation.rated")
    await look("UPDATE webhook_endpoints SET created_at = clock_timestamp()")

    await fire({"name": "after"})
    await deliver(make())

    assert [headers["path"] for headers, _ in receiver.got] == ["/hook/all"]
    assert json.loads(receiver.got[0][1])["data"] == {"name": "after"}


async def test_a_repeated_fan_out_makes_no_second_delivery(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    await register(receiver.url)
    await fire()
    await look("UPDATE event_cursors SET position = 0 WHERE consumer = 'webhooks'")
    await fire()
    await deliver(make())

    assert len(receiver.got) == 2  # Two events, the first of them fanned out twice.


async def test_a_failure_is_tried_again_by_the_schedule_with_the_same_id_and_body(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    await register(receiver.url)
    receiver.answers = [Response(status_code=500), Response(status_code=503), Response()]
    await fire()
    deliverer = make()
    waits = []
    for _ in range(2):
        await deliver(deliverer)
        [(wait,)] = await look("SELECT extract(epoch FROM next_attempt_at - now()) FROM webhook_deliveries")
        waits.append(float(wait))
        await skip_pause(look)
    await deliver(deliverer)

    assert [round(wait) for wait in waits] == [30, 120]
    assert await states(look) == [("delivered", 3)]
    assert {headers["webhook-id"] for headers, _ in receiver.got} == {receiver.got[0][0]["webhook-id"]}
    assert len({content for _, content in receiver.got}) == 1
    [(attempts,)] = await look("SELECT attempt_log FROM webhook_deliveries")
    assert [(each["status"], each["error"]) for each in attempts] == [(500, "status"), (503, "status"), (200, None)]
    [endpoint] = await look("SELECT consecutive_failures, last_success_at IS NOT NULL FROM webhook_endpoints")
    assert endpoint == (0, True)


@pytest.mark.parametrize(
    ("status", "asked", "wait"),
    [
        (429, "900", 900),
        (503, "900", 900),
        (429, "5", 30),
        (429, "86400", 3600),
        (429, "soon", 30),
        (429, "-900", 30),
        (500, "900", 30),
        (503, "Sun, 06 Nov 1994 08:49:37 GMT", 30),
        (503, "Fri, 31 Dec 9999 23:59:59 GMT", 3600),
    ],
)
async def test_a_receiver_that_says_when_to_come_back_is_left_alone_till_then(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look, status: int, asked: str, wait: int
) -> None:
    await register(receiver.url)
    receiver.answers = [Response(status_code=status, headers={"Retry-After": asked})]
    await fire()

    await deliver(make())

    [(due,)] = await look("SELECT extract(epoch FROM next_attempt_at - now()) FROM webhook_deliveries")
    assert abs(float(due) - wait) < 5


async def test_what_else_waits_for_a_receiver_waits_with_it_and_for_others_goes_on(
    serve: Serve, receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    busy = type(receiver)(answers=[Response(status_code=429, headers={"Retry-After": "600"})])
    await register(f"{await serve(busy)}/busy")
    await register(receiver.url)
    await fire(*({"n": n} for n in range(8)))

    await deliver(make(per_endpoint=1))

    assert (len(busy.got), len(receiver.got)) == (1, 8)
    late = await look(
        "SELECT 1 FROM webhook_deliveries WHERE state = 'pending' AND next_attempt_at > now() + interval '590 s'"
    )
    assert len(late) == 8
    await skip_pause(look)
    busy.answers = [Response()]
    await deliver(make())
    assert {state for state, _ in await states(look)} == {"delivered"}


def test_the_schedule_begins_within_seconds_and_ends_within_a_day() -> None:
    assert [pause(n, 1.0) for n in range(1, 7)] == [30, 120, 480, 1800, 3600, 3600]
    assert pause(len(PAUSES), 1.0) == 3600
    assert pause(len(PAUSES) + 1, 1.0) is None
    assert sum(PAUSES) * 1.1 < 86_400 * 1.1
    assert 23 * 3600 < sum(PAUSES) < 86_400


async def test_an_endpoint_that_took_nothing_for_a_whole_day_is_switched_off_and_told_of(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    endpoint_id, _ = await register(receiver.url)
    receiver.answers = [Response(status_code=500)]
    await fire({"name": "a"}, {"name": "b"})
    await look("UPDATE webhook_deliveries SET attempts = %s WHERE position = 1", len(PAUSES))

    await deliver(make())

    [(active, reason, failures)] = await look(
        "SELECT is_active, disabled_reason, consecutive_failures FROM webhook_endpoints"
    )
    assert (active, reason) == (False, "failing")
    assert failures >= 1
    assert {state for state, _ in await states(look)} == {"dead"}
    told = await look("SELECT entity_id, event_data FROM system_events WHERE event_type = 'webhook.disabled'")
    assert told == [(str(endpoint_id), {"reason": "failing"})]


async def test_one_event_that_is_refused_for_a_day_does_not_switch_off_an_endpoint_that_takes_others(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    await register(receiver.url)
    await fire({"name": "bad"})
    await look("UPDATE webhook_deliveries SET attempts = %s", len(PAUSES))
    await look("UPDATE webhook_endpoints SET last_success_at = clock_timestamp()")
    receiver.answers = [Response(status_code=422)]

    await deliver(make())

    assert await look("SELECT is_active FROM webhook_endpoints") == [(True,)]
    assert await states(look) == [("dead", len(PAUSES) + 1)]


async def test_a_receiver_that_says_gone_gets_nothing_more(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    await register(receiver.url)
    receiver.answers = [Response(status_code=410)]
    await fire()
    await deliver(make())
    await fire({"name": "later"})
    await deliver(make())

    assert len(receiver.got) == 1
    assert await look("SELECT is_active, disabled_reason FROM webhook_endpoints") == [(False, "gone")]


async def test_a_slow_endpoint_does_not_hold_up_the_others(
    serve: Serve, receiver: Any, register: Register, fire: Fire, make: Make
) -> None:
    slow = type(receiver)(gate=asyncio.Event())
    await register(f"{await serve(slow)}/slow")
    await register(receiver.url)
    await fire(*({"n": n} for n in range(20)))
    deliverer = make(concurrency=8, per_endpoint=2)

    async with asyncio.timeout(20):
        while len(receiver.got) < 20:
            await deliverer.step()
            await asyncio.sleep(0.005)

    assert len(slow.got) == 2
    slow.gate.set()
    await deliverer.settled()


async def test_events_of_one_conversation_arrive_in_order(
    receiver: Any, register: Register, fire: Fire, make: Make
) -> None:
    await register(receiver.url)
    conversations = [uuid4(), uuid4()]
    for n in range(6):
        for conversation_id in conversations:
            await fire({"score": n}, conversation_id=conversation_id)

    await deliver(make())

    for conversation_id in conversations:
        seen = [json.loads(content) for _, content in receiver.got]
        assert [e["data"]["score"] for e in seen if e["conversationid"] == str(conversation_id)] == list(range(6))


async def test_an_event_that_failed_once_lets_the_later_ones_of_its_conversation_pass(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    await register(receiver.url)
    receiver.answers = [Response(status_code=500), Response()]
    await fire({"score": 1}, {"score": 2}, conversation_id=uuid4())

    await deliver(make())

    assert await states(look) == [("pending", 1), ("delivered", 1)]


async def test_two_deliverers_deliver_each_event_once(
    receiver: Any, register: Register, fire: Fire, make: Make
) -> None:
    await register(receiver.url)
    await fire(*({"n": n} for n in range(30)))

    await asyncio.gather(deliver(make(per_endpoint=8)), deliver(make(per_endpoint=8)))
    await deliver(make())

    assert len(receiver.got) == 30
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 30


async def test_what_a_dead_process_held_is_delivered_by_another_when_its_lease_lapses(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    await register(receiver.url)
    await fire()
    await look(
        "UPDATE webhook_deliveries SET lease_owner = 'dead', lease_until = clock_timestamp() + interval '1 hour'"
    )
    assert await deliver(make()) == 0

    await look("UPDATE webhook_deliveries SET lease_until = clock_timestamp() - interval '1 second'")
    assert await deliver(make()) == 1
    assert await states(look) == [("delivered", 1)]


async def test_a_deliverer_that_is_stopped_gives_back_what_it_had_not_finished(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    await register(receiver.url)
    receiver.gate = asyncio.Event()
    await fire()
    running = asyncio.create_task(make().run())
    while not receiver.got:  # noqa: ASYNC110 - the receiver runs in this loop and notes the request when it comes.
        await asyncio.sleep(0)

    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    receiver.gate.set()

    assert await look("SELECT state, attempts, lease_owner FROM webhook_deliveries") == [("pending", 0, None)]


async def test_a_deliverer_delivers_by_itself_while_it_runs(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    await register(receiver.url)
    running = asyncio.create_task(make().run())
    await fire()
    async with asyncio.timeout(10):
        while await states(look) != [("delivered", 1)]:  # noqa: ASYNC110 - asked of the database.
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_endpoint_that_is_deleted_meanwhile_hurts_nothing(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look
) -> None:
    await register(receiver.url)
    receiver.gate = asyncio.Event()
    await fire()
    deliverer = make()
    await deliverer.step()
    while not receiver.got:  # noqa: ASYNC110 - as above.
        await asyncio.sleep(0)
    await look("DELETE FROM webhook_endpoints")
    receiver.gate.set()
    await deliverer.settled()

    assert await states(look) == []


async def test_the_log_is_pruned_but_not_what_waits(
    receiver: Any, register: Register, fire: Fire, make: Make, look: Look, database: Database
) -> None:
    await register(receiver.url)
    await fire({"n": 1}, {"n": 2}, {"n": 3})
    await look("UPDATE webhook_deliveries SET state = 'delivered' WHERE position < 3")

    assert await prune(database, datetime.now(UTC) + timedelta(hours=1), batch=1) == 2
    assert await states(look) == [("pending", 0)]


async def test_the_receiver_in_the_documentation_takes_each_event_once(
    receiver: Any, register: Register, fire: Fire, make: Make
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "receive-webhooks.md").read_text()
    example: dict[str, Any] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], example)  # noqa: S102 - it is our own page.
    _, secret = await register(receiver.url)
    await fire({"name": "agents"})
    await deliver(make())
    headers, content = receiver.got[0]

    assert example["receive"](secret, headers, content)["data"] == {"name": "agents"}
    assert example["receive"](secret, headers, content) is None
    with pytest.raises(WebhookVerificationError):
        example["receive"](new_secret(), headers, content)
