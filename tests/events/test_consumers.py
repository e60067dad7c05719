"""Durable consumers: exactly once in the database, in order per conversation, past faults and crashes."""
# ruff: noqa: ASYNC110 - what another task or process writes into a table is waited for by looking

import asyncio
import itertools
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from oneiro.database.pool import Connection, Database, DatabaseUnavailable
from oneiro.errors import Conflict, NotFound
from oneiro.events import service, store
from oneiro.events.bell import Bell
from oneiro.events.consumers import LOSSES, Consumer, Consumers, Emitter, Retries, Timing, Worker
from oneiro.events.loops import running
from oneiro.events.models import Event
from oneiro.events.sequencer import Sequencer

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]
Write = Callable[..., Awaitable[None]]

# No pause, so that a test need not wait for a retry.
AT_ONCE = Retries(attempts=3, first=0.0)
# Far enough away that a test sees what is parked.
MUCH_LATER = Retries(attempts=3, first=1000.0, longest=1000.0)


@pytest.fixture(autouse=True)
async def handled_table(look: Look) -> None:
    await look("CREATE TABLE handled (place bigserial, consumer text, position bigint, conversation_id uuid)")
    await look("GRANT ALL ON handled, handled_place_seq TO service_role")


async def note(conn: Connection, event: Event) -> None:
    await conn.execute(
        "INSERT INTO handled (consumer, position, conversation_id) VALUES ('noting', %s, %s)",
        (event.position, event.conversation_id),
    )


async def handled(look: Look) -> list[int]:
    return [row[0] for row in await look("SELECT position FROM handled ORDER BY place")]


async def parked(look: Look) -> list[tuple[Any, ...]]:
    return await look("SELECT position, attempts, error, retry_at IS NULL FROM parked_events ORDER BY position")


async def stamp_all(sequencer: Sequencer) -> None:
    while await sequencer.step():
        pass


async def work(worker: Worker) -> None:
    while await worker.step():
        pass


def failing_on(positions: set[int]) -> Callable[[Connection, Event], Awaitable[None]]:
    """Writes its row and then raises on these positions, so that a row that stays shows a broken transaction."""

    async def fn(conn: Connection, event: Event) -> None:
        await note(conn, event)
        if event.position in positions:
            raise Conflict("It was a staircase made of water.", code="staircase")

    return fn


async def test_events_are_handled_in_order_and_only_those_asked_for(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write, conversations: list[UUID]
) -> None:
    await write(3)
    await write(4, conversations[0])
    await write(2)
    await stamp_all(sequencer)
    await work(Worker(database, bell, Consumer("noting", ["conversation.message_received"], note)))

    assert await handled(look) == [4, 5, 6, 7]
    assert await look("SELECT position FROM event_cursors WHERE consumer = 'noting'") == [(9,)]


