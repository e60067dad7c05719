"""Provisioning goes on: answers that were lost, processes that died, agents that the platform forgot."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oneiro.errors import AgentCreationError, PlatformUnavailable
from oneiro.interpreters.agents.workshop import SPARE_SECONDS, WORK_SECONDS
from oneiro.interpreters.models import Release
from oneiro.platform.errors import PlatformLacks, PlatformRefused

Start = Callable[..., Awaitable[Any]]
ATTEMPTS = (
    "SELECT event_type, event_data ->> 'code' AS code FROM system_events "
    "WHERE event_type IN ('agent.provisioned', 'agent.provision_failed') ORDER BY seq"
)
LIVE = "SELECT * FROM platform_agents WHERE state <> 'retired'"


async def test_an_agent_that_the_platform_forgot_is_made_anew_once(
    one: Any, process: Start, release: Release, engine: Any, rows: Any
) -> None:
    two = await process()
    lost = (await one.agents.ensure(release, "en", "gpt-4o")).agent_id
    await engine.forget_all()

    async def start(each: Any) -> str:
        agent_id: str = (await each.agents.ensure(release, "en", "gpt-4o")).agent_id
        try:
            await each.wire.signed_url(agent_id)
        except PlatformLacks:
            await each.agents.forget(agent_id)
            agent_id = (await each.agents.ensure(release, "en", "gpt-4o")).agent_id
            await each.wire.signed_url(agent_id)
        return agent_id

    found = await asyncio.gather(*(start(each) for _ in range(10) for each in (one, two)))

    assert len(set(found)) == 1
    assert await engine.agents() == [found[0]]
    assert found[0] != lost
    [event] = await rows.events("agent.retired")
    assert (event["entity_id"], event["reason"]) == (lost, "unknown_to_platform")


async def test_an_agent_whose_answer_was_lost_is_adopted(
    one: Any, process: Start, release: Release, engine: Any, rows: Any
) -> None:
    async def lose(agent_id: str) -> None:
        raise PlatformUnavailable("The answer was lost on the way.")

    one.wire.after["create_agent"] = lose
    with pytest.raises(PlatformUnavailable):
        await one.agents.ensure(release, "en", "gpt-4o")
    two = await process()

    made = await two.agents.ensure(release, "en", "gpt-4o")

    assert two.wire.calls == ["find_agent", "drift"]
    assert await engine.agents() == [made.agent_id]
    [event] = await rows.events("agent.provisioned")
    assert event["adopted"] is True
    assert [row["code"] for row in await rows(ATTEMPTS)] == ["platform_unavailable", None]


async def test_the_row_of_a_process_that_died_is_taken_over_when_its_lease_lapses(
    one: Any, process: Start, release: Release, engine: Any, rows: Any, hand: Any
) -> None:
    created: list[str] = []
    dead = asyncio.Event()

    async def die(agent_id: str) -> None:
        created.append(agent_id)
        dead.set()
        await asyncio.Event().wait()

    one.wire.after["create_agent"] = die
    task = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(dead.wait(), 10)
    two = await process()
    waiting = asyncio.create_task(two.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait({waiting}, timeout=0.3)
    assert not waiting.done()
    hand.forward(seconds=WORK_SECONDS + SPARE_SECONDS)

    made = await waiting

    assert [made.agent_id] == created == await engine.agents()
    assert two.wire.calls == ["find_agent", "drift"]
    # The first one wakes from the dead and finds its lease gone: it changes nothing.
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [row] = await rows(LIVE)
    assert (row["state"], row["agent_id"]) == ("ready", made.agent_id)


async def test_who_finishes_after_losing_the_lease_uses_the_agent_of_the_other(
    one: Any, process: Start, release: Release, hand: Any, rows: Any
) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def stall() -> None:
        reached.set()
        await gate.wait()

    one.wire.before["create_agent"] = stall
    slow = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(reached.wait(), 10)
    hand.forward(seconds=WORK_SECONDS + SPARE_SECONDS)
    two = await process()
    quick = await two.agents.ensure(release, "en", "gpt-4o")
    gate.set()

    assert (await slow).agent_id == quick.agent_id
    assert len(await rows.events("agent.provisioned")) == 1


async def test_a_cancelled_start_leaves_the_row_to_the_next_at_once(one: Any, process: Start, release: Release) -> None:
    reached = asyncio.Event()

    async def stall() -> None:
        reached.set()
        await asyncio.Event().wait()

    one.wire.before["create_agent"] = stall
    task = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    two = await process()
    assert (await two.agents.ensure(release, "en", "gpt-4o")).created


async def test_those_who_wait_for_a_failure_fail_with_it_and_ask_nothing(
    one: Any, process: Start, release: Release
) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def refuse() -> None:
        reached.set()
        await gate.wait()
        raise PlatformRefused("no such model")

    one.wire.before["create_agent"] = refuse
    two = await process()
    first = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(reached.wait(), 10)
    others = [asyncio.create_task(two.agents.ensure(release, "en", "gpt-4o")) for _ in range(5)]
    await asyncio.wait(others, timeout=2.0)
    gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)

    assert all(isinstance(result, AgentCreationError) and not result.retryable for result in results)
    assert two.wire.calls == []
