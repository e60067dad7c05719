"""Jobs: there with the change that needs them, run by one process at a time, tried again, and never lost."""
# ruff: noqa: ASYNC110 - what another task or process writes into a table is waited for by looking

import asyncio
import itertools
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from oneiro.database.pool import Database
from oneiro.errors import Conflict, NotFound
from oneiro.events.bell import JOBS, Bell
from oneiro.events.loops import running
from oneiro.jobs.models import Claimed, Periodic
from oneiro.jobs.queue import enqueue
from oneiro.jobs.runner import Limits, Runner
from oneiro.jobs.service import Jobs

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]
Done = list[Mapping[str, Any]]

AT_ONCE = Limits(first=0.0, idle=0.01)


async def note(done: Done, payload: Mapping[str, Any]) -> None:
    """A job that writes down what it was given."""
    done.append(payload)


async def put(database: Database, kind: str = "note", *, count: int = 1, **options: Any) -> None:
    for n in range(count):
        async with database.as_service() as conn:
            await enqueue(conn, kind, {"n": n}, **options)


async def work(runner: Runner[Any]) -> None:
    while await runner.step():
        await runner.settled()


def runner_of(database: Database, bell: Bell, done: Done, limits: Limits = AT_ONCE, **functions: Any) -> Runner[Done]:
    return Runner(database, bell, done, functions or {"note": note}, limits=limits)


async def _put_and_fail(database: Database) -> None:
    async with database.as_service() as conn:
        await enqueue(conn, "note", {"n": 1})
        raise ZeroDivisionError


async def states(look: Look) -> list[tuple[Any, ...]]:
    return await look("SELECT state, attempts, last_error FROM jobs ORDER BY created_at, id")


async def test_a_job_stands_or_falls_with_the_callers_transaction(database: Database, bell: Bell, look: Look) -> None:
    done: Done = []
    with pytest.raises(ZeroDivisionError):
        await _put_and_fail(database)
    await put(database)
    await work(runner_of(database, bell, done))

    assert done == [{"n": 0}]
    assert await states(look) == [("done", 1, None)]


async def test_a_job_waits_for_its_time(database: Database, bell: Bell, look: Look) -> None:
    done: Done = []
    runner = runner_of(database, bell, done)
    await put(database, run_at=datetime.now(UTC) + timedelta(hours=1))
    await work(runner)
    assert done == []
    await look("UPDATE jobs SET run_at = now()")
    await work(runner)
    assert len(done) == 1


async def test_a_key_is_taken_while_its_job_waits_or_runs(database: Database, bell: Bell, look: Look) -> None:
    done: Done = []
    async with database.as_service() as conn:
        assert await enqueue(conn, "note", {"n": 1}, dedupe_key="k") is not None
        assert await enqueue(conn, "note", {"n": 2}, dedupe_key="k") is None
        assert await enqueue(conn, "note", {"n": 3}, dedupe_key="other") is not None
    await work(runner_of(database, bell, done))
    await put(database, dedupe_key="k")
    assert sorted(payload["n"] for payload in done) == [1, 3]
    assert await look("SELECT count(*) FROM jobs") == [(3,)]


async def test_two_runners_share_the_work_and_run_each_job_once(database: Database, bell: Bell) -> None:
    first: Done = []
    second: Done = []
    await asyncio.gather(*(put(database, count=25) for _ in range(4)))
    async with running(runner_of(database, bell, first), runner_of(database, bell, second)), asyncio.timeout(30):
        while len(first) + len(second) < 100:
            await asyncio.sleep(0.005)

    assert sorted(payload["n"] for payload in first + second) == sorted(list(range(25)) * 4)
    assert first
    assert second


async def test_never_more_jobs_at_a_time_than_allowed(database: Database, bell: Bell) -> None:
    at_work = most = finished = 0

    async def busy(_services: Done, _payload: Mapping[str, Any]) -> None:
        nonlocal at_work, most, finished
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.002)
        at_work -= 1
        finished += 1

    await put(database, "busy", count=20)
    runner = runner_of(database, bell, [], Limits(concurrency=3, idle=0.01), busy=busy)
    async with running(runner), asyncio.timeout(30):
        while finished < 20:
            await asyncio.sleep(0.002)
    assert most == 3


async def test_a_failing_job_is_tried_again_and_dead_after_its_last_attempt(
    database: Database, bell: Bell, look: Look
) -> None:
    tried: list[int] = []

    async def fail(_services: Done, _payload: Mapping[str, Any]) -> None:
        tried.append(1)
        raise Conflict("It was a staircase made of water.", code="staircase")

    await put(database, "fail", max_attempts=3)
    runner = runner_of(database, bell, [], fail=fail)
    await work(runner)

    assert len(tried) == 3
    # Class and code only: a fault's text may repeat what was said.
    assert await states(look) == [("dead", 3, "Conflict: staircase")]
    assert await look("SELECT finished_at IS NOT NULL FROM jobs") == [(True,)]


