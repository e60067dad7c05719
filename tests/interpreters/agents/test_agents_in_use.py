"""An agent that a start has just taken is not swept from under it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

from oneiro.interpreters.agents import leaving_store, store
from oneiro.interpreters.agents.models import session_key
from oneiro.interpreters.agents.service import IDLE
from oneiro.interpreters.models import Release

Start = Callable[..., Awaitable[Any]]
Sweep = Callable[[Any], Awaitable[int]]


async def test_a_sessions_agent_taken_in_its_last_second_outlives_its_hour(
    one: Any, release: Release, engine: Any, hand: Any, sweep: Sweep
) -> None:
    key = session_key(uuid4(), None)
    made = await one.agents.ensure(release, "en", "gpt-4o", session_key=key)
    hand.forward(minutes=59, seconds=59)
    taken = await one.agents.ensure(release, "en", "gpt-4o", session_key=key)
    hand.forward(seconds=2)

    # The conversation has no agent in its row yet: its start is under way.
    assert taken.agent_id == made.agent_id
    assert await sweep(one) == 0
    assert await engine.agents() == [made.agent_id]
    hand.forward(seconds=IDLE.total_seconds())
    assert await sweep(one) == 1
    assert await engine.agents() == []


async def test_a_sessions_agent_that_another_start_replaced_is_left_to_the_one_that_took_it_before(
    one: Any, process: Start, release: Release, engine: Any, hand: Any, sweep: Sweep
) -> None:
    two = await process()
    key = session_key(uuid4(), None)
    made = await one.agents.ensure(release, "en", "gpt-4o", session_key=key)
    hand.forward(minutes=59, seconds=59)
    await one.agents.ensure(release, "en", "gpt-4o", session_key=key)
    hand.forward(seconds=1)
    later = await two.agents.ensure(release, "en", "gpt-4o", session_key=key)

    assert later.agent_id != made.agent_id
    assert await sweep(one) == 0
    assert sorted(await engine.agents()) == sorted([made.agent_id, later.agent_id])
    hand.forward(seconds=IDLE.total_seconds())
    assert await sweep(one) == 1
    assert await engine.agents() == [later.agent_id]


async def test_of_a_start_and_a_sweep_at_the_same_moment_one_gives_way(
    one: Any, process: Start, release: Release, hand: Any, rows: Any
) -> None:
    """The sweep waits for the start's row and then leaves it; a start that comes after it takes nothing."""
    two = await process()
    made = await one.agents.ensure(release, "en", "gpt-4o", session_key=session_key(uuid4(), None))
    hand.forward(hours=1)
    [row] = await rows("SELECT id FROM platform_agents")
    now = hand()

    async def sweep() -> None:
        async with two.db.as_service() as conn:
            await leaving_store.take_out(conn, now=now, before=now - timedelta(days=1), idle=now - IDLE)

    async with one.db.as_service() as conn:
        assert await store.take(conn, row["id"], now)
        sweeping = asyncio.create_task(sweep())
        await asyncio.wait({sweeping}, timeout=0.2)
        assert not sweeping.done()
    await sweeping
    [row] = await rows("SELECT id, state, agent_id FROM platform_agents")
    assert (row["state"], row["agent_id"]) == ("ready", made.agent_id)

    hand.forward(hours=1)
    now = hand()
    await sweep()
    async with one.db.as_service() as conn:
        assert not await store.take(conn, row["id"], now)


async def test_a_start_notes_that_it_used_a_releases_agent_once_in_a_while(
    one: Any, release: Release, hand: Any, rows: Any
) -> None:
    await one.agents.ensure(release, "en", "gpt-4o")

    async def used() -> Any:
        [row] = await rows("SELECT last_used_at, xmin::text AS version FROM platform_agents")
        return row["last_used_at"], row["version"]

    assert (await used())[0] == hand.now
    made = await used()
    hand.forward(seconds=30)
    await one.agents.ensure(release, "en", "gpt-4o")
    assert await used() == made  # A busy agent's row is not written by every start.
    hand.forward(minutes=5)
    await one.agents.ensure(release, "en", "gpt-4o")
    assert (await used())[0] == hand.now


async def test_a_releases_agent_outlives_a_conversation_that_goes_on(
    one: Any, release_of: Callable[..., Awaitable[Release]], engine: Any, hand: Any, sweep: Sweep, talk: Any
) -> None:
    release = await release_of()
    made = await one.agents.ensure(release, "en", "gpt-4o")
    await release_of(name="Maro")
    await sweep(one)
    conversation = await talk(uuid4(), release, made.agent_id, status="active")
    hand.forward(days=3)

    assert await sweep(one) == 0
    assert await engine.agents() == [made.agent_id]
    await talk.end(conversation)
    assert await sweep(one) == 1
    assert await engine.agents() == []


async def test_a_deletion_that_was_given_up_is_no_new_dead_letter_at_every_sweep(
    one: Any, release_of: Callable[..., Awaitable[Release]], hand: Any, rows: Any
) -> None:
    await one.agents.ensure(await release_of(), "en", "gpt-4o")
    await release_of(name="Maro")
    await one.agents.sweep()
    hand.forward(days=1)
    assert await one.agents.sweep() == 1
    async with one.db.as_service() as conn:
        await conn.execute("UPDATE jobs SET state = 'dead', finished_at = now()")

    assert await one.agents.sweep() == 0
    assert len(await rows("SELECT id FROM jobs")) == 1