async def test_an_event_arrives_whole(
    database: Database, bell: Bell, sequencer: Sequencer, write: Write, conversations: list[UUID]
) -> None:
    seen: list[Event] = []

    async def keep(_conn: Connection, event: Event) -> None:
        seen.append(event)

    await write(1, conversations[0], first=7)
    await stamp_all(sequencer)
    await work(Worker(database, bell, Consumer("keeping", [], keep)))

    [event] = seen
    assert event.subject == f"conversation/{conversations[0]}"
    assert (event.position, event.type, event.data) == (1, "conversation.message_received", {"n": 7})
    assert event.interpreter_id == "carl"
    assert abs(event.time - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("together", [1, 10])
async def test_a_consumer_that_raises_on_every_7th_event_loses_none(
    database: Database,
    bell: Bell,
    sequencer: Sequencer,
    look: Look,
    write: Write,
    conversations: list[UUID],
    together: int,
) -> None:
    tries: Counter[int] = Counter()

    async def fn(conn: Connection, event: Event) -> None:
        await note(conn, event)
        tries[event.position] += 1
        if event.position % 7 == 0 and tries[event.position] < 3:
            raise ValueError

    for n in range(60):
        await write(1, conversations[n % 5], first=n)
    await stamp_all(sequencer)
    await work(Worker(database, bell, Consumer("noting", [], fn, together=together), retries=AT_ONCE))

    rows = await look("SELECT position, conversation_id FROM handled ORDER BY place")
    assert sorted(position for position, _ in rows) == list(range(1, 61))
    for conversation_id in conversations:
        own = [position for position, one in rows if one == conversation_id]
        assert own == sorted(own)
    assert await parked(look) == []


@pytest.mark.parametrize("together", [1, 4])
async def test_a_consumer_is_asked_once_for_several_events_which_concern_it(
    database: Database,
    bell: Bell,
    sequencer: Sequencer,
    look: Look,
    write: Write,
    conversations: list[UUID],
    together: int,
) -> None:
    asked: list[int] = []

    async def odd(_conn: Connection, events: Sequence[Event]) -> set[UUID]:
        asked.append(len(events))
        return {event.id for event in events if event.position % 2}

    await write(10, conversations[0])
    await stamp_all(sequencer)
    await work(Worker(database, bell, Consumer("noting", [], note, together=together, concerned=odd)))

    assert [position for (position,) in await look("SELECT position FROM handled ORDER BY place")] == [1, 3, 5, 7, 9]
    assert asked == ([1] * 10 if together == 1 else [4, 4, 2])
    assert await look("SELECT position FROM event_cursors WHERE consumer = 'noting'") == [(10,)]


def losing(look: Look, position: int, times: int) -> Callable[[Connection, Event], Awaitable[None]]:
    """Writes its row, and loses its connection in the middle of an event, so many times."""
    left = itertools.chain([True] * times, itertools.repeat(False))

    async def fn(conn: Connection, event: Event) -> None:
        await note(conn, event)
        if event.position == position and next(left):
            await look("SELECT pg_terminate_backend(%s, 10000)", conn.info.backend_pid)

    return fn


async def work_on(worker: Worker) -> int:
    """Work as the loop does, past losses of the database; how many there were."""
    lost = 0
    while True:
        try:
            if not await worker.step():
                return lost
        except DatabaseUnavailable:
            lost += 1


@pytest.mark.parametrize("together", [1, 10])
async def test_a_loss_of_the_database_is_no_events_fault(
    database: Database,
    bell: Bell,
    sequencer: Sequencer,
    look: Look,
    write: Write,
    conversations: list[UUID],
    together: int,
) -> None:
    await write(3, conversations[0])
    await stamp_all(sequencer)
    consumer = Consumer("noting", [], losing(look, 2, LOSSES), together=together)

    assert await work_on(Worker(database, bell, consumer, retries=MUCH_LATER)) == LOSSES

    assert await handled(look) == [1, 2, 3]
    assert await parked(look) == []


@pytest.mark.parametrize("together", [1, 10])
async def test_an_event_that_loses_the_database_each_time_is_parked_and_others_go_on(
    database: Database,
    bell: Bell,
    sequencer: Sequencer,
    look: Look,
    write: Write,
    conversations: list[UUID],
    together: int,
) -> None:
    for conversation in conversations[:3]:
        await write(1, conversation)
    await stamp_all(sequencer)
    worker = Worker(database, bell, Consumer("noting", [], losing(look, 2, 1000), together=together), retries=AT_ONCE)

    await work_on(worker)

    assert await handled(look) == [1, 3]
    assert await parked(look) == [(2, 3, "DatabaseUnavailable: database_unavailable", True)]


async def test_a_failed_event_and_the_later_ones_of_its_conversation_wait_and_others_go_on(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write, conversations: list[UUID]
) -> None:
    for _ in range(3):
        await write(1, conversations[0])
        await write(1, conversations[1])
    await stamp_all(sequencer)
    worker = Worker(database, bell, Consumer("noting", [], failing_on({1})), retries=MUCH_LATER)
    await work(worker)

    assert await handled(look) == [2, 4, 6]
    # The fault's text may repeat what was said: class and code only.
    assert await parked(look) == [(1, 1, "Conflict: staircase", False), (3, 0, None, True), (5, 0, None, True)]


async def test_an_event_of_no_conversation_waits_alone(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write
) -> None:
    await write(3)
    await stamp_all(sequencer)
    await work(Worker(database, bell, Consumer("noting", [], failing_on({1})), retries=MUCH_LATER))

    assert await handled(look) == [2, 3]
    assert [row[0] for row in await parked(look)] == [1]


async def test_after_its_last_attempt_an_event_waits_for_an_operator_who_lets_it_go(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write, conversations: list[UUID]
) -> None:
    await write(3, conversations[0])
    await stamp_all(sequencer)
    fails = {1}
    worker = Worker(database, bell, Consumer("noting", [], failing_on(fails)), retries=AT_ONCE)
    await work(worker)
    assert await parked(look) == [(1, 3, "Conflict: staircase", True), (2, 0, None, True), (3, 0, None, True)]

    fails.clear()
    await work(worker)
    assert await handled(look) == []
    events = service.Events(database)
    await events.retry("noting", 1)
    await work(worker)

    assert await handled(look) == [1, 2, 3]
    assert await parked(look) == []
    with pytest.raises(NotFound):
        await events.retry("noting", 1)


async def test_an_operator_may_drop_an_event_and_those_behind_it_go_on(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write, conversations: list[UUID]
) -> None:
    await write(3, conversations[0])
    await stamp_all(sequencer)
    worker = Worker(database, bell, Consumer("noting", [], failing_on({1})), retries=AT_ONCE)
    await work(worker)
    await service.Events(database).drop("noting", 1)
    await work(worker)

    assert await handled(look) == [2, 3]


async def test_a_new_event_of_a_parked_conversation_queues_behind_it(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write, conversations: list[UUID]
) -> None:
    fails = {1}
    worker = Worker(database, bell, Consumer("noting", [], failing_on(fails)), retries=AT_ONCE)
    await write(1, conversations[0])
    await stamp_all(sequencer)
    await work(worker)
    await write(2, conversations[0])
    await stamp_all(sequencer)
    await work(worker)
    assert await handled(look) == []

    fails.clear()
    await service.Events(database).retry("noting", 1)
    await work(worker)
    assert await handled(look) == [1, 2, 3]


async def test_replay_from_a_position_brings_every_later_event_again(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write
) -> None:
    await write(5)
    await stamp_all(sequencer)
    worker = Worker(database, bell, Consumer("noting", [], failing_on({4})), retries=MUCH_LATER)
    await work(worker)
    assert await handled(look) == [1, 2, 3, 5]

    assert await service.Events(database).replay("noting", position=2) == 2
    await work(worker)  # Finds its cursor moved, and takes it up again.
    await work(worker)
    assert await handled(look) == [1, 2, 3, 5, 3, 5]
    assert [row[0] for row in await parked(look)] == [4]


async def test_replay_from_a_time_brings_what_was_written_since(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write
) -> None:
    await write(6)
    await stamp_all(sequencer)
    await look("UPDATE system_events SET created_at = now() - interval '2 hours' WHERE position <= 4")
    worker = Worker(database, bell, Consumer("noting", [], note))
    await work(worker)
    events = service.Events(database)

    assert await events.replay("noting", time=datetime.now(UTC) - timedelta(hours=1)) == 4
    assert await events.replay("noting", time=datetime.now(UTC) + timedelta(hours=1)) == 6
    with pytest.raises(NotFound):
        await events.replay("nobody", position=0)


async def test_lag_counts_what_a_consumer_has_not_seen(
    database: Database, bell: Bell, sequencer: Sequencer, write: Write, conversations: list[UUID]
) -> None:
    worker = Worker(database, bell, Consumer("noting", [], failing_on({1})), retries=MUCH_LATER)
    await write(2, conversations[0])
    await stamp_all(sequencer)
    await work(worker)
    await write(3)
    await stamp_all(sequencer)
    events = service.Events(database)

    [state] = await events.consumers()
    assert (state.consumer, state.position, state.lag, state.parked) == ("noting", 2, 3, 2)
    assert await events.lag() == {"noting": 5}


async def test_one_process_at_a_time_runs_a_consumer(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write
) -> None:
    consumer = Consumer("noting", [], note)
    minutes = itertools.count(step=60.0).__next__
    first, second = (Worker(database, bell, consumer, clock=minutes) for _ in range(2))
    await write(2)
    await stamp_all(sequencer)
    await work(first)
    await write(2)
    await stamp_all(sequencer)
    assert not await second.step()
    await first.release()
    await work(second)

    assert await handled(look) == [1, 2, 3, 4]


async def test_workers_that_fight_for_a_lease_handle_each_event_once(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write
) -> None:
    # Each loses it in the middle of a batch.
    timing = Timing(lease=0.02, busy=0.001, idle=0.002)
    fighters = [Worker(database, bell, Consumer("noting", [], note), timing=timing) for _ in range(3)]
    async with running(sequencer, *fighters):
        await asyncio.gather(*(write(40, first=40 * n) for n in range(4)))
        async with asyncio.timeout(30):
            while len(await handled(look)) < 160:
                await asyncio.sleep(0.005)

    assert await handled(look) == list(range(1, 161))


async def test_an_emitter_gets_each_event_at_least_once_and_in_order(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write, conversations: list[UUID]
) -> None:
    sent: list[int] = []

    async def send(event: Event) -> None:
        sent.append(event.position)
        if sent == [1, 2]:
            raise ConnectionError

    await write(4, conversations[0])
    await stamp_all(sequencer)
    await work(Worker(database, bell, Emitter("sending", [], send), retries=AT_ONCE))

    assert sent == [1, 2, 2, 3, 4]
    assert await parked(look) == []


async def test_an_event_that_takes_too_long_is_set_aside(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write
) -> None:
    async def hang(_conn: Connection, event: Event) -> None:
        if event.position == 1:
            await asyncio.Event().wait()

    await write(2)
    await stamp_all(sequencer)
    worker = Worker(
        database, bell, Consumer("noting", [], hang), retries=MUCH_LATER, timing=Timing(lease=1.0, timeout=0.01)
    )
    await work(worker)

    assert await parked(look) == [(1, 1, "TimeoutError", False)]
    assert await look("SELECT position FROM event_cursors WHERE consumer = 'noting'") == [(2,)]


async def test_a_new_consumer_may_begin_with_what_comes(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write
) -> None:
    await write(3)
    await stamp_all(sequencer)
    worker = Worker(database, bell, Consumer("noting", [], note, from_now=True))
    await work(worker)
    await write(1)
    await stamp_all(sequencer)
    await work(worker)

    assert await handled(look) == [4]


async def test_a_whole_process_of_consumers_follows_what_is_written(
    service_url: str, database: Database, look: Look, write: Write
) -> None:
    bell = Bell(service_url)
    consumers = Consumers(database, bell, [Consumer("noting", [], note)])
    async with running(bell, Sequencer(database, bell), *consumers.loops):
        await write(20)
        async with asyncio.timeout(30):
            while len(await handled(look)) < 20:
                await asyncio.sleep(0.005)
    assert consumers.names == ("noting",)
    assert await handled(look) == list(range(1, 21))
    # Ended, it gave its leases back.
    assert await look("SELECT count(*) FROM event_cursors WHERE lease_owner IS NOT NULL") == [(0,)]


VICTIM = """
import asyncio, sys
from oneiro.database.pool import Database
from oneiro.events.bell import Bell
from oneiro.events.consumers import LOSSES, Consumer, Timing, Worker

async def main():
    database = Database(sys.argv[1])
    await database.open()

    async def fn(conn, event):
        await conn.execute(
            "INSERT INTO handled (consumer, position, conversation_id) VALUES ('noting', %s, %s)",
            (event.position, event.conversation_id),
        )
        print(event.position, flush=True)
        if event.position == 25:
            await asyncio.Event().wait()

    worker = Worker(database, Bell(sys.argv[1]), Consumer("noting", [], fn), timing=Timing(lease=0.5))
    await worker.run()

asyncio.run(main())
"""


async def test_a_process_killed_in_the_middle_of_a_batch_loses_and_repeats_nothing(
    service_url: str, database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write
) -> None:
    await write(60)
    await stamp_all(sequencer)
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, service_url, stdout=asyncio.subprocess.PIPE
    )
    assert victim.stdout is not None
    while (await victim.stdout.readline()).strip() != b"25":
        pass
    victim.send_signal(signal.SIGKILL)
    await victim.wait()

    worker = Worker(database, bell, Consumer("noting", [], note), timing=Timing(busy=0.001, idle=0.01))
    async with running(worker), asyncio.timeout(30):
        while len(await handled(look)) < 60:
            await asyncio.sleep(0.005)
    assert await handled(look) == list(range(1, 61))