async def test_an_operator_sees_dead_jobs_and_lets_one_run_again(database: Database, bell: Bell) -> None:
    broken = True

    async def moody(done: Done, payload: Mapping[str, Any]) -> None:
        if broken:
            raise ValueError
        done.append(payload)

    done: Done = []
    await put(database, "moody", max_attempts=1, dedupe_key="k")
    runner, jobs = runner_of(database, bell, done, moody=moody), Jobs(database)
    await work(runner)
    [dead] = await jobs.list("dead", None, None, 10)
    assert (dead.kind, dead.attempts, dead.last_error) == ("moody", 1, "ValueError")
    assert await jobs.counts() == {"queued": 0, "running": 0, "done": 0, "dead": 1}

    broken = False
    assert (await jobs.retry(dead.id)).state == "queued"
    await work(runner)
    assert done == [{"n": 0}]
    with pytest.raises(Conflict):
        await jobs.retry(dead.id)
    with pytest.raises(NotFound):
        await jobs.retry(uuid4())


async def test_a_dead_job_whose_key_is_taken_again_stays_dead(database: Database, bell: Bell) -> None:
    async def fail(_services: Done, _payload: Mapping[str, Any]) -> None:
        raise ValueError

    await put(database, "fail", max_attempts=1, dedupe_key="k")
    await work(runner_of(database, bell, [], fail=fail))
    await put(database, "fail", max_attempts=1, dedupe_key="k")
    jobs = Jobs(database)
    [dead] = await jobs.list("dead", "fail", None, 10)
    with pytest.raises(Conflict):
        await jobs.retry(dead.id)


async def test_the_pause_between_attempts_doubles_to_a_bound() -> None:
    limits = Limits(first=2.0, longest=10.0, draw=max)
    jobs = [Claimed(uuid4(), "k", {}, attempts, 5) for attempts in range(1, 6)]

    assert [limits.pause(job) for job in jobs] == [3.0, 6.0, 12.0, 15.0, None]


async def test_a_job_that_takes_too_long_has_failed(database: Database, bell: Bell, look: Look) -> None:
    async def hang(_services: Done, _payload: Mapping[str, Any]) -> None:
        await asyncio.Event().wait()

    await put(database, "hang", max_attempts=1)
    await work(runner_of(database, bell, [], Limits(timeout=0.01), hang=hang))
    assert await states(look) == [("dead", 1, "TimeoutError")]


async def test_kinds_of_a_newer_release_are_left_to_it(database: Database, bell: Bell, look: Look) -> None:
    await put(database, "from_the_future")
    await work(runner_of(database, bell, []))
    assert await states(look) == [("queued", 0, None)]


VICTIM = """
import asyncio, sys
from oneiro.database.pool import Database
from oneiro.events.bell import Bell
from oneiro.jobs.runner import Limits, Runner

async def main():
    database = Database(sys.argv[1])
    await database.open()

    async def hang(services, payload):
        print("at work", flush=True)
        await asyncio.Event().wait()

    await Runner(database, Bell(sys.argv[1]), None, {"note": hang}, limits=Limits(lease=0.3)).run()

asyncio.run(main())
"""


async def test_the_job_of_a_killed_process_is_run_by_another(
    service_url: str, database: Database, bell: Bell, look: Look
) -> None:
    done: Done = []
    await put(database)
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-c", VICTIM, service_url, stdout=asyncio.subprocess.PIPE
    )
    assert victim.stdout is not None
    assert await victim.stdout.readline() == b"at work\n"
    victim.send_signal(signal.SIGKILL)
    await victim.wait()
    async with running(runner_of(database, bell, done, Limits(lease=0.03, idle=0.01))), asyncio.timeout(30):
        while await states(look) != [("done", 2, None)]:
            await asyncio.sleep(0.005)

    assert done == [{"n": 0}]


async def test_a_job_that_kills_its_process_every_time_is_dead_in_the_end(
    database: Database, bell: Bell, look: Look
) -> None:
    await put(database, max_attempts=2)
    await look("UPDATE jobs SET state = 'running', attempts = 2, lease_until = now() - interval '1 second'")
    done: Done = []
    await work(runner_of(database, bell, done))

    assert await states(look) == [("dead", 2, "LeaseLapsed")]
    assert done == []


