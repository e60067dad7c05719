"""A slow platform: the lease outlasts the bound of the work, and what comes too late is found again."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oneiro.errors import AgentCreationError, PlatformUnavailable
from oneiro.interpreters.models import Release
from oneiro.platform.port import PROVISIONING_SECONDS

Start = Callable[..., Awaitable[Any]]


async def test_the_lease_outlasts_six_calls_that_each_take_as_long_as_they_may(
    one: Any, process: Start, release: Release, engine: Any, hand: Any
) -> None:
    two = await process()

    async def weaken(agent_id: str) -> None:
        await engine.patch(agent_id, {"platform_settings": {"auth": {"enable_auth": False}}})

    async def away() -> None:
        raise PlatformUnavailable("away")

    # A weak agent stays behind, so that the next attempt needs every call there is: find, read, delete, and anew.
    one.wire.after["create_agent"], one.wire.before["delete_agent"] = weaken, away
    with pytest.raises(AgentCreationError):
        await one.agents.ensure(release, "en", "gpt-4o")
    one.wire.calls.clear()
    last = asyncio.Event()
    deletions = 0

    async def slow() -> None:
        hand.forward(seconds=PROVISIONING_SECONDS)

    async def slow_to_delete() -> None:
        nonlocal deletions
        deletions += 1
        hand.forward(seconds=PROVISIONING_SECONDS)
        if deletions == 2:
            last.set()
            await asyncio.Event().wait()

    one.wire.before |= dict.fromkeys(["find_agent", "drift", "create_agent"], slow) | {"delete_agent": slow_to_delete}
    working = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(last.wait(), 10)
    assert one.wire.calls == ["find_agent", "drift", "delete_agent", "create_agent", "drift", "delete_agent"]
    waiting = asyncio.create_task(two.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait({waiting}, timeout=0.5)

    assert not waiting.done()
    assert two.wire.calls == []
    for task in (waiting, working):
        task.cancel()
    await asyncio.gather(waiting, working, return_exceptions=True)


async def test_with_a_slow_engine_two_processes_make_one_agent(
    one: Any, process: Start, release: Release, engine: Any
) -> None:
    two = await process()
    await engine.misbehave({"kind": "latency", "path": "/v1/convai/agents*", "seconds": 0.7})

    made = await asyncio.gather(*(each.agents.ensure(release, "en", "gpt-4o") for _ in range(5) for each in (one, two)))

    assert len({each.agent_id for each in made}) == 1
    assert await engine.agents() == [made[0].agent_id]
    assert sorted(one.wire.calls + two.wire.calls) == ["create_agent", "drift"]


async def test_work_beyond_its_bound_is_given_up_and_its_agent_found_by_the_next(
    process: Start, release: Release, engine: Any, rows: Any
) -> None:
    hasty, patient = await process(work_seconds=0.4), await process()
    # The agent is made at once, and the answer that says so comes late.
    late = {"kind": "slow_first_byte", "path": "/v1/convai/agents/create", "seconds": 3, "times": 1}
    await engine.misbehave(late)

    with pytest.raises(PlatformUnavailable, match="too long"):
        await hasty.agents.ensure(release, "en", "gpt-4o")
    made = await patient.agents.ensure(release, "en", "gpt-4o")

    assert await engine.agents() == [made.agent_id]
    assert patient.wire.calls == ["find_agent", "drift"]
    assert [event["code"] for event in await rows.events("agent.provision_failed")] == ["platform_unavailable"]
