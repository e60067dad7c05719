"""The voice: configured, designed once, or the default one; what cannot be had is reported."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oneiro.errors import PlatformUnavailable
from oneiro.interpreters.agents.voices import LEASE
from oneiro.interpreters.models import Release
from oneiro.platform.errors import PlatformRefused

Start = Callable[..., Awaitable[Any]]
Publish = Callable[..., Awaitable[Release]]
DEFAULT = "21m00Tcm4TlvDq8ikWAM"
DESCRIPTION = "A low, unhurried voice, like someone speaking across still water"
OURS_ONLY = ["voice.style", "voice.use_speaker_boost"]


async def voice_of(engine: Any, agent_id: str) -> str:
    voice: str = (await engine.agent(agent_id))["conversation_config"]["tts"]["voice_id"]
    return voice


async def test_a_configured_voice_is_used_and_what_it_cannot_take_is_reported(
    one: Any, release_of: Publish, engine: Any, rows: Any
) -> None:
    release = await release_of(voice={"voice_id": DEFAULT, "voice_description": DESCRIPTION})

    made = await one.agents.ensure(release, "en", "gpt-4o")

    assert await voice_of(engine, made.agent_id) == DEFAULT
    assert "design_voice" not in one.wire.calls
    [event] = await rows.events("agent.provisioned")
    assert (event["voice"], event["ignored"]) == ("configured", OURS_ONLY)


async def test_without_a_voice_the_default_one_speaks(one: Any, release: Release, engine: Any, rows: Any) -> None:
    made = await one.agents.ensure(release, "en", "gpt-4o")

    assert await voice_of(engine, made.agent_id) == DEFAULT
    [event] = await rows.events("agent.provisioned")
    assert (event["voice"], event["ignored"], event["voice_error"]) == ("default", [], None)


async def test_a_described_voice_is_designed_once_for_all_agents_of_it(
    one: Any, process: Start, release_of: Publish, engine: Any, rows: Any
) -> None:
    release = await release_of(voice={"voice_description": DESCRIPTION, "style": 0.4})
    two = await process()

    made = await asyncio.gather(
        *(each.agents.ensure(release, language, "gpt-4o") for language in ("en", "de") for each in (one, two))
    )

    [voice] = await engine.designed_voices()
    assert voice["description"] == DESCRIPTION
    assert {await voice_of(engine, each.agent_id) for each in made} == {voice["voice_id"]}
    [event] = await rows.events("voice.designed")
    assert (event["entity_id"], event["interpreter_id"], event["ignored"]) == (voice["voice_id"], "mara", [])
    assert (one.wire.calls + two.wire.calls).count("tune_voice") == 1


async def test_a_refused_description_gives_the_default_voice_and_says_so(
    one: Any, release_of: Publish, engine: Any, rows: Any, hand: Any
) -> None:
    async def refuse() -> None:
        raise PlatformRefused("no more voices in this plan")

    one.wire.before["design_voice"] = refuse
    release = await release_of(voice={"voice_description": DESCRIPTION})

    made = await one.agents.ensure(release, "en", "gpt-4o")
    await one.agents.ensure(release, "de", "gpt-4o")

    assert await voice_of(engine, made.agent_id) == DEFAULT
    first, second = await rows.events("agent.provisioned")
    assert (first["voice"], first["voice_error"], first["ignored"]) == ("default", "platform_refused", OURS_ONLY)
    assert second["voice_error"] == "platform_refused"
    assert one.wire.calls.count("design_voice") == 1
    hand.forward(hours=1)
    one.wire.before.clear()
    later = await one.agents.ensure(release, "en", "gpt-4o-mini")
    assert await voice_of(engine, later.agent_id) != DEFAULT


async def test_a_voice_that_cannot_be_tuned_speaks_all_the_same(one: Any, release_of: Publish, rows: Any) -> None:
    async def refuse() -> None:
        raise PlatformRefused("no")

    one.wire.before["tune_voice"] = refuse

    await one.agents.ensure(await release_of(voice={"voice_description": DESCRIPTION}), "en", "gpt-4o")

    [event] = await rows.events("voice.designed")
    assert event["ignored"] == OURS_ONLY


async def test_a_platform_that_is_away_leaves_the_voice_to_the_next_start(
    one: Any, release_of: Publish, engine: Any, rows: Any
) -> None:
    async def away() -> None:
        raise PlatformUnavailable("away")

    one.wire.before["design_voice"] = away
    release = await release_of(voice={"voice_description": DESCRIPTION})
    with pytest.raises(PlatformUnavailable):
        await one.agents.ensure(release, "en", "gpt-4o")
    one.wire.before.clear()

    assert (await one.agents.ensure(release, "en", "gpt-4o")).created
    assert len(await engine.designed_voices()) == 1
    assert [event["code"] for event in await rows.events("agent.provision_failed")] == ["platform_unavailable"]
    assert [success for _, _, success in one.created] == [False, True]


async def test_a_voice_whose_designer_died_is_designed_by_the_next_when_the_lease_lapses(
    one: Any, process: Start, release_of: Publish, hand: Any
) -> None:
    reached = asyncio.Event()

    async def die() -> None:
        reached.set()
        await asyncio.Event().wait()

    one.wire.before["design_voice"] = die
    release = await release_of(voice={"voice_description": DESCRIPTION})
    dead = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(reached.wait(), 10)
    two = await process()
    waiting = asyncio.create_task(two.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait({waiting}, timeout=0.3)
    assert not waiting.done()
    hand.forward(seconds=LEASE.total_seconds())

    assert (await waiting).created
    dead.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dead
