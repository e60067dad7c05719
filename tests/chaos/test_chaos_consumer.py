"""A consumer that raises on every seventh event, beside a whole Oneiro in processes of its own."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.chaos.clients import Dreamer, Traffic
from tests.chaos.processes import House, until

from oneiro.database.pool import Connection, Database
from oneiro.events.bell import Bell
from oneiro.events.consumers import Consumer, Consumers
from oneiro.events.loops import running
from oneiro.events.models import Event

SignIn = Callable[..., Awaitable[Dreamer]]
Settle = Callable[..., Awaitable[None]]
Look = Callable[..., Awaitable[list[dict[str, Any]]]]

NAME = "sevens"
CONVERSATIONS = 12
LINES = 12


class Sevens:
    """Notes every event in its own table, and fails at every seventh until it is mended."""

    def __init__(self) -> None:
        self.broken = True

    async def __call__(self, conn: Connection, event: Event) -> None:
        await conn.execute(
            "INSERT INTO chaos_handled (position, conversation_id) VALUES (%s, %s)",
            (event.position, event.conversation_id),
        )
        # After the writing, which must be undone with it.
        if self.broken and event.position % 7 == 0:
            raise ArithmeticError("every seventh")


@pytest.fixture
async def sevens(service_url: str, look: Look) -> AsyncIterator[Sevens]:
    """Runs beside the service, in the real loop of consumers."""
    # No key: a second handling shall show.
    await look("CREATE TABLE chaos_handled (place bigserial, position bigint NOT NULL, conversation_id uuid)")
    await look("GRANT INSERT ON chaos_handled TO service_role")
    await look("GRANT USAGE ON SEQUENCE chaos_handled_place_seq TO service_role")
    bell, consumer = Bell(service_url), Sevens()
    async with AsyncExitStack() as stack:
        database = Database(service_url, committed=bell.committed)
        await database.open()
        stack.push_async_callback(database.close)
        consumers = Consumers(database, bell, [Consumer(NAME, (), consumer, together=10)])
        await stack.enter_async_context(running(bell, *consumers.loops))
        yield consumer


async def _handled(look: Look) -> dict[Any, list[int]]:
    found = defaultdict(list)
    for row in await look("SELECT conversation_id, position FROM chaos_handled ORDER BY place"):
        found[row["conversation_id"]].append(row["position"])
    return found


async def _there(look: Look) -> dict[Any, list[int]]:
    found = defaultdict(list)
    for row in await look("SELECT conversation_id, position FROM system_events ORDER BY position"):
        found[row["conversation_id"]].append(row["position"])
    return found


def _before_the_first_seventh(positions: list[int]) -> list[int]:
    first = next((place for place, position in enumerate(positions) if position % 7 == 0), len(positions))
    return positions[:first]


async def _parked(operator: Dreamer) -> list[dict[str, Any]]:
    """All that waits, as operators see it."""
    items: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await operator.ask("GET", f"/admin/events/parked?consumer={NAME}&limit=100{cursor}")).json()
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = f"&cursor={page['next_cursor']}"


async def test_the_others_are_handled_in_order_and_what_is_parked_after_mending(
    oneiro: House, traffic: Traffic, sign_in: SignIn, sevens: Sevens, settle: Settle, look: Look
) -> None:
    await oneiro.engine()
    service = await oneiro.serve()
    traffic.door.opens(service.url)
    dreamers = [await sign_in() for _ in range(CONVERSATIONS)]
    operator = await sign_in(operator=True)
    await asyncio.gather(*(_talk(dreamer, traffic) for dreamer in dreamers))

    async def all_seen() -> bool:
        (row,) = await look(
            "SELECT max(e.position) = (SELECT position FROM event_cursors WHERE consumer = %s) AND NOT EXISTS"
            " (SELECT FROM system_events WHERE position IS NULL) AS seen FROM system_events AS e",
            NAME,
        )
        return bool(row["seen"])

    await until("the consumer has seen every event", all_seen)
    there, parked = await _there(look), await _parked(operator)
    assert sum(map(len, there.values())) > CONVERSATIONS * LINES
    for conversation_id, positions in there.items():
        if conversation_id is not None:
            assert (await _handled(look))[conversation_id] == _before_the_first_seventh(positions)
    failed = [one for one in parked if one["attempts"] > 0]
    assert failed
    assert all(one["position"] % 7 == 0 and one["error"] == "ArithmeticError" for one in failed)
    await _mend(operator, sevens, parked, look)
    for conversation_id, positions in there.items():
        if conversation_id is not None:
            assert (await _handled(look))[conversation_id] == positions, "in order, and none of them twice"
    await settle(traffic.acknowledged)


async def _talk(dreamer: Dreamer, traffic: Traffic) -> None:
    """A conversation of twelve lines."""
    conversation_id = str((await dreamer.start(transport="direct"))["conversation_id"])
    for number in range(LINES):
        traffic.acknowledged.said[conversation_id].append(f"line {number}")
        await dreamer.say(conversation_id, number)
    await dreamer.post(f"/conversations/{conversation_id}/end")


async def _mend(operator: Dreamer, sevens: Sevens, parked: list[dict[str, Any]], look: Look) -> None:
    """Mend the consumer and have what failed tried again; what waits behind it follows."""
    sevens.broken = False
    for one in parked:
        if one["attempts"] > 0:
            # It may have been tried again by itself in the meantime.
            answer = await operator.ask("POST", f"/admin/events/parked/{NAME}/{one['position']}/retry")
            assert answer.status_code in {202, 404}

    async def empty() -> bool:
        return not await look("SELECT 1 FROM parked_events")

    await until("nothing is parked any more", empty)
