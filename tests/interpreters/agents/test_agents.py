"""Provisioning: once, by one, and again when the platform forgot."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from oneiro.errors import AgentCreationError, PlatformUnavailable, ValidationError
from oneiro.interpreters.agents.models import session_key
from oneiro.interpreters.agents.workshop import SPARE_SECONDS, WORK_SECONDS
from oneiro.interpreters.models import Release
from oneiro.interpreters.releases import activate
from oneiro.platform.errors import PlatformLacks, PlatformRefused

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


async def test_an_agent_that_the_platform_forgot_is_made_anew_once(
    one: Any, process: Start, release: Release, engine: Any, rows: Any
) -> None:
    two = await process()
    lost = (await one.agents.ensure(release, "en", "gpt-4o")).agent_id
    await engine.forget_all()

    async def start(each: Any) -> str:
        agent_id: str = (await each.agents.ensure(release, "en", "gpt-4o")).agent_id
        try:
            await each.wire.signed_url(agent_id)
        except PlatformLacks:
            await each.agents.forget(agent_id)
            agent_id = (await each.agents.ensure(release, "en", "gpt-4o")).agent_id
            await each.wire.signed_url(agent_id)
        return agent_id

    found = await asyncio.gather(*(start(each) for _ in range(10) for each in (one, two)))

    assert len(set(found)) == 1
    assert await engine.agents() == [found[0]]
    assert found[0] != lost
    [event] = await rows.events("agent.retired")
    assert (event["entity_id"], event["reason"]) == (lost, "unknown_to_platform")


async def test_an_agent_whose_answer_was_lost_is_adopted(
    one: Any, process: Start, release: Release, engine: Any, rows: Any
) -> None:
    async def lose(agent_id: str) -> None:
        raise PlatformUnavailable("The answer was lost on the way.")

    one.wire.after["create_agent"] = lose
    with pytest.raises(PlatformUnavailable):
        await one.agents.ensure(release, "en", "gpt-4o")
    two = await process()

    made = await two.agents.ensure(release, "en", "gpt-4o")

    assert two.wire.calls == ["find_agent", "drift"]
    assert await engine.agents() == [made.agent_id]
    [event] = await rows.events("agent.provisioned")
    assert event["adopted"] is True
    assert [row["code"] for row in await rows(ATTEMPTS)] == ["platform_unavailable", None]


async def test_the_row_of_a_process_that_died_is_taken_over_when_its_lease_lapses(
    one: Any, process: Start, release: Release, engine: Any, rows: Any, hand: Any
) -> None:
    created: list[str] = []
    dead = asyncio.Event()

    async def die(agent_id: str) -> None:
        created.append(agent_id)
        dead.set()
        await asyncio.Event().wait()

    one.wire.after["create_agent"] = die
    task = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(dead.wait(), 10)
    two = await process()
    waiting = asyncio.create_task(two.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait({waiting}, timeout=0.3)
    assert not waiting.done()
    hand.forward(seconds=WORK_SECONDS + SPARE_SECONDS)

    made = await waiting

    assert [made.agent_id] == created == await engine.agents()
    assert two.wire.calls == ["find_agent", "drift"]
    # The first one wakes from the dead and finds its lease gone: it changes nothing.
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    [row] = await rows(LIVE)
    assert (row["state"], row["agent_id"]) == ("ready", made.agent_id)


async def test_who_finishes_after_losing_the_lease_uses_the_agent_of_the_other(
    one: Any, process: Start, release: Release, hand: Any, rows: Any
) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def stall() -> None:
        reached.set()
        await gate.wait()

    one.wire.before["create_agent"] = stall
    slow = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(reached.wait(), 10)
    hand.forward(seconds=WORK_SECONDS + SPARE_SECONDS)
    two = await process()
    quick = await two.agents.ensure(release, "en", "gpt-4o")
    gate.set()

    assert (await slow).agent_id == quick.agent_id
    assert len(await rows.events("agent.provisioned")) == 1


async def test_a_cancelled_start_leaves_the_row_to_the_next_at_once(one: Any, process: Start, release: Release) -> None:
    reached = asyncio.Event()

    async def stall() -> None:
        reached.set()
        await asyncio.Event().wait()

    one.wire.before["create_agent"] = stall
    task = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    two = await process()
    assert (await two.agents.ensure(release, "en", "gpt-4o")).created


async def test_those_who_wait_for_a_failure_fail_with_it_and_ask_nothing(
    one: Any, process: Start, release: Release
) -> None:
    reached, gate = asyncio.Event(), asyncio.Event()

    async def refuse() -> None:
        reached.set()
        await gate.wait()
        raise PlatformRefused("no such model")

    one.wire.before["create_agent"] = refuse
    two = await process()
    first = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(reached.wait(), 10)
    others = [asyncio.create_task(two.agents.ensure(release, "en", "gpt-4o")) for _ in range(5)]
    await asyncio.wait(others, timeout=2.0)
    gate.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)

    assert all(isinstance(result, AgentCreationError) and not result.retryable for result in results)
    assert two.wire.calls == []


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


Sweep = Callable[[Any], Awaitable[int]]


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
