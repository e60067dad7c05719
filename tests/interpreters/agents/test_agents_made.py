"""Provisioning: an agent is made once, by one, read back, and only used with what protects."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oneiro.errors import AgentCreationError, PlatformUnavailable, ValidationError
from oneiro.interpreters.models import Release

Start = Callable[..., Awaitable[Any]]
Publish = Callable[..., Awaitable[Release]]
ATTEMPTS = (
    "SELECT event_type, event_data ->> 'code' AS code FROM system_events "
    "WHERE event_type IN ('agent.provisioned', 'agent.provision_failed') ORDER BY seq"
)
LIVE = "SELECT * FROM platform_agents WHERE state <> 'retired'"


async def test_an_unknown_agent_is_made_read_back_and_recorded(
    one: Any, release: Release, engine: Any, rows: Any
) -> None:
    made = await one.agents.ensure(release, "en", "gpt-4o")

    assert made.created
    assert made.upstream_calls == 2
    assert one.wire.calls == ["create_agent", "drift"]
    assert await engine.agents() == [made.agent_id]
    agent = await engine.agent(made.agent_id)
    prompt = agent["conversation_config"]["agent"]["prompt"]
    assert prompt["prompt"].startswith("You are Mara.\n{{dream_context}}")
    assert (prompt["temperature"], prompt["max_tokens"], prompt["llm"]) == (0.7, 150, "gpt-4o")
    [row] = await rows(LIVE)
    assert (row["state"], row["agent_id"], row["drift"], row["lease_owner"]) == ("ready", made.agent_id, [], None)
    [event] = await rows.events("agent.provisioned")
    assert (event["entity_id"], event["release"], event["language"]) == (made.agent_id, 1, "en")
    assert event["ms"] >= 0
    assert event["voice_id"] == "21m00Tcm4TlvDq8ikWAM"
    [(interpreter, seconds, success)] = one.created
    assert (interpreter, success) == ("mara", True)
    assert 0 < seconds < 60


async def test_a_known_agent_costs_no_call(one: Any, process: Start, release: Release) -> None:
    made = await one.agents.ensure(release, "en", "gpt-4o")
    other = await process()

    again, elsewhere = (
        await one.agents.ensure(release, "en", "gpt-4o"),
        await other.agents.ensure(release, "en", "gpt-4o"),
    )

    assert {again.agent_id, elsewhere.agent_id} == {made.agent_id}
    assert not again.created
    assert again.upstream_calls == elsewhere.upstream_calls == 0
    assert again.prompt_sha256 == made.prompt_sha256
    assert other.wire.calls == []


async def test_each_release_language_and_model_has_its_own(one: Any, release_of: Publish, engine: Any) -> None:
    first, second = await release_of(), await release_of(name="Mara II")
    wanted = [(first, "en", "gpt-4o"), (first, "de", "gpt-4o"), (first, "en", "gpt-4o-mini"), (second, "en", "gpt-4o")]

    made = [(await one.agents.ensure(*each)).agent_id for each in wanted]

    assert len(set(made)) == 4
    assert sorted(await engine.agents()) == sorted(made)


async def test_forty_starts_in_two_processes_make_one_agent(
    one: Any, process: Start, release: Release, engine: Any, rows: Any
) -> None:
    two = await process()
    gate = asyncio.Event()

    async def held() -> None:
        await asyncio.wait_for(gate.wait(), 10)

    one.wire.before["create_agent"] = two.wire.before["create_agent"] = held
    starts = [
        asyncio.create_task(each.agents.ensure(release, "en", "gpt-4o")) for _ in range(20) for each in (one, two)
    ]
    while not one.wire.calls + two.wire.calls:  # noqa: ASYNC110 - waits for another task's call to be noted.
        await asyncio.sleep(0.01)
    gate.set()
    made = await asyncio.gather(*starts)

    assert len({each.agent_id for each in made}) == 1
    assert [each.created for each in made].count(True) == 1
    assert sorted(one.wire.calls + two.wire.calls) == ["create_agent", "drift"]
    assert await engine.agents() == [made[0].agent_id]
    assert len(await rows.events("agent.provisioned")) == 1


async def test_no_transaction_is_open_while_the_platform_is_asked(one: Any, release: Release, rows: Any) -> None:
    open_then: list[dict[str, Any]] = []

    async def look() -> None:
        open_then.extend(
            await rows(
                "SELECT state, query FROM pg_stat_activity WHERE usename = 'oneiro_service' "
                "AND datname = current_database() AND xact_start IS NOT NULL"
            )
        )

    one.wire.before["create_agent"] = one.wire.before["drift"] = look

    await one.agents.ensure(release, "en", "gpt-4o")

    assert open_then == []


async def test_a_refusal_is_told_with_the_platforms_words_and_counted(one: Any, release: Release, rows: Any) -> None:
    with pytest.raises(AgentCreationError, match="llm") as caught:
        await one.agents.ensure(release, "en", "no-such-model")

    assert not caught.value.retryable
    [event] = await rows.events("agent.provision_failed")
    assert event.pop("ms") >= 0
    assert event == {
        "entity_id": "mara",
        "interpreter_id": "mara",
        "release": 1,
        "language": "en",
        "model": "no-such-model",
        "code": "agent_creation_failed",
    }
    assert [(interpreter, success) for interpreter, _, success in one.created] == [("mara", False)]
    assert await rows("SELECT 1 FROM platform_agents WHERE lease_owner IS NOT NULL") == []


async def test_a_platform_that_is_away_is_told_so_and_the_next_start_tries_again(
    one: Any, release: Release, rows: Any
) -> None:
    async def away() -> None:
        raise PlatformUnavailable("away", retry_after=3.0)

    one.wire.before["create_agent"] = away
    with pytest.raises(PlatformUnavailable) as caught:
        await one.agents.ensure(release, "en", "gpt-4o")
    one.wire.before.clear()

    assert caught.value.retry_after == 3.0
    assert (await one.agents.ensure(release, "en", "gpt-4o")).created
    assert [row["code"] for row in await rows(ATTEMPTS)] == ["platform_unavailable", None]
    assert [success for _, _, success in one.created] == [False, True]


async def test_drift_in_a_voice_is_recorded_and_the_agent_used(
    one: Any, release: Release, engine: Any, rows: Any
) -> None:
    async def change(agent_id: str) -> None:
        await engine.patch(agent_id, {"conversation_config": {"tts": {"speed": 1.1}}})

    one.wire.after["create_agent"] = change

    made = await one.agents.ensure(release, "en", "gpt-4o")

    [row] = await rows(LIVE)
    assert (row["state"], row["drift"]) == ("drifted", ["tts.speed"])
    [event] = await rows.events("agent.drifted")
    assert (event["entity_id"], event["fields"], event["used"]) == (made.agent_id, ["tts.speed"], True)
    again = await one.agents.ensure(release, "en", "gpt-4o")
    assert (again.agent_id, again.drift) == (made.agent_id, made.drift) == (made.agent_id, ("tts.speed",))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"auth": {"enable_auth": False}}, "auth.enable_auth"),
        ({"privacy": {"record_voice": True}}, "privacy.record_voice"),
        ({"privacy": {"retention_days": -1}}, "privacy.retention_days"),
        (
            {"overrides": {"conversation_config_override": {"agent": {"prompt": {"prompt": True}}}}},
            "overrides.conversation_config_override.agent.prompt.prompt",
        ),
    ],
)
async def test_an_agent_without_its_protection_is_refused_recorded_and_deleted(
    one: Any, release: Release, engine: Any, rows: Any, change: dict[str, Any], field: str
) -> None:
    async def weaken(agent_id: str) -> None:
        await engine.patch(agent_id, {"platform_settings": change})

    one.wire.after["create_agent"] = weaken

    with pytest.raises(AgentCreationError, match=field):
        await one.agents.ensure(release, "en", "gpt-4o")

    assert await engine.agents() == []
    [event] = await rows.events("agent.drifted")
    assert (event["fields"], event["used"]) == ([field], False)
    assert await rows("SELECT 1 FROM platform_agents WHERE agent_id IS NOT NULL") == []
    one.wire.after.clear()
    assert (await one.agents.ensure(release, "en", "gpt-4o")).created


async def test_a_refused_agent_that_could_not_be_deleted_is_not_adopted(
    one: Any, release: Release, engine: Any
) -> None:
    async def weaken(agent_id: str) -> None:
        await engine.patch(agent_id, {"platform_settings": {"auth": {"enable_auth": False}}})

    async def away() -> None:
        raise PlatformUnavailable("away")

    one.wire.after["create_agent"], one.wire.before["delete_agent"] = weaken, away
    with pytest.raises(AgentCreationError):
        await one.agents.ensure(release, "en", "gpt-4o")
    [weak] = await engine.agents()
    one.wire.after.clear()
    one.wire.before.clear()

    made = await one.agents.ensure(release, "en", "gpt-4o")

    assert made.agent_id != weak
    assert await engine.agents() == [made.agent_id]


async def test_a_release_without_a_system_prompt_is_refused_before_the_platform_is_asked(
    one: Any, release_of: Publish
) -> None:
    with pytest.raises(ValidationError, match="system prompt"):
        await one.agents.ensure(await release_of(prompts=[]), "en", "gpt-4o")
    assert one.wire.calls == []
