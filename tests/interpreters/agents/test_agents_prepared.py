"""Publishing asks the platform first, and leaves no agent there that no start would use."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from oneiro.auth import Identity
from oneiro.errors import AgentCreationError, PlatformUnavailable, ValidationError
from oneiro.interpreters.agents.models import session_key
from oneiro.interpreters.models import Release
from oneiro.interpreters.publishing.models import NewRelease
from oneiro.interpreters.publishing.service import Publishing

Start = Callable[..., Awaitable[Any]]
Publish = Callable[..., Awaitable[Release]]
Sweep = Callable[[Any], Awaitable[int]]
LANGUAGES = ["en", "de", "fr"]
OPERATOR = Identity(uuid4(), "authenticated", operator=True, expires_at=datetime(2027, 1, 1, tzinfo=UTC), claims={})


@pytest.fixture
async def session(process: Start) -> Any:
    return await process(agent_scope="session")


@pytest.fixture
def publishing(session: Any, hand: Any) -> Publishing:
    return Publishing(session.db, session.agents, languages=LANGUAGES, models=["gpt-4o"], clock=hand)


async def test_a_release_is_tried_in_every_language_and_no_agent_stays(
    session: Any, publishing: Publishing, release_of: Publish, engine: Any, rows: Any
) -> None:
    assert await publishing.prepare(await release_of()) == []

    assert sorted(session.wire.calls) == sorted(["create_agent", "drift", "delete_agent"] * len(LANGUAGES))
    assert await engine.agents() == []
    tried = {event["entity_id"]: event["language"] for event in await rows.events("agent.provisioned")}
    assert sorted(tried.values()) == sorted(LANGUAGES)
    assert {(event["entity_id"], event["reason"]) for event in await rows.events("agent.retired")} == {
        (agent_id, "deleted") for agent_id in tried
    }
    assert {row["state"] for row in await rows("SELECT state FROM platform_agents")} == {"retired"}


async def test_agents_that_dreamers_share_are_there_ahead_of_the_first_start(
    one: Any, release: Release, engine: Any, hand: Any
) -> None:
    shared = Publishing(one.db, one.agents, languages=LANGUAGES, models=["gpt-4o"], clock=hand)

    await shared.prepare(release)

    assert len(await engine.agents()) == len(LANGUAGES)
    assert not (await one.agents.ensure(release, "de", "gpt-4o")).created


async def test_a_voice_that_the_platform_does_not_know_leaves_the_old_release_in_charge_and_says_why(
    publishing: Publishing, release_of: Publish, engine: Any, rows: Any
) -> None:
    old = await release_of()
    changes = {"voice": {"voice_id": "nobody-speaks-so"}}

    for attempt in (
        publishing.publish(OPERATOR, "mara", NewRelease(changes=changes, activate=True)),
        publishing.activate("mara", old.number + 1),
    ):
        with pytest.raises(AgentCreationError, match="nobody-speaks-so") as caught:
            await attempt
        assert caught.value.detail.startswith(
            f"Release {old.number + 1} of mara is stored and not active. Release {old.number} stays in charge."
        )

    assert await engine.agents() == []
    [row] = await rows("SELECT version, is_active FROM interpreter_configs")
    assert (row["version"], row["is_active"]) == (old.number, True)


async def test_a_release_in_charge_that_the_platform_refuses_by_now_is_not_said_to_be_out_of_charge(
    session: Any, publishing: Publishing, release: Release
) -> None:
    async def away() -> None:
        raise PlatformUnavailable("away")

    session.wire.before["create_agent"] = away
    with pytest.raises(PlatformUnavailable) as caught:
        await publishing.activate("mara", release.number)

    assert caught.value.detail == "away"


async def test_of_a_release_that_can_never_be_activated_nobody_is_told_how_to(
    publishing: Publishing, release_of: Publish
) -> None:
    await release_of()
    wordless = NewRelease(changes={"prompts": [{"type": "system", "deleted": True}]})
    stored = await publishing.publish(OPERATOR, "mara", wordless)

    with pytest.raises(ValidationError, match="no system prompt") as caught:
        await publishing.activate("mara", stored.number)

    assert "To activate it" not in caught.value.detail


async def test_what_the_platform_gives_back_otherwise_is_told_of_a_release_that_was_only_tried(
    session: Any, publishing: Publishing, release_of: Publish, engine: Any
) -> None:
    await release_of()

    async def change(agent_id: str) -> None:
        await engine.patch(agent_id, {"conversation_config": {"tts": {"speed": 1.1}}})

    session.wire.after["create_agent"] = change
    published = await publishing.publish(OPERATOR, "mara", NewRelease(changes={"name": "Maro"}, activate=True))

    assert (published.active, published.drift) == (True, ["tts.speed"])
    assert await engine.agents() == []


async def test_an_agent_that_was_tried_and_could_not_be_removed_goes_with_the_sessions(
    session: Any, publishing: Publishing, release_of: Publish, engine: Any, hand: Any, rows: Any, sweep: Sweep
) -> None:
    async def away() -> None:
        raise PlatformUnavailable("away")

    session.wire.before["delete_agent"] = away
    assert await publishing.prepare(await release_of()) == []
    session.wire.before.clear()

    left = await engine.agents()
    assert len(left) == len(LANGUAGES)
    assert {event["entity_id"] for event in await rows.events("agent.cleanup_failed")} == set(left)
    assert await sweep(session) == 0
    hand.forward(hours=1)
    assert await sweep(session) == len(LANGUAGES)
    assert await engine.agents() == []


async def test_a_trial_that_was_cut_off_leaves_an_agent_for_an_hour_at_most(
    session: Any, publishing: Publishing, release_of: Publish, engine: Any, hand: Any, sweep: Sweep
) -> None:
    reached = asyncio.Event()

    async def stall() -> None:
        reached.set()
        await asyncio.Event().wait()

    session.wire.before["delete_agent"] = stall
    publish = asyncio.create_task(publishing.prepare(await release_of()))
    await asyncio.wait_for(reached.wait(), 10)
    publish.cancel()
    with pytest.raises(asyncio.CancelledError):
        await publish
    session.wire.before.clear()

    assert len(await engine.agents()) == 1
    hand.forward(hours=1)
    assert await sweep(session) == 1
    assert await engine.agents() == []


async def test_shared_agents_go_a_day_after_agents_are_made_for_sessions_and_stay_when_that_is_undone(
    one: Any, session: Any, release: Release, engine: Any, hand: Any, sweep: Sweep
) -> None:
    shared = (await one.agents.ensure(release, "en", "gpt-4o")).agent_id

    await session.agents.sweep()
    hand.forward(hours=23)
    await one.agents.sweep()
    hand.forward(hours=23)
    assert await sweep(session) == 0
    assert await engine.agents() == [shared]

    own = (await session.agents.ensure(release, "en", "gpt-4o", session_key=session_key(uuid4(), None))).agent_id
    assert own != shared
    hand.forward(days=1)
    assert await sweep(session) == 2
    assert await engine.agents() == []
