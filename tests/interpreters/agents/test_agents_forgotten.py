"""Rows of agents that are gone name nobody and do not stay; operators see when an agent leaves."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from oneiro.errors import PlatformUnavailable
from oneiro.interpreters.agents import leaving_store
from oneiro.interpreters.agents.models import session_key
from oneiro.interpreters.agents.service import GRACE, IDLE, SESSIONS_KEPT
from oneiro.interpreters.models import Release
from oneiro.interpreters.publishing.service import Publishing

Publish = Callable[..., Awaitable[Release]]
Sweep = Callable[[Any], Awaitable[int]]
KEYS = "SELECT id::text, state, session_key FROM platform_agents"


async def test_a_sessions_row_names_nobody_when_its_agent_is_gone_and_goes_a_month_later(
    one: Any, release: Release, hand: Any, rows: Any, sweep: Sweep
) -> None:
    await one.agents.ensure(release, "en", "gpt-4o", session_key=session_key(uuid4(), None))
    hand.forward(hours=2)
    assert await sweep(one) == 1
    [row] = await rows(KEYS)
    assert (row["state"], row["session_key"]) == ("retired", row["id"])

    hand.forward(days=SESSIONS_KEPT.days - 1)
    await one.agents.sweep()
    assert len(await rows(KEYS)) == 1
    hand.forward(days=1)
    await one.agents.sweep()
    assert await rows(KEYS) == []


async def test_of_a_dreamer_who_goes_not_even_an_agent_that_was_never_made_keeps_a_key(
    one: Any, release: Release, hand: Any, rows: Any
) -> None:
    user_id, other = uuid4(), session_key(uuid4(), None)

    async def away() -> None:
        raise PlatformUnavailable("away")

    one.wire.before["create_agent"] = away
    for key in (session_key(user_id, None), other):
        with pytest.raises(PlatformUnavailable):
            await one.agents.ensure(release, "en", "gpt-4o", session_key=key)

    async with one.db.as_service() as conn:
        await leaving_store.forget_dreamer(conn, user_id, hand())

    kept = {row["session_key"] for row in await rows(KEYS)}
    assert session_key(user_id, None) not in kept
    assert other in kept


async def test_operators_see_when_an_agent_leaves_at_the_earliest(
    one: Any, release_of: Publish, engine: Any, hand: Any
) -> None:
    publishing = Publishing(one.db, one.agents, languages=["en"], models=["gpt-4o"], clock=hand)

    async def leaves() -> list[Any]:
        return [agent.leaves_at for agent in (await publishing.interpreter("mara")).agents]

    made = await one.agents.ensure(await release_of(), "en", "gpt-4o")
    began = hand()
    assert await leaves() == [None]
    await engine.patch(made.agent_id, {"platform_settings": {"auth": {"enable_auth": False}}})
    hand.forward(days=1)
    await one.inspection.run()
    weak, anew = sorted(await leaves(), key=lambda at: at is None)
    assert (weak, anew) == (max(hand(), began + IDLE), None)

    await release_of(name="Maro")
    await one.agents.sweep()
    expected = hand() + GRACE
    assert expected in await leaves()
    hand.forward(days=3)
    assert all(at is None or at - hand() >= timedelta() for at in await leaves())


async def test_a_releases_agents_are_made_side_by_side_with_one_voice(
    one: Any, release_of: Publish, engine: Any, hand: Any
) -> None:
    languages = ["en", "de", "fr", "es", "it"]
    publishing = Publishing(one.db, one.agents, languages=languages, models=["gpt-4o"], clock=hand)
    release = await release_of(voice={"voice_description": "A low, unhurried voice, like someone across still water"})

    assert await publishing.prepare(release) == []

    assert len(await engine.agents()) == len(languages)
    assert one.wire.calls.count("design_voice") == 1
    order = [call for call in one.wire.calls if call in {"create_agent", "drift"}]
    assert order[:4] == ["create_agent", "drift", "create_agent", "create_agent"]
