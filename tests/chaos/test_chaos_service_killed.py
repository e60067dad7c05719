"""kill -9 of the service with a thousand messages in flight."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from tests.chaos.clients import Dreamer, Traffic
from tests.chaos.processes import WITHIN, House, Process, until

SignIn = Callable[..., Awaitable[Dreamer]]
Settle = Callable[..., Awaitable[None]]
Look = Callable[..., Awaitable[list[dict[str, Any]]]]

CONVERSATIONS = 20


async def _start(sign_in: SignIn) -> list[tuple[Dreamer, str]]:
    """As many dreamers, each in a conversation of her own."""
    dreamers = [await sign_in() for _ in range(CONVERSATIONS)]
    started = await asyncio.gather(*(one.start(transport="direct") for one in dreamers))
    return [(one, str(found["conversation_id"])) for one, found in zip(dreamers, started, strict=True)]


def _tell(
    group: asyncio.TaskGroup, open_ones: list[tuple[Dreamer, str]], traffic: Traffic, count: int
) -> list[asyncio.Task[None]]:
    """All lines at once, each in a task that does not rest before it is acknowledged."""
    moment = datetime.now(UTC) - timedelta(milliseconds=count)
    tasks = []
    for number in range(count // len(open_ones)):
        for place, (dreamer, conversation_id) in enumerate(open_ones):
            said = len(traffic.acknowledged.said[conversation_id])
            traffic.acknowledged.said[conversation_id].append(f"line {said}")
            at = moment + timedelta(milliseconds=number * len(open_ones) + place)
            tasks.append(group.create_task(dreamer.say(conversation_id, said, at)))
    return tasks


async def _kill_often(
    oneiro: House,
    service: Process,
    open_ones: list[tuple[Dreamer, str]],
    traffic: Traffic,
    db_url: str,
    *,
    kills: int,
) -> Process:
    """Tell a thousand lines; kill with all that is left in flight when the next is acknowledged; gives the last."""
    # The lines are those of the last second, and none may be older than its conversation, or it loses its place.
    await asyncio.sleep(1)
    async with asyncio.TaskGroup() as group:
        tasks = _tell(group, open_ones, traffic, 1000)
        for _ in range(kills):
            left = sum(not task.done() for task in tasks)
            async with await psycopg.AsyncConnection.connect(db_url) as holder:
                # Nothing can be written while somebody holds these rows, so everything that is sent stays in flight.
                await holder.execute("SELECT 1 FROM conversations FOR UPDATE")

                async def all_sent(left: int = left) -> bool:
                    return traffic.in_flight >= left

                await until(f"{left} messages are in flight", all_sent)
                gone = _kill_at_the_next(service, traffic)
            async with asyncio.timeout(WITHIN):
                await gone.wait()
            service = await oneiro.serve("--no-worker")
            traffic.door.opens(service.url)
    return service


def _kill_at_the_next(service: Process, traffic: Traffic) -> asyncio.Event:
    """Kill when the next line is acknowledged, there and then: the others are on their way."""
    gone = asyncio.Event()

    def kill() -> None:
        traffic.acknowledged.noted = None
        traffic.door.closes()
        service.kill()
        gone.set()

    traffic.acknowledged.noted = kill
    return gone


async def _end_and_read(open_ones: list[tuple[Dreamer, str]], acknowledged: dict[str, list[str]]) -> None:
    """End every conversation; each transcript is what was said, in order."""
    for dreamer, conversation_id in open_ones:
        ended = await dreamer.post(f"/conversations/{conversation_id}/end")
        assert ended["status"] == "completed"
        assert [line["event_id"] for line in await dreamer.lines(conversation_id)] == acknowledged[conversation_id]


async def test_nothing_acknowledged_is_lost_and_nothing_is_kept_twice(
    oneiro: House, traffic: Traffic, sign_in: SignIn, settle: Settle, db_url: str, look: Look
) -> None:
    await oneiro.engine()
    await oneiro.worker()
    service = await oneiro.serve("--no-worker")
    traffic.door.opens(service.url)
    open_ones = await _start(sign_in)

    await _kill_often(oneiro, service, open_ones, traffic, db_url, kills=1)

    assert traffic.acknowledged.count == 1000
    assert traffic.broken > 0, "some had not been answered when it was killed"
    assert set(traffic.answers) <= {200, 201, 202, 503}
    assert [row["n"] for row in await look("SELECT count(*) AS n FROM messages")] == [1000]
    await _end_and_read(open_ones, traffic.acknowledged.said)
    await settle(traffic.acknowledged)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_service_that_is_killed_all_the_time_loses_nothing(
    oneiro: House, traffic: Traffic, sign_in: SignIn, settle: Settle, db_url: str
) -> None:
    await oneiro.engine()
    await oneiro.worker()
    service = await oneiro.serve("--no-worker")
    traffic.door.opens(service.url)
    open_ones = await _start(sign_in)

    for _ in range(5):
        service = await _kill_often(oneiro, service, open_ones, traffic, db_url, kills=2)

    assert traffic.acknowledged.count == 5_000
    await _end_and_read(open_ones, traffic.acknowledged.said)
    await settle(traffic.acknowledged)