async def test_a_lost_database_parks_nothing_and_loses_nothing(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, db_url: str, write: Write
) -> None:
    async def cut(conn: Connection, event: Event) -> None:
        await note(conn, event)
        if event.position == 3 and not done:
            done.append(True)
            async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as admin:
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename = 'oneiro_service' AND datname = current_database()"
                )

    done: list[bool] = []
    await write(5)
    await stamp_all(sequencer)
    worker = Worker(database, bell, Consumer("noting", [], cut), retries=AT_ONCE, timing=Timing(busy=0.001, idle=0.01))
    async with running(worker), asyncio.timeout(30):
        while len(await handled(look)) < 5:
            await asyncio.sleep(0.005)

    assert sorted(await handled(look)) == [1, 2, 3, 4, 5]


async def test_retention_deletes_old_events_that_all_consumers_are_done_with(
    database: Database, bell: Bell, sequencer: Sequencer, look: Look, write: Write
) -> None:
    await write(9)
    await stamp_all(sequencer)
    await work(Worker(database, bell, Consumer("noting", [], failing_on({2})), retries=MUCH_LATER))
    await look("UPDATE event_cursors SET position = 7 WHERE consumer = 'noting'")
    await look("UPDATE system_events SET created_at = now() - interval '100 days' WHERE position <> 5")
    await write(1)
    await look("UPDATE system_events SET created_at = now() - interval '100 days' WHERE position IS NULL")
    events = service.Events(database)
    before = datetime.now(UTC) - timedelta(days=90)

    assert await events.prune(before, ["noting", "not yet begun"]) == 0
    assert await events.prune(before, ["noting"], batch=2) == 5
    # 2 is parked, 5 is young, 8 and 9 lie ahead of a consumer, the last one has no position yet.
    assert await look("SELECT position FROM system_events ORDER BY seq") == [(2,), (5,), (8,), (9,), (None,)]


async def test_the_pause_between_attempts_grows_to_a_bound() -> None:
    retries = Retries(attempts=6, first=1.0, factor=4.0, longest=30.0, draw=max)

    assert [retries.pause(failed) for failed in range(1, 7)] == [1.5, 6.0, 24.0, 45.0, 45.0, None]


async def test_the_head_is_the_last_position(database: Database, sequencer: Sequencer, write: Write) -> None:
    async with database.as_service() as conn:
        assert await store.head(conn) == 0
    await write(2)
    await stamp_all(sequencer)
    async with database.as_service() as conn:
        assert await store.head(conn) == 2
