"""An agent for one dreamer and dream alone, for an hour, as in the guide."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from oneiro.interpreters.agents.models import session_key
from oneiro.interpreters.models import Release

Sweep = Callable[[Any], Awaitable[int]]


async def test_a_session_has_an_agent_of_its_own_for_an_hour(
    one: Any, release: Release, engine: Any, hand: Any, rows: Any, sweep: Sweep
) -> None:
    dreamer, dream = uuid4(), uuid4()
    shared = await one.agents.ensure(release, "en", "gpt-4o")

    async def ensure(key: str) -> str:
        agent_id: str = (await one.agents.ensure(release, "en", "gpt-4o", session_key=key)).agent_id
        return agent_id

    first = await ensure(session_key(dreamer, dream))
    hand.forward(minutes=59)
    assert await ensure(session_key(dreamer, dream)) == first
    assert len({shared.agent_id, first, await ensure(session_key(dreamer, None))}) == 3
    hand.forward(minutes=1)
    second = await ensure(session_key(dreamer, dream))

    assert second != first
    [event] = await rows.events("agent.retired")
    assert (event["entity_id"], event["reason"]) == (first, "expired")
    hand.forward(hours=1)
    assert await sweep(one) == 3
    assert await engine.agents() == [shared.agent_id]


async def test_a_sessions_agent_goes_when_its_conversation_is_over_and_not_before(
    one: Any, release: Release, engine: Any, hand: Any, sweep: Sweep, talk: Any
) -> None:
    user_id = uuid4()
    made = await one.agents.ensure(release, "en", "gpt-4o", session_key=session_key(user_id, None))
    conversation = await talk(user_id, release, made.agent_id, status="active")
    hand.forward(minutes=16)

    assert await sweep(one) == 0
    await talk.end(conversation)
    assert await sweep(one) == 1

    assert await engine.agents() == []


async def test_an_expired_agent_is_left_to_the_conversation_that_goes_on(
    one: Any, release: Release, engine: Any, hand: Any, sweep: Sweep, talk: Any
) -> None:
    user_id = uuid4()
    made = await one.agents.ensure(release, "en", "gpt-4o", session_key=session_key(user_id, None))
    conversation = await talk(user_id, release, made.agent_id, status="active")
    hand.forward(hours=2)

    assert await sweep(one) == 0
    assert await engine.agents() == [made.agent_id]
    await talk.end(conversation)
    assert await sweep(one) == 1


def test_a_session_key_does_not_tell_who() -> None:
    dreamer = uuid4()

    assert str(dreamer) not in session_key(dreamer, None)
    assert session_key(dreamer, None) != session_key(uuid4(), None)
