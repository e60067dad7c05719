"""The adapter with the real SDK against the engine, over HTTP."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from oneiro.platform.elevenlabs import ElevenLabsPlatform
from oneiro.platform.errors import PlatformLacks, PlatformRefused
from oneiro.platform.port import AgentSpec, VoiceTuning, lacking
from oneiro.platform.translate import CLIENT_EVENTS

Connect = Callable[..., ElevenLabsPlatform]
KEY = {"xi-api-key": "sk_test_of_nobody"}
DESCRIPTION = "An old, warm voice that takes its time, from the mountains"
SAMPLE = (
    "You were standing at the shore, and the water was quite still. Take your time. "
    "What did you feel when it began to move?"
)


async def patch(engine_url: str, agent_id: str, change: dict[str, Any]) -> None:
    async with httpx.AsyncClient(base_url=engine_url, headers=KEY) as client:
        (await client.patch(f"/v1/convai/agents/{agent_id}", json=change)).raise_for_status()


async def read(engine_url: str, path: str) -> Any:
    async with httpx.AsyncClient(base_url=engine_url, headers=KEY) as client:
        return (await client.get(path)).raise_for_status().json()


async def test_an_agent_that_was_created_is_read_back_without_drift(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    platform = connect(engine_url)

    agent_id = await platform.create_agent(spec)

    assert await platform.drift(agent_id, spec) == ()


async def test_an_agent_of_another_language_is_read_back_without_drift(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    platform = connect(engine_url)
    german = replace(spec, language="de")

    agent_id = await platform.create_agent(german)

    assert await platform.drift(agent_id, german) == ()
    assert "tts.model_id" in await platform.drift(agent_id, spec)


async def test_the_agent_opens_with_our_variable_and_is_shut_against_clients(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    agent_id = await connect(engine_url).create_agent(spec)

    agent = await read(engine_url, f"/v1/convai/agents/{agent_id}")

    config, settings = agent["conversation_config"], agent["platform_settings"]
    assert config["agent"]["first_message"] == "{{opening}}"
    assert config["agent"]["prompt"]["llm"] == "gpt-4o"
    assert config["agent"]["prompt"]["temperature"] == 0.7
    assert config["agent"]["prompt"]["max_tokens"] == 250
    assert config["turn"]["turn_eagerness"] == "patient"
    assert config["turn"]["silence_end_call_timeout"] == 120
    assert config["conversation"]["max_duration_seconds"] == 3600
    assert settings["auth"]["enable_auth"] is True
    assert settings["privacy"]["record_voice"] is False
    assert settings["privacy"]["retention_days"] == 7
    assert settings["queueing_config"]["enabled"] is False
    override = settings["overrides"]["conversation_config_override"]
    assert override["conversation"] == {"text_only": True, "max_duration_seconds": False}
    assert not any(override["tts"].values())
    assert agent["tags"] == ["oneiro", "oneiro-3fa85f64"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"platform_settings": {"auth": {"enable_auth": False}}}, "auth.enable_auth"),
        ({"platform_settings": {"privacy": {"record_voice": True}}}, "privacy.record_voice"),
        ({"conversation_config": {"agent": {"prompt": {"prompt": "Be brief."}}}}, "agent.prompt.prompt"),
        ({"platform_settings": {"privacy": {"retention_days": -1}}}, "privacy.retention_days"),
        (
            {"platform_settings": {"overrides": {"conversation_config_override": {"agent": {"first_message": True}}}}},
            "overrides.conversation_config_override.agent.first_message",
        ),
        (
            {"platform_settings": {"overrides": {"enable_procedure_ids_from_client": True}}},
            "overrides.enable_procedure_ids_from_client",
        ),
        (
            {"conversation_config": {"conversation": {"max_duration_seconds": 3601}}},
            "conversation.max_duration_seconds",
        ),
        (
            {
                "conversation_config": {
                    "conversation": {"client_events": [event for event in CLIENT_EVENTS if event != "user_transcript"]}
                }
            },
            "conversation.client_events.user_transcript",
        ),
        (
            {
                "conversation_config": {
                    "conversation": {"client_events": [event for event in CLIENT_EVENTS if event != "agent_response"]}
                }
            },
            "conversation.client_events.agent_response",
        ),
    ],
)
async def test_a_protection_that_was_taken_away_is_drift_to_refuse(
    connect: Connect, engine_url: str, spec: AgentSpec, change: dict[str, Any], field: str
) -> None:
    platform = connect(engine_url)
    agent_id = await platform.create_agent(spec)

    await patch(engine_url, agent_id, change)

    drift = await platform.drift(agent_id, spec)
    assert drift == (field,)
    assert lacking(drift) == [field]


async def test_other_changes_are_drift_but_take_no_protection_away(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    platform = connect(engine_url)
    agent_id = await platform.create_agent(spec)
    no_text = {"overrides": {"conversation_config_override": {"conversation": {"text_only": False}}}}
    config = {
        "tts": {"speed": 1.1},
        "turn": {"turn_eagerness": "eager", "silence_end_call_timeout": 5},
        "conversation": {"client_events": [event for event in CLIENT_EVENTS if event != "agent_response_correction"]},
    }
    settings = {**no_text, "queueing_config": {"enabled": True}}

    await patch(
        engine_url,
        agent_id,
        {"conversation_config": config, "platform_settings": settings, "tags": ["oneiro"]},
    )

    drift = await platform.drift(agent_id, spec)
    assert drift == (
        "conversation.client_events.agent_response_correction",
        "conversation.text_only",
        "queueing_config.enabled",
        "tags",
        "tts.speed",
        "turn.silence_end_call_timeout",
        "turn.turn_eagerness",
    )
    assert lacking(drift) == []


async def test_bounds_that_are_shorter_and_frames_beside_ours_take_no_protection_away(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    platform = connect(engine_url)
    agent_id = await platform.create_agent(spec)
    config = {"conversation": {"max_duration_seconds": 180, "client_events": [*CLIENT_EVENTS, "vad_score"]}}

    await patch(
        engine_url,
        agent_id,
        {"conversation_config": config, "platform_settings": {"privacy": {"retention_days": 1}}},
    )

    drift = await platform.drift(agent_id, spec)
    assert drift == (
        "conversation.client_events",
        "conversation.max_duration_seconds.shorter",
        "privacy.retention_days.shorter",
    )
    assert lacking(drift) == []


async def test_agents_are_listed_by_tag_and_voices_by_being_designed(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    platform = connect(engine_url)
    wanted = await platform.create_agent(spec)
    await platform.create_agent(replace(spec, tag="other"))
    voice_id = await platform.design_voice(name="Carl", description=DESCRIPTION, sample=SAMPLE)

    [agent], following = await platform.list_agents(spec.tag)
    [voice], last = await platform.list_voices()

    assert (agent.id, agent.tags, agent.called) == (wanted, ("oneiro", spec.tag), False)
    assert (voice.id, voice.name) == (voice_id, "Carl")
    assert (following, last) == (None, None)
    assert agent.created_at is not None
    assert voice.created_at is not None


async def test_a_voice_can_be_deleted_twice(connect: Connect, engine_url: str) -> None:
    platform = connect(engine_url)
    voice_id = await platform.design_voice(name="Carl", description=DESCRIPTION, sample=SAMPLE)

    await platform.delete_voice(voice_id)
    await platform.delete_voice(voice_id)

    assert await platform.list_voices() == ([], None)


async def test_white_space_order_and_rounding_are_no_drift(connect: Connect, engine_url: str, spec: AgentSpec) -> None:
    platform = connect(engine_url)
    agent_id = await platform.create_agent(spec)
    config = {
        "agent": {"prompt": {"prompt": spec.system_prompt + "\n", "temperature": 0.70000000001}},
        "conversation": {"client_events": sorted(CLIENT_EVENTS)},
    }

    await patch(engine_url, agent_id, {"conversation_config": config, "tags": [spec.tag, "oneiro"]})

    assert await platform.drift(agent_id, spec) == ()


async def test_an_agent_is_found_by_its_tag_among_others(connect: Connect, engine_url: str, spec: AgentSpec) -> None:
    platform = connect(engine_url)
    wanted = await platform.create_agent(spec)
    for number in range(3):
        await platform.create_agent(replace(spec, tag=f"other-{number}"))

    assert await platform.find_agent(spec.tag) == wanted
    assert await platform.find_agent("other-1") not in {None, wanted}
    assert await platform.find_agent("nobody") is None


async def test_a_signed_url_opens_within_fifteen_minutes_and_is_new_each_time(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    platform = connect(engine_url)
    agent_id = await platform.create_agent(spec)

    first, second = await platform.signed_url(agent_id), await platform.signed_url(agent_id)

    assert first.expires_at == datetime(2026, 11, 23, 12, 15, tzinfo=UTC)
    assert urlsplit(first.url).scheme == "ws"
    query = parse_qs(urlsplit(first.url).query)
    assert query["agent_id"] == [agent_id]
    assert query["conversation_signature"] != parse_qs(urlsplit(second.url).query)["conversation_signature"]


async def test_an_agent_that_the_platform_does_not_know_is_lacking(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    platform = connect(engine_url)

    with pytest.raises(PlatformLacks):
        await platform.signed_url("agent_gone")
    with pytest.raises(PlatformLacks):
        await platform.drift("agent_gone", spec)


async def test_an_agent_can_be_deleted_twice(connect: Connect, engine_url: str, spec: AgentSpec) -> None:
    platform = connect(engine_url)
    agent_id = await platform.create_agent(spec)

    await platform.delete_agent(agent_id)
    await platform.delete_agent(agent_id)

    assert await platform.find_agent(spec.tag) is None


async def test_a_designed_voice_is_kept_and_tuned(connect: Connect, engine_url: str) -> None:
    platform = connect(engine_url)

    voice_id = await platform.design_voice(name="Carl", description=DESCRIPTION, sample=SAMPLE)
    await platform.tune_voice(
        voice_id, VoiceTuning(stability=0.85, similarity_boost=0.75, style=0.3, use_speaker_boost=True)
    )

    voice = await read(engine_url, f"/v1/voices/{voice_id}")
    settings = await read(engine_url, f"/v1/voices/{voice_id}/settings")
    assert voice["description"] == DESCRIPTION
    assert (settings["style"], settings["use_speaker_boost"]) == (0.3, True)


async def test_a_sample_that_is_too_short_is_refused_with_the_field(connect: Connect, engine_url: str) -> None:
    with pytest.raises(PlatformRefused, match=r"body\.text"):
        await connect(engine_url).design_voice(name="Carl", description=DESCRIPTION, sample="Too short.")


async def test_a_wrong_key_is_refused_and_not_repeated(connect: Connect, engine_url: str, spec: AgentSpec) -> None:
    with pytest.raises(PlatformRefused) as caught:
        await connect(engine_url, api_key="sk_wrong").create_agent(spec)

    assert "401" in caught.value.detail
    assert not caught.value.retryable
    assert "sk_wrong" not in caught.value.detail


async def test_calls_are_observed_by_name_and_outcome(connect: Connect, engine_url: str, spec: AgentSpec) -> None:
    seen: list[tuple[str, str]] = []
    platform = connect(engine_url, observe=lambda *told: seen.append(told[:2]))

    agent_id = await platform.create_agent(spec)
    await asyncio.gather(platform.signed_url(agent_id), platform.signed_url("agent_gone"), return_exceptions=True)

    assert sorted(seen) == [("create_agent", "ok"), ("signed_url", "ok"), ("signed_url", "platform_lacks")]


async def test_a_call_that_was_cancelled_is_not_observed_as_one_that_went_well(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    seen: list[tuple[str, str]] = []
    platform = connect(engine_url, observe=lambda *told: seen.append(told[:2]))

    asked = asyncio.create_task(platform.create_agent(spec))
    await asyncio.sleep(0)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)

    assert seen == [("create_agent", "cancelled")]
