"""What operators see of agents and voices is so: after a retirement, a 404, a sweep."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from oneiro.breaker import CircuitBreaker
from oneiro.errors import PlatformUnavailable
from oneiro.interpreters.agents.models import session_key
from oneiro.interpreters.models import Release
from oneiro.interpreters.overview.service import PlatformOverview

Publish = Callable[..., Awaitable[Release]]
Sweep = Callable[[Any], Awaitable[int]]
OPEN = {"platform_settings": {"auth": {"enable_auth": False}}}


@pytest.fixture
def overview(one: Any, hand: Any) -> PlatformOverview:
    return PlatformOverview(one.db, [CircuitBreaker("agents")], slots=10, clock=hand)


async def test_agents_are_counted_while_conversations_may_use_them(
    one: Any, release_of: Publish, engine: Any, hand: Any, sweep: Sweep, overview: PlatformOverview
) -> None:
    async def cached() -> int:
        seen = await overview.read()
        return seen.cached_agents

    assert await cached() == 0
    release = await release_of()
    made = await one.agents.ensure(release, "en", "gpt-4o")
    assert await cached() == 1
    await one.agents.forget(made.agent_id)  # The platform answered 404.
    assert await cached() == 0
    await one.agents.ensure(release, "en", "gpt-4o")
    assert await cached() == 1
    await release_of(name="Maro")
    await sweep(one)
    hand.forward(days=1)
    assert await cached() == 1  # A rollback would find it until the sweep.
    assert await sweep(one) == 1
    assert await cached() == 0


async def test_an_agent_of_a_session_counts_for_its_hour(
    one: Any, release: Release, hand: Any, overview: PlatformOverview
) -> None:
    await one.agents.ensure(release, "en", "gpt-4o", session_key=session_key(uuid4(), None))

    assert (await overview.read()).cached_agents == 1
    hand.forward(hours=1)
    assert (await overview.read()).cached_agents == 0


async def test_drift_is_shown_until_the_agent_is_replaced(
    one: Any, release: Release, engine: Any, hand: Any, overview: PlatformOverview
) -> None:
    made = await one.agents.ensure(release, "en", "gpt-4o")
    await engine.patch(made.agent_id, {"conversation_config": {"tts": {"speed": 1.1}}})
    hand.forward(days=1)
    await one.inspection.run()
    [drift] = (await overview.read()).drift
    assert (drift.agent_id, drift.interpreter_id, drift.fields) == (made.agent_id, "mara", ["tts.speed"])

    await engine.patch(made.agent_id, OPEN)
    hand.forward(days=1)
    await one.inspection.run()

    seen = await overview.read()
    assert (seen.cached_agents, seen.drift) == (1, [])


async def test_voices_are_counted_once_they_can_speak(
    one: Any, release_of: Publish, overview: PlatformOverview
) -> None:
    async def away() -> None:
        raise PlatformUnavailable("away")

    described = {"voice_description": "A low, unhurried voice, like someone speaking across still water"}
    release = await release_of(voice=described)
    one.wire.before["design_voice"] = away
    with pytest.raises(PlatformUnavailable):
        await one.agents.ensure(release, "en", "gpt-4o")
    assert (await overview.read()).cached_voices == 0
    one.wire.before.clear()
    await one.agents.ensure(release, "en", "gpt-4o")
    assert (await overview.read()).cached_voices == 1


async def test_the_breakers_state_is_that_of_the_moment(one: Any, hand: Any) -> None:
    breaker = CircuitBreaker("agents", failure_threshold=1)
    overview = PlatformOverview(one.db, [breaker], slots=10, clock=hand)

    async def fail() -> None:
        raise PlatformUnavailable("away")

    [before] = (await overview.read()).breakers
    with pytest.raises(PlatformUnavailable):
        await breaker.call(fail)
    [after] = (await overview.read()).breakers

    assert (before.state, before.failure_count) == ("closed", 0)
    assert (after.state, after.failure_count) == ("open", 1)
    assert after.last_failure_time is not None


async def test_sessions_whose_account_is_due_are_unreconciled_until_it_comes(
    one: Any, release: Release, hand: Any, overview: PlatformOverview, talk: Any
) -> None:
    async def say(statement: str) -> int:
        async with one.db.as_service() as conn:
            await conn.execute(statement.encode())
        seen = await overview.read()
        return seen.unreconciled

    conversation = await talk(uuid4(), release, "agent_1", status="completed")
    opened = "INSERT INTO conversation_sessions (conversation_id, elevenlabs_conversation_id, session_end_time) VALUES"
    assert await say(f"{opened} ('{conversation}', 'conv_1', '{hand.now}')") == 0
    hand.forward(minutes=5, seconds=1)
    assert (await overview.read()).unreconciled == 1
    assert await say(f"UPDATE conversation_sessions SET reconciled_at = '{hand.now}'") == 0