async def test_a_long_job_keeps_its_lease(database: Database, bell: Bell, look: Look) -> None:
    go_on = asyncio.Event()

    async def long(_services: Done, _payload: Mapping[str, Any]) -> None:
        await go_on.wait()

    now = 0.0
    runner: Runner[Done] = Runner(database, bell, [], {"long": long}, clock=lambda: now)
    await put(database, "long")
    assert await runner.step() == 1
    await look("UPDATE jobs SET lease_until = now() - interval '1 hour'")
    now += 60.0
    assert await runner.step() == 0
    assert await look("SELECT state, attempts, lease_until > now() FROM jobs") == [("running", 1, True)]
    go_on.set()
    await runner.settled()
    assert await states(look) == [("done", 1, None)]


async def test_a_runner_that_lost_a_job_stops_it_and_does_not_finish_it(
    database: Database, bell: Bell, look: Look
) -> None:
    stopped = asyncio.Event()

    async def long(_services: Done, _payload: Mapping[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    now = 0.0
    runner: Runner[Done] = Runner(database, bell, [], {"long": long}, clock=lambda: now)
    await put(database, "long")
    await runner.step()
    await look("UPDATE jobs SET lease_owner = 'another', lease_until = now() + interval '1 hour'")
    await asyncio.sleep(0)
    now += 60.0
    await runner.step()
    await stopped.wait()
    await runner.settled()
    assert await look("SELECT state, lease_owner FROM jobs") == [("running", "another")]


async def test_a_periodic_job_runs_once_a_period_across_replicas(database: Database, bell: Bell, look: Look) -> None:
    done: Done = []
    daily = [Periodic("note", 86_400.0)]
    runners = [
        Runner(database, bell, done, {"note": note}, periodic=daily, clock=itertools.count(step=60.0).__next__)
        for _ in range(3)
    ]
    for _ in range(5):  # Each step is a minute later.
        await asyncio.gather(*(runner.step() for runner in runners))
        await asyncio.gather(*(runner.settled() for runner in runners))
    assert len(done) == 1

    # The next day.
    await look("UPDATE jobs SET period_key = 'yesterday'")
    await asyncio.gather(*(work(runner) for runner in runners))
    assert len(done) == 2


async def test_a_period_is_skipped_while_the_job_of_an_earlier_one_waits(
    database: Database, bell: Bell, look: Look
) -> None:
    done: Done = []
    runner = Runner(database, bell, done, {"note": note}, periodic=[Periodic("note", 60.0)])
    async with database.as_service() as conn:
        await enqueue(conn, "note", dedupe_key="periodic/note", run_at=datetime.now(UTC) + timedelta(hours=1))
    await work(runner)
    assert done == []
    assert await look("SELECT count(*) FROM jobs") == [(1,)]


async def test_draining_finishes_what_runs_and_takes_nothing_more(database: Database, bell: Bell, look: Look) -> None:
    began, go_on = asyncio.Event(), asyncio.Event()

    async def slow(done: Done, payload: Mapping[str, Any]) -> None:
        began.set()
        await go_on.wait()
        done.append(payload)

    done: Done = []
    await put(database, "slow")
    runner = runner_of(database, bell, done, slow=slow)
    running_it = asyncio.create_task(runner.run())
    await began.wait()
    draining = asyncio.create_task(runner.drain(grace=30.0))
    await put(database, "slow")
    go_on.set()
    await draining
    await running_it

    assert len(done) == 1
    assert [row[0] for row in await states(look)] == ["done", "queued"]


async def test_what_draining_could_not_finish_is_given_back_at_once(database: Database, bell: Bell, look: Look) -> None:
    began = asyncio.Event()

    async def endless(_services: Done, _payload: Mapping[str, Any]) -> None:
        began.set()
        await asyncio.Event().wait()

    await put(database, "endless")
    runner = runner_of(database, bell, [], endless=endless)
    running_it = asyncio.create_task(runner.run())
    await began.wait()
    await runner.drain(grace=0.01)
    await running_it

    assert await look("SELECT state, attempts, lease_owner FROM jobs") == [("queued", 0, None)]


async def test_a_committed_job_wakes_the_runner(database: Database, bell: Bell) -> None:
    heard = bell.listener(JOBS)
    async with database.as_service() as conn:
        await enqueue(conn, "note")
    bell.committed(conn)
    assert heard.is_set()


async def test_old_finished_jobs_are_deleted(database: Database, bell: Bell, look: Look) -> None:
    done: Done = []
    await put(database, count=3)
    await work(runner_of(database, bell, done))
    await put(database)
    await look("UPDATE jobs SET finished_at = finished_at - interval '31 days' WHERE payload ->> 'n' <> '2'")
    assert await Jobs(database).prune(datetime.now(UTC) - timedelta(days=30), batch=1) == 2
    assert sorted(row[0] for row in await states(look)) == ["done", "queued"]
