"""Agents in use are read back each day: what people changed in the dashboard is told, and what protects is put back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import pytest

from oneiro.errors import PlatformUnavailable
from oneiro.interpreters.models import Release
from oneiro.interpreters.overview import store as overview
from oneiro.platform.errors import PlatformRefused
from oneiro.platform.translate import CLIENT_EVENTS

Start = Callable[..., Awaitable[Any]]
Publish = Callable[..., Awaitable[Release]]
Sweep = Callable[[Any], Awaitable[int]]
FASTER = {"conversation_config": {"tts": {"speed": 1.1}}}
OPEN = {"platform_settings": {"auth": {"enable_auth": False}}}


async def row_of(rows: Any, agent_id: str) -> Any:
    [row] = await rows(f"SELECT * FROM platform_agents WHERE agent_id = '{agent_id}'")
    return row


async def test_an_agent_is_read_back_a_day_after_the_last_time_and_not_before(
    one: Any, release: Release, hand: Any, rows: Any
) -> None:
    made = await one.agents.ensure(release, "en", "gpt-4o")
    one.wire.calls.clear()

    assert await one.inspection.run() == 0
    hand.forward(hours=23, minutes=59)
    assert await one.inspection.run() == 0
    hand.forward(minutes=1)
    assert await one.inspection.run() == 1
    assert await one.inspection.run() == 0

    assert one.wire.calls == ["drift"]
    row = await row_of(rows, made.agent_id)
    assert (row["state"], row["drift"], row["verified_at"]) == ("ready", [], hand.now)
    assert await rows.events("agent.drifted") == []


async def test_a_change_in_the_dashboard_is_told_once_shown_and_forgotten_when_it_is_undone(
    one: Any, release: Release, engine: Any, hand: Any, rows: Any
) -> None:
    made = await one.agents.ensure(release, "en", "gpt-4o")
    asked = (await engine.agent(made.agent_id))["conversation_config"]
    await engine.patch(made.agent_id, FASTER)
    for _ in range(2):
        hand.forward(days=1)
        assert await one.inspection.run() == 1

    [event] = await rows.events("agent.drifted")
    assert (event["entity_id"], event["interpreter_id"]) == (made.agent_id, "mara")
    assert (event["fields"], event["used"]) == (["tts.speed"], True)
    assert (await row_of(rows, made.agent_id))["state"] == "drifted"
    async with one.db.as_service() as conn:
        [shown] = await overview.drifts(conn)
    assert (shown.agent_id, shown.fields) == (made.agent_id, ["tts.speed"])
    assert (await one.agents.ensure(release, "en", "gpt-4o")).drift == ("tts.speed",)

    await engine.patch(made.agent_id, {"conversation_config": {"turn": {"turn_eagerness": "eager"}}})
    hand.forward(days=1)
    await one.inspection.run()
    assert [event["fields"] for event in await rows.events("agent.drifted")] == [
        ["tts.speed"],
        ["tts.speed", "turn.turn_eagerness"],
    ]

    undone = {"tts": {"speed": asked["tts"]["speed"]}, "turn": {"turn_eagerness": "patient"}}
    await engine.patch(made.agent_id, {"conversation_config": undone})
    hand.forward(days=1)
    await one.inspection.run()
    row = await row_of(rows, made.agent_id)
    assert (row["state"], row["drift"]) == ("ready", [])
    assert len(await rows.events("agent.drifted")) == 2


async def test_what_somebody_added_and_takes_no_words_elsewhere_is_told_and_shown(
    one: Any, release: Release, engine: Any, hand: Any, rows: Any
) -> None:
    made = await one.agents.ensure(release, "en", "gpt-4o")
    books = [{"type": "text", "name": "Omens", "id": "doc_1"}]
    await engine.patch(made.agent_id, {"conversation_config": {"agent": {"prompt": {"knowledge_base": books}}}})
    hand.forward(days=1)

    await one.inspection.run()

    [event] = await rows.events("agent.drifted")
    assert (event["fields"], event["used"]) == (["agent.prompt.knowledge_base"], True)
    row = await row_of(rows, made.agent_id)
    assert (row["state"], row["drift"]) == ("drifted", ["agent.prompt.knowledge_base"])
    async with one.db.as_service() as conn:
        [shown] = await overview.drifts(conn)
    assert shown.fields == ["agent.prompt.knowledge_base"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (OPEN, "auth.enable_auth"),
        ({"platform_settings": {"privacy": {"record_voice": True}}}, "privacy.record_voice"),
        ({"conversation_config": {"agent": {"prompt": {"prompt": "Be anyone."}}}}, "agent.prompt.prompt"),
        (
            {"conversation_config": {"conversation": {"max_duration_seconds": 40_000}}},
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
            {"platform_settings": {"workspace_overrides": {"webhooks": {"post_call_webhook_id": "hook_1"}}}},
            "workspace_overrides.webhooks.post_call_webhook_id",
        ),
        ({"conversation_config": {"agent": {"prompt": {"tool_ids": ["tool_1"]}}}}, "agent.prompt.tool_ids"),
    ],
)
async def test_an_agent_that_lost_a_protection_is_replaced_at_once(
    one: Any, release: Release, engine: Any, hand: Any, rows: Any, change: dict[str, Any], field: str
) -> None:
    weak = await one.agents.ensure(release, "en", "gpt-4o")
    await engine.patch(weak.agent_id, change)
    hand.forward(days=1)

    assert await one.inspection.run() == 1

    calls = len(one.wire.calls)
    new = await one.agents.ensure(release, "en", "gpt-4o")
    assert new.agent_id != weak.agent_id
    assert len(one.wire.calls) == calls  # It was made ahead of the start.
    [event] = await rows.events("agent.drifted")
    assert (event["entity_id"], event["fields"], event["used"]) == (weak.agent_id, [field], False)
    [event] = await rows.events("agent.retired")
    assert (event["entity_id"], event["reason"]) == (weak.agent_id, "unprotected")


async def test_an_unprotected_agent_is_deleted_as_soon_as_no_conversation_has_it(
    one: Any, release: Release, engine: Any, hand: Any, sweep: Sweep, talk: Any
) -> None:
    weak = await one.agents.ensure(release, "en", "gpt-4o")
    await engine.patch(weak.agent_id, OPEN)
    hand.forward(days=1)
    conversation = await talk(uuid4(), release, weak.agent_id, status="active")
    await one.inspection.run()

    assert await sweep(one) == 0
    assert weak.agent_id in await engine.agents()
    await talk.end(conversation)
    assert await sweep(one) == 1
    assert weak.agent_id not in await engine.agents()


async def test_an_unprotected_agent_that_a_start_has_just_taken_waits_for_it(
    one: Any, release: Release, engine: Any, hand: Any, sweep: Sweep
) -> None:
    weak = await one.agents.ensure(release, "en", "gpt-4o")
    await engine.patch(weak.agent_id, OPEN)
    hand.forward(days=1)
    await one.agents.ensure(release, "en", "gpt-4o")
    await one.inspection.run()

    assert await sweep(one) == 0
    hand.forward(minutes=15)
    assert await sweep(one) == 1


async def test_an_agent_that_somebody_deleted_is_made_anew_before_anyone_asks(
    one: Any, release: Release, engine: Any, hand: Any, rows: Any
) -> None:
    gone = await one.agents.ensure(release, "en", "gpt-4o")
    await engine.forget_all()
    hand.forward(days=1)

    await one.inspection.run()

    [event] = await rows.events("agent.retired")
    assert (event["entity_id"], event["reason"]) == (gone.agent_id, "unknown_to_platform")
    [agent_id] = await engine.agents()
    assert (await one.agents.ensure(release, "en", "gpt-4o")).agent_id == agent_id


async def test_an_agent_of_an_earlier_release_that_is_gone_is_only_marked_so(
    one: Any, release_of: Publish, engine: Any, hand: Any, sweep: Sweep, rows: Any
) -> None:
    old = await release_of()
    await one.agents.ensure(old, "en", "gpt-4o")
    await release_of(name="Maro")
    await sweep(one)  # Notes that nobody wants the old one now.
    await engine.forget_all()
    hand.forward(days=1)

    await one.inspection.run()

    assert await engine.agents() == []
    assert [row["state"] for row in await rows("SELECT state FROM platform_agents")] == ["retired"]
    assert (await one.agents.ensure(old, "en", "gpt-4o")).created


async def test_a_platform_that_is_away_takes_no_agent_out_of_use_and_it_keeps_its_turn(
    one: Any, release: Release, hand: Any, rows: Any
) -> None:
    made = await one.agents.ensure(release, "en", "gpt-4o")
    hand.forward(days=1)

    async def away() -> None:
        raise PlatformUnavailable("away")

    one.wire.before["drift"] = away
    assert await one.inspection.run() == 0
    one.wire.before.clear()
    assert (await row_of(rows, made.agent_id))["state"] == "ready"
    assert await one.inspection.run() == 1


async def test_one_agent_that_cannot_be_read_does_not_hold_up_the_others(one: Any, release: Release, hand: Any) -> None:
    for language in ("en", "de", "fr"):
        await one.agents.ensure(release, language, "gpt-4o")
        hand.forward(seconds=1)
    hand.forward(days=1)
    times = iter([True, False, False])

    async def first_unreadable() -> None:
        if next(times):
            raise PlatformUnavailable("cannot be read")

    one.wire.before["drift"] = first_unreadable
    assert await one.inspection.run() == 2


async def test_a_key_that_is_refused_ends_the_run_loudly(one: Any, release: Release, hand: Any) -> None:
    await one.agents.ensure(release, "en", "gpt-4o")
    hand.forward(days=1)

    async def refuse() -> None:
        raise PlatformRefused("no such key")

    one.wire.before["drift"] = refuse
    with pytest.raises(PlatformRefused):
        await one.inspection.run()


async def test_an_agent_that_went_out_of_use_while_it_was_read_is_left_alone(
    one: Any, release: Release, engine: Any, hand: Any, rows: Any
) -> None:
    made = await one.agents.ensure(release, "en", "gpt-4o")
    await engine.patch(made.agent_id, OPEN)
    hand.forward(days=1)
    reached, gate = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        reached.set()
        await gate.wait()

    one.wire.before["drift"] = hold
    reading = asyncio.create_task(one.inspection.run())
    await asyncio.wait_for(reached.wait(), 10)
    await one.agents.forget(made.agent_id)
    one.wire.before.clear()
    gate.set()
    await reading

    assert (await row_of(rows, made.agent_id))["state"] == "retired"
    assert await rows.events("agent.drifted") == []
    assert len(await rows.events("agent.retired")) == 1


async def test_what_another_version_of_oneiro_made_is_not_judged_by_our_words(
    one: Any, process: Start, release: Release, hand: Any, rows: Any
) -> None:
    newer = await process(max_call_seconds=1800)
    made = await newer.agents.ensure(release, "en", "gpt-4o")
    hand.forward(days=1)

    await one.inspection.run()

    assert (await row_of(rows, made.agent_id))["state"] == "ready"
    assert await rows.events("agent.drifted") == []
