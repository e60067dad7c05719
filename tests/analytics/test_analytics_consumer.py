"""`conversation_analytics`: one row a conversation, whatever comes how often and how late."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from oneiro.analytics.conversations import store
from oneiro.analytics.conversations.subscribers import CONSUMER, compute
from oneiro.database.pool import Connection
from oneiro.events.consumers import Consumer
from oneiro.events.models import Event

House = Any
Talk = Any
Look = Callable[..., Awaitable[list[dict[str, Any]]]]


async def test_an_end_makes_one_row_with_its_numbers(house: House, talk: Callable[..., Talk]) -> None:
    user_id = await house.dreamer()
    row = await house.row(await house.ended(user_id, talk(rating=None)))
    assert row["user_id"] == user_id
    assert (row["session_duration_seconds"], row["message_count"], row["completion_reason"]) == (600, 3, "user_ended")
    assert row["user_satisfaction_score"] is None
    assert row["response_time_ms"] == {"p50": 2000, "p95": 2000, "clock": "message_times"}
    assert "family" in row["topics_discussed"]
    assert row["sentiment_analysis"]["overall"] == "negative"
    assert row["snapshot"]["technical"]["connects"] == 1


async def test_events_that_come_again_change_nothing(house: House, talk: Callable[..., Talk], look: Look) -> None:
    conversation_id = await house.ended(await house.dreamer(), talk())
    before = await house.row(conversation_id)
    await look("UPDATE event_cursors SET position = 0 WHERE consumer = 'analytics'")
    await house.consume()
    assert await house.row(conversation_id) == before
    assert (await look("SELECT count(*) AS n FROM conversation_analytics"))[0]["n"] == 1


async def test_a_conversation_that_goes_on_has_no_row(house: House, talk: Callable[..., Talk], look: Look) -> None:
    conversation_id = await house.write(await house.dreamer(), talk(status="active"))
    await house.tell(conversation_id, "conversation.message_received", sender="user")
    await house.consume()
    assert await look("SELECT 1 FROM conversation_analytics") == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_late_lines_ratings_and_corrections_are_in_the_row(
    house: House, talk: Callable[..., Talk], look: Look, order: tuple[int, int]
) -> None:
    conversation_id = await house.ended(await house.dreamer(), talk())
    await house.say(conversation_id, "user", "But then I was happy and safe at home.", 20)
    await look("UPDATE conversations SET rating = 4 WHERE id = %s", conversation_id)
    await look("UPDATE messages SET content = 'Afraid', original_content = content WHERE content = 'Afraid of what?'")
    told = ("conversation.reconciled", "conversation.rated")
    for place in order:
        await house.tell(conversation_id, told[place], score=4)
        await house.consume()
    row = await house.row(conversation_id)
    assert (row["message_count"], row["user_satisfaction_score"]) == (4, 4)
    assert {"home", "family"} <= set(row["topics_discussed"])
    assert row["snapshot"]["messages"]["corrected"] == 1
    assert row["counts"]["rating:4"] == 1


async def test_what_was_visible_at_once_is_computed_once(house: House, talk: Callable[..., Talk], look: Look) -> None:
    computed: list[int] = []

    async def noted(conn: Connection, event: Event) -> None:
        known = await store.known(conn, event.conversation_id) if event.conversation_id else None
        if known is not None and event.position > known.computed_to:
            computed.append(event.position)
        await compute(conn, event)

    conversation_id = await house.write(await house.dreamer(), talk())
    await house.tell(conversation_id, "conversation.ended", reason="user_ended")
    for _ in range(20):
        await house.tell(conversation_id, "conversation.message_received", sender="user")
    await house.tell(conversation_id, "conversation.reconciled", filled=20)
    await house.consume(Consumer("analytics", CONSUMER.types, noted, together=20))
    assert len(computed) == 1
    assert (await house.row(conversation_id))["message_count"] == 3


async def test_a_newer_computation_computes_anew_when_events_are_replayed(
    house: House, talk: Callable[..., Talk], look: Look
) -> None:
    conversation_id = await house.ended(await house.dreamer(), talk())
    await look("UPDATE conversation_analytics SET computed_by = 0, message_count = 99")
    await look("UPDATE event_cursors SET position = 0 WHERE consumer = 'analytics'")
    await house.consume()
    assert (await house.row(conversation_id))["message_count"] == 3


async def test_a_start_that_failed_is_a_row_outside_of_completion(house: House, talk: Callable[..., Talk]) -> None:
    user_id = await house.dreamer()
    row = await house.row(await house.ended(user_id, talk(status="failed", end_reason="never_connected", lines=())))
    assert (row["completion_reason"], row["session_duration_seconds"], row["counts"]) == (
        None,
        None,
        {"never_connected": 1},
    )


async def test_without_consent_her_words_are_not_read(house: House, talk: Callable[..., Talk]) -> None:
    row = await house.row(await house.ended(await house.dreamer(analytics=False), talk()))
    assert (row["topics_discussed"], row["sentiment_analysis"], row["counts_of_words"]) == (None, None, {})
    assert "words" not in row["snapshot"]
    assert row["message_count"] == 3


async def test_a_consent_that_is_taken_back_takes_with_it_what_was_read(
    house: House, talk: Callable[..., Talk], look: Look, database: Any
) -> None:
    user_id, other = await house.dreamer(), await house.dreamer()
    hers, theirs = await house.ended(user_id, talk()), await house.ended(other, talk())
    await look("DELETE FROM rollups_dirty")
    claims = {"role": "authenticated", "sub": str(user_id)}
    async with database.as_dreamer(claims) as conn:  # As she may, past our API.
        await conn.execute(
            "UPDATE profiles SET consents = %s WHERE user_id = %s",
            (Jsonb({"voice": False, "memory": False, "analytics": False}), user_id),
        )
    row = await house.row(hers)
    assert (row["topics_discussed"], row["sentiment_analysis"], row["counts_of_words"]) == (None, None, {})
    assert "words" not in row["snapshot"]
    assert (await house.row(theirs))["topics_discussed"]
    assert len(await look("SELECT 1 FROM rollups_dirty")) == 1


async def test_a_consent_taken_back_while_words_are_read_waits_for_it(
    house: House, talk: Callable[..., Talk], look: Look, database: Any
) -> None:
    user_id = await house.dreamer()
    conversation_id = await house.write(user_id, talk())
    async with database.as_service() as conn:
        assert await store.hold(conn, conversation_id)
        taking_back = asyncio.ensure_future(
            look("UPDATE profiles SET consents = '{\"analytics\": false}' WHERE user_id = %s", user_id)
        )
        await asyncio.sleep(0.1)
        assert not taking_back.done()
    await taking_back


async def test_a_dreamer_sees_her_row_and_no_other(house: House, talk: Callable[..., Talk], database: Any) -> None:
    user_id = await house.dreamer()
    hers = await house.ended(user_id, talk())
    await house.ended(await house.dreamer(), talk())
    async with database.as_dreamer({"role": "authenticated", "sub": str(user_id)}) as conn:
        cursor = await conn.execute("SELECT conversation_id FROM conversation_analytics")
        assert await cursor.fetchall() == [(hers,)]
    for table in ("rollups_hourly", "rollups_dirty", "agent_metrics"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.as_dreamer({"role": "authenticated", "sub": str(user_id)}) as conn:
                await conn.execute(f"SELECT 1 FROM {table}")


async def test_a_failure_parks_the_event_and_touches_nothing_else(
    house: House, talk: Callable[..., Talk], look: Look
) -> None:
    broken = await house.write(await house.dreamer(), talk())
    whole = await house.write(await house.dreamer(), talk())
    await look("ALTER TABLE conversation_analytics ADD CONSTRAINT no_way CHECK (" + f"conversation_id <> '{broken}')")
    for conversation_id in (broken, whole):
        await house.tell(conversation_id, "conversation.ended", reason="user_ended")
    await house.consume()
    parked = await look("SELECT conversation_id, error FROM parked_events WHERE consumer = 'analytics'")
    assert [(row["conversation_id"], row["error"]) for row in parked] == [(broken, "CheckViolation")]
    assert (await house.row(whole))["message_count"] == 3
    states = await look("SELECT status FROM conversations")
    assert {row["status"] for row in states} == {"completed"}


async def test_a_conversation_that_was_deleted_is_passed_over(
    house: House, talk: Callable[..., Talk], look: Look
) -> None:
    conversation_id = await house.write(await house.dreamer(), talk())
    await house.tell(conversation_id, "conversation.ended", reason="user_ended")
    await look("DELETE FROM conversations WHERE id = %s", conversation_id)
    await house.consume()
    assert await look("SELECT 1 FROM conversation_analytics") == []
    assert await look("SELECT 1 FROM parked_events") == []


async def test_conversations_that_we_never_led_are_left_alone(
    house: House, talk: Callable[..., Talk], look: Look
) -> None:
    conversation_id = await house.write(await house.dreamer(), talk())
    await look("UPDATE conversations SET release_id = NULL WHERE id = %s", conversation_id)
    await house.tell(conversation_id, "conversation.ended", reason="user_ended")
    await house.consume()
    assert await look("SELECT 1 FROM conversation_analytics") == []


CREATED: dict[str, Any] = {"interpreter_id": "carl", "release": 1, "language": "en", "model": "gpt-4o", "ms": 812}


async def metrics(look: Look) -> list[tuple[Any, ...]]:
    rows = await look(
        "SELECT metric_type, agent_id, metric_value::float8 AS value, metadata FROM agent_metrics ORDER BY recorded_at"
    )
    return [(row["metric_type"], row["agent_id"], row["value"], row["metadata"]) for row in rows]


async def test_creations_cleanups_and_voices_are_measured_with_success_and_cause(house: House, look: Look) -> None:
    await house.tell_of("agent", "agent_7", "agent.provisioned", **CREATED, voice="default", voice_id="v1")
    await house.tell_of("interpreter", "carl", "agent.provision_failed", **CREATED, code="platform_unavailable")
    await house.tell_of("agent", "agent_7", "agent.retired", interpreter_id="carl", reason="outdated")
    await house.tell_of("agent", "agent_7", "agent.cleanup_failed", interpreter_id="carl", code="platform_refused")
    await house.tell_of("agent", "agent_7", "agent.retired", interpreter_id="carl", reason="deleted")
    await house.tell_of("voice", "v1", "voice.designed", interpreter_id="carl", ignored=[], adopted=False, ms=3000)
    await house.consume()
    await look("UPDATE event_cursors SET position = 0 WHERE consumer = 'agent_metrics'")
    await house.consume()

    about = {"release": 1, "language": "en", "model": "gpt-4o", "from_cache": False}
    assert await metrics(look) == [
        ("agent_creation", "agent_7", 812, {**about, "voice": "default", "voice_id": "v1", "success": True}),
        ("agent_creation", None, 812, {**about, "success": False, "error": "platform_unavailable"}),
        ("agent_cleanup", "agent_7", None, {"success": False, "error": "platform_refused"}),
        ("agent_cleanup", "agent_7", None, {"success": True, "reason": "deleted"}),
        ("voice_design", None, 3000, {"success": True, "voice_id": "v1", "ignored": [], "adopted": False}),
    ]


@pytest.mark.parametrize(("known", "hit"), [(True, True), (False, False), (None, False)])
async def test_a_start_that_needed_no_new_agent_is_a_cache_hit(
    house: House,
    talk: Callable[..., Talk],
    look: Look,
    known: bool | None,  # noqa: FBT001 - a case.
    hit: bool,  # noqa: FBT001 - a case.
) -> None:
    conversation_id = await house.write(await house.dreamer(), talk(status="active"))
    await house.tell(conversation_id, "conversation.started", upstream_calls=0, agent_known=known, ms=44)
    await house.consume()
    expected = [("agent_cache_hit", "agent_1", 44, {"success": True, "from_cache": True})] if hit else []
    assert await metrics(look) == expected


async def test_an_end_tells_of_completion_and_response_time(
    house: House, talk: Callable[..., Talk], look: Look
) -> None:
    await house.ended(await house.dreamer(), talk(end_reason="timeout"))
    found = {kind: (value, about) for kind, _, value, about in await metrics(look)}
    assert found == {
        "completion_rate": (0, {"success": False, "completion_reason": "timeout", "degraded": False}),
        "response_time": (2000, {"success": True, "clock": "message_times", "answers": 1, "p95": 2000}),
    }


async def test_what_comes_late_is_in_what_is_said_of_the_agent(
    house: House, talk: Callable[..., Talk], look: Look
) -> None:
    conversation_id = await house.ended(await house.dreamer(), talk())
    await house.say(conversation_id, "user", "A river.", 20)
    await house.say(conversation_id, "interpreter", "How wide?", 26)
    for _ in range(2):
        await house.tell(conversation_id, "conversation.reconciled", filled=2)
        await house.consume()
    found = await look(
        "SELECT metric_value::int AS p50, metadata FROM agent_metrics WHERE metric_type = 'response_time'"
    )
    assert [(row["p50"], row["metadata"]["p95"], row["metadata"]["answers"]) for row in found] == [(2000, 6000, 2)]


async def test_a_voice_that_could_not_be_designed_is_measured_as_well(house: House, look: Look) -> None:
    await house.tell_of(
        "agent", "agent_7", "agent.provisioned", **CREATED, voice="default", voice_error="platform_quota"
    )
    await house.consume()
    found = {kind: about for kind, _, _, about in await metrics(look)}
    assert found["agent_creation"]["success"] is True
    assert (found["voice_design"]["success"], found["voice_design"]["error"]) == (False, "platform_quota")


async def test_the_start_s_milliseconds_outlive_its_event(house: House, talk: Callable[..., Talk], look: Look) -> None:
    conversation_id = await house.ended(await house.dreamer(), talk())
    await look("DELETE FROM system_events")
    await house.tell(conversation_id, "conversation.rated", score=4)
    await house.consume()
    assert (await house.row(conversation_id))["snapshot"]["technical"]["start_ms"] == 40


async def test_of_a_conversation_s_ratings_the_latest_is_measured(
    house: House, talk: Callable[..., Talk], look: Look
) -> None:
    conversation_id = await house.write(await house.dreamer(), talk())
    for score in (2, 5):
        await house.tell(conversation_id, "conversation.rated", score=score)
    for _ in range(2):
        await house.consume()
        await look("UPDATE event_cursors SET position = 0 WHERE consumer = 'agent_metrics'")
    rated = [row for row in await metrics(look) if row[0] == "user_satisfaction"]
    assert rated == [("user_satisfaction", "agent_1", 5, {"success": True})]
