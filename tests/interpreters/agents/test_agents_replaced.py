"""Agents that were replaced, or that nobody wants any more, leave the platform; nobody is cut off by that."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oneiro.errors import PlatformUnavailable
from oneiro.interpreters.agents.store import live
from oneiro.interpreters.models import Release
from oneiro.interpreters.releases import activate

Start = Callable[..., Awaitable[Any]]
Publish = Callable[..., Awaitable[Release]]
Sweep = Callable[[Any], Awaitable[int]]


async def test_a_newer_version_of_oneiro_replaces_an_outdated_agent_and_the_older_one_lets_it_be(
    one: Any, process: Start, release: Release, engine: Any, hand: Any, rows: Any
) -> None:
    old = await one.agents.ensure(release, "en", "gpt-4o")
    hand.forward(seconds=1)
    # A longer bound on calls stands for whatever a newer version sends otherwise.
    newer = await process(max_call_seconds=1800)

    new = await newer.agents.ensure(release, "en", "gpt-4o")

    assert new.created
    assert (await one.agents.ensure(release, "en", "gpt-4o")).agent_id == new.agent_id
    assert (await newer.agents.ensure(release, "en", "gpt-4o")).agent_id == new.agent_id
    [event] = await rows.events("agent.retired")
    assert (event["entity_id"], event["reason"]) == (old.agent_id, "outdated")
    # Somebody may be talking to it still.
    assert sorted(await engine.agents()) == sorted([old.agent_id, new.agent_id])


async def test_what_is_taken_at_once_is_what_would_be_taken_without_a_word_to_the_database(
    one: Any, process: Start, release: Release, hand: Any
) -> None:
    wanted = (release, "en", "gpt-4o")

    async def at_once(asked: Any) -> Any:
        async with asked.db.as_service() as conn:
            row = await live(conn, asked.agents.draft(*wanted), hand())
        assert row is not None
        return asked.agents.at_once(row, *wanted)

    old = await one.agents.ensure(*wanted)
    taken = await at_once(one)
    assert (taken.agent_id, taken.prompt_sha256, taken.created) == (old.agent_id, old.prompt_sha256, False)

    hand.forward(seconds=1)
    newer = await process(max_call_seconds=1800)
    assert await at_once(newer) is None  # Outdated: to be replaced.
    new = await newer.agents.ensure(*wanted)
    assert (await at_once(one)).agent_id == (await at_once(newer)).agent_id == new.agent_id

    hand.forward(minutes=5)
    assert await at_once(newer) is None  # To be noted.
    await newer.agents.ensure(*wanted)
    assert (await at_once(newer)).agent_id == new.agent_id


async def test_a_replaced_agent_is_deleted_a_day_later(
    one: Any, process: Start, release: Release, engine: Any, hand: Any, rows: Any, sweep: Sweep
) -> None:
    await one.agents.ensure(release, "en", "gpt-4o")
    hand.forward(seconds=1)
    newer = await process(max_call_seconds=1800)
    new = await newer.agents.ensure(release, "en", "gpt-4o")

    assert await sweep(newer) == 0
    hand.forward(days=1)
    assert await sweep(newer) == 1
    assert await sweep(newer) == 0

    assert await engine.agents() == [new.agent_id]
    assert [event["reason"] for event in await rows.events("agent.retired")] == ["outdated", "deleted"]


async def test_a_deletion_that_fails_is_recorded_and_tried_again(
    one: Any, process: Start, release: Release, engine: Any, hand: Any, rows: Any, sweep: Sweep
) -> None:
    old = await one.agents.ensure(release, "en", "gpt-4o")
    hand.forward(days=1, seconds=1)
    newer = await process(max_call_seconds=1800)
    await newer.agents.ensure(release, "en", "gpt-4o")
    hand.forward(days=1)

    async def away() -> None:
        raise PlatformUnavailable("away")

    newer.wire.before["delete_agent"] = away
    assert await sweep(newer) == 0
    [job] = await rows("SELECT state, attempts, last_error FROM jobs")
    assert job == {"state": "queued", "attempts": 1, "last_error": "PlatformUnavailable: platform_unavailable"}
    newer.wire.before.clear()

    assert await sweep(newer) == 1
    [event] = await rows.events("agent.cleanup_failed")
    assert (event["entity_id"], event["code"]) == (old.agent_id, "platform_unavailable")
    assert old.agent_id not in await engine.agents()


async def test_agents_of_an_earlier_release_go_a_day_after_it_was_the_default(
    one: Any, release_of: Publish, engine: Any, hand: Any, sweep: Sweep
) -> None:
    first = await one.agents.ensure(await release_of(), "en", "gpt-4o")
    second = await one.agents.ensure(await release_of(name="Maro"), "en", "gpt-4o")

    assert await sweep(one) == 0
    hand.forward(hours=23)
    assert await sweep(one) == 0
    assert sorted(await engine.agents()) == sorted([first.agent_id, second.agent_id])
    hand.forward(hours=1)
    assert await sweep(one) == 1

    assert await engine.agents() == [second.agent_id]


async def test_a_rollback_within_the_day_finds_the_old_agent_and_keeps_it(
    one: Any, release_of: Publish, engine: Any, hand: Any, sweep: Sweep
) -> None:
    old = await release_of()
    first = await one.agents.ensure(old, "en", "gpt-4o")
    second = await one.agents.ensure(await release_of(name="Maro"), "en", "gpt-4o")
    await sweep(one)
    hand.forward(hours=20)
    async with one.db.as_service() as conn:
        await activate(conn, "mara", old.number)

    again = await one.agents.ensure(old, "en", "gpt-4o")
    await sweep(one)
    hand.forward(days=1)
    await sweep(one)

    assert (again.agent_id, again.created) == (first.agent_id, False)
    assert await engine.agents() == [first.agent_id]
    assert second.agent_id not in await engine.agents()


async def test_what_a_dying_process_left_on_the_platform_is_found_and_deleted(
    one: Any, release: Release, engine: Any, hand: Any, rows: Any, sweep: Sweep
) -> None:
    async def die(agent_id: str) -> None:
        raise asyncio.CancelledError

    one.wire.after["create_agent"] = die
    with pytest.raises(asyncio.CancelledError):
        await one.agents.ensure(release, "en", "gpt-4o")
    [lost] = await engine.agents()

    hand.forward(days=1)
    assert await sweep(one) == 1

    assert await engine.agents() == []
    [event] = await rows.events("agent.retired")
    assert (event["entity_id"], event["reason"]) == (lost, "deleted")
