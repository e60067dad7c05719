"""Voices that are gone, were never there, were refused for a while, or were tuned otherwise before."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oneiro.errors import AgentCreationError
from oneiro.interpreters.models import Release
from oneiro.platform.errors import PlatformRefused

Start = Callable[..., Awaitable[Any]]
Publish = Callable[..., Awaitable[Release]]
DEFAULT = "21m00Tcm4TlvDq8ikWAM"
DESCRIPTION = "A low, unhurried voice, like someone speaking across still water"
REFUSED = "voice.voice_description.refused"


async def voice_of(engine: Any, agent_id: str) -> str:
    return str((await engine.agent(agent_id))["conversation_config"]["tts"]["voice_id"])


async def refuse() -> None:
    raise PlatformRefused("no more voices in this plan")


async def test_an_unknown_voice_is_refused_with_its_name_before_an_agent_is_made(
    one: Any, release_of: Publish, engine: Any, rows: Any
) -> None:
    release = await release_of(voice={"voice_id": "nobodyhasthisvoice"})

    with pytest.raises(AgentCreationError, match=r"voice\.voice_id.*nobodyhasthisvoice"):
        await one.agents.ensure(release, "en", "gpt-4o")

    assert await engine.agents() == []
    [event] = await rows.events("agent.provision_failed")
    assert event["code"] == "agent_creation_failed"


async def test_a_designed_voice_that_is_gone_is_designed_again_when_an_agent_is_made(
    one: Any, release_of: Publish, engine: Any
) -> None:
    release = await release_of(voice={"voice_description": DESCRIPTION})
    await one.agents.ensure(release, "en", "gpt-4o")
    [gone] = await engine.designed_voices()
    await engine.silence(gone["voice_id"])

    made = await one.agents.ensure(release, "de", "gpt-4o")

    [anew] = await engine.designed_voices()
    assert await voice_of(engine, made.agent_id) == anew["voice_id"] != gone["voice_id"]
    assert made.created


async def test_an_inspection_replaces_agents_whose_designed_voice_is_gone(
    one: Any, release_of: Publish, engine: Any, rows: Any, hand: Any
) -> None:
    release = await release_of(voice={"voice_description": DESCRIPTION})
    old = [await one.agents.ensure(release, language, "gpt-4o") for language in ("en", "de")]
    [gone] = await engine.designed_voices()
    await engine.silence(gone["voice_id"])
    hand.forward(days=1)

    await one.inspection.run()

    [anew] = await engine.designed_voices()
    for language, before in zip(("en", "de"), old, strict=True):
        now = await one.agents.ensure(release, language, "gpt-4o")
        assert now.agent_id != before.agent_id
        assert await voice_of(engine, now.agent_id) == anew["voice_id"]
        assert not now.created
    assert [event["reason"] for event in await rows.events("agent.retired")] == ["voice", "voice"]


async def test_an_inspection_shows_a_configured_voice_that_is_gone_until_it_is_back(
    one: Any, release_of: Publish, engine: Any, rows: Any, hand: Any
) -> None:
    chosen = await engine.design("Chosen by hand")
    release = await release_of(voice={"voice_id": chosen})
    made = await one.agents.ensure(release, "en", "gpt-4o")
    await engine.silence(chosen)
    hand.forward(days=1)

    await one.inspection.run()

    [row] = await rows("SELECT agent_id, state, drift FROM platform_agents")
    assert row == {"agent_id": made.agent_id, "state": "drifted", "drift": ["voice.voice_id.gone"]}


async def test_a_refused_design_is_shown_and_its_agents_get_their_voice_when_the_hour_is_over(
    one: Any, release_of: Publish, engine: Any, rows: Any, hand: Any
) -> None:
    one.wire.before["design_voice"] = refuse
    release = await release_of(voice={"voice_description": DESCRIPTION})
    old = await one.agents.ensure(release, "en", "gpt-4o")
    assert old.drift == (REFUSED,)
    hand.forward(hours=1)
    await one.inspection.run()
    assert (await one.agents.ensure(release, "en", "gpt-4o")).agent_id == old.agent_id
    assert one.wire.calls.count("design_voice") == 2
    await one.inspection.run()
    assert one.wire.calls.count("design_voice") == 2
    [row] = await rows("SELECT voice_source, voice_error, drift FROM platform_agents")
    assert row == {"voice_source": "default", "voice_error": "platform_refused", "drift": [REFUSED]}

    one.wire.before.clear()
    hand.forward(hours=1)
    await one.inspection.run()

    new = await one.agents.ensure(release, "en", "gpt-4o")
    assert (new.created, new.drift) == (False, ())
    assert await voice_of(engine, old.agent_id) == DEFAULT
    assert await voice_of(engine, new.agent_id) != DEFAULT


async def test_settings_of_a_voice_that_was_tuned_otherwise_are_told(one: Any, release_of: Publish, rows: Any) -> None:
    for voice in ({"style": 0.1}, {"style": 0.9}, {"style": 0.1, "use_speaker_boost": False}, {"style": 0.1}):
        release = await release_of(voice={"voice_description": DESCRIPTION, **voice})
        await one.agents.ensure(release, "en", "gpt-4o")

    told = [event["ignored"] for event in await rows.events("agent.provisioned")]
    assert told == [[], ["voice.style"], ["voice.use_speaker_boost"], []]


async def test_the_prompt_that_is_told_is_the_one_that_the_agent_was_made_with(
    one: Any, process: Start, release: Release, hand: Any
) -> None:
    """Stands for two versions side by side, of which the older one uses what the newer one made."""
    made = await one.agents.ensure(release, "en", "gpt-4o")
    async with one.db.as_service() as conn:
        await conn.execute("UPDATE platform_agents SET prompt_sha256 = 'of another version'")

    again = await one.agents.ensure(release, "en", "gpt-4o")

    assert (again.agent_id, again.prompt_sha256) == (made.agent_id, "of another version")
