"""A consumer that raises on every seventh event, beside a whole Oneiro in processes of its own."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from tests.chaos import invariants
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


Places = dict[Any, list[int]]


async def _handled(look: Look, end: int) -> Places:
    found = defaultdict(list)
    for row in await look(
        "SELECT conversation_id, position FROM chaos_handled WHERE position <= %s ORDER BY place", end
    ):
        found[row["conversation_id"]].append(row["position"])
    return found


async def _seen(look: Look) -> tuple[Places, int]:
    """The events that the consumer has seen, and the last place of them: later ones may come at any time."""
    (cursor,) = await look("SELECT position FROM event_cursors WHERE consumer = %s", NAME)
    end = cursor["position"]
    found = defaultdict(list)
    for row in await look("SELECT conversation_id, position FROM system_events WHERE position <= %s ORDER BY 2", end):
        found[row["conversation_id"]].append(row["position"])
    return found, end


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
    oneiro: House, traffic: Traffic, sign_in: SignIn, sevens: Sevens, settle: Settle, look: Look, db_url: str
) -> None:
    await oneiro.engine()
    service = await oneiro.serve()
    traffic.door.opens(service.url)
    dreamers = [await sign_in() for _ in range(CONVERSATIONS)]
    operator = await sign_in(operator=True)
    await asyncio.gather(*(_talk(dreamer, traffic) for dreamer in dreamers))

    left: dict[str, list[Any]] = {}

    async def all_seen() -> bool:
        left.clear()
        left.update(await invariants.to_be_done(db_url))
        # What it parked is tried again and again.
        left.pop("a parked event that is to be tried", None)
        return not left and bool(await look("SELECT FROM event_cursors WHERE consumer = %s", NAME))

    await until("the consumer has seen every event", all_seen, seen=left)
    (there, end), parked = await _seen(look), await _parked(operator)
    assert sum(map(len, there.values())) > CONVERSATIONS * LINES
    handled = await _handled(look, end)
    for conversation_id, positions in _of_conversations(there):
        assert handled[conversation_id] == _before_the_first_seventh(positions)
    failed = [one for one in parked if one["attempts"] > 0]
    assert failed
    assert all(one["position"] % 7 == 0 and one["error"] == "ArithmeticError" for one in failed)
    await _mend(operator, sevens, parked, look)
    handled = await _handled(look, end)
    for conversation_id, positions in _of_conversations(there):
        assert handled[conversation_id] == positions, "in order, and none of them twice"
    await settle(traffic.acknowledged)


def _of_conversations(there: Places) -> list[tuple[Any, list[int]]]:
    return [each for each in there.items() if each[0] is not None]


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
