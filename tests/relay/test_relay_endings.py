"""Every way in which a call is over, seen by the client, by the platform and in the rows."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

Staged = Callable[..., Awaitable[tuple[Any, Any, Any]]]
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]
Dial = Callable[..., Awaitable[Any]]
OVER = "SELECT * FROM conversations WHERE id = %s AND (status <> 'active' OR paused_at IS NOT NULL)"


@pytest.mark.parametrize(
    ("code", "client", "status", "reason", "session"),
    [
        (1000, 1000, "completed", "agent_ended", "ended"),
        (1008, 1008, "completed", "error", "error"),
        (1011, 1012, "active", None, "error"),
        (1012, 1012, "active", None, "error"),
    ],
)
async def test_the_platform_closes(
    staged: Staged,
    stage: Any,
    until: Rows,
    look: Rows,
    *,
    code: int,
    client: int,
    status: str,
    reason: str | None,
    session: str,
) -> None:
    _, started, socket = await staged()
    await stage.socket.close(code, "as the test says")
    assert (await socket.closed())[0] == client
    (row,) = await until(OVER, started["conversation_id"])
    assert (row["status"], row["end_reason"]) == (status, reason)
    (found,) = await look("SELECT session_status, close_code FROM conversation_sessions")
    assert found == {"session_status": session, "close_code": client}
    assert await look("SELECT 1 FROM conversation_slots") == []


async def test_the_platform_vanishes_and_the_client_resumes(
    staged: Staged, stage: Any, until: Rows, dial: Dial
) -> None:
    dreamer, started, socket = await staged(text_only=True)
    stage.socket.transport.abort()
    assert (await socket.closed())[0] == 1012
    await until(OVER, started["conversation_id"])
    resumed = await dreamer.post(f"/conversations/{started['conversation_id']}/resume")
    again = await dial(resumed["signed_url"])
    assert (await again.open())["type"] == "conversation_initiation_metadata"
    (event,) = await until("SELECT event_data FROM system_events WHERE event_type = 'conversation.error'")
    assert event["event_data"]["code"] == "upstream_1006"


async def test_the_platforms_own_bound_is_a_timeout(staged: Staged, stage: Any, until: Rows) -> None:
    _, started, socket = await staged()
    event = {"code": 1011, "error_type": "max_duration_exceeded", "message": "too long", "reason": "too long"}
    await stage.send(type="error", error_event=event)
    await stage.socket.close(1011)
    assert (await socket.closed())[0] == 1000
    (row,) = await until(OVER, started["conversation_id"])
    assert row["end_reason"] == "timeout"


async def test_the_platform_is_left_at_once_when_the_client_goes(staged: Staged, stage: Any) -> None:
    _, _, socket = await staged()
    began = time.monotonic()
    socket.socket.transport.abort()
    await asyncio.wait_for(stage.ended.wait(), 5)
    assert stage.socket.close_code == 1000
    assert time.monotonic() - began < 5


async def test_time_that_is_up_is_announced_with_the_interpreters_goodbye(
    staged: Staged, stage: Any, until: Rows, limits: Any
) -> None:
    _, started, socket = await staged(limits(farewell=0.3), max_call_seconds=1)
    ending = (await socket.until("oneiro_ending"))["ending_event"]
    assert ending["reason"] == "duration"
    assert len(ending["words"]) > 10
    assert ending["words"] in (await stage.received(2))[1]["text"]
    assert await socket.closed() == (1000, "time is up")
    (row,) = await until(OVER, started["conversation_id"])
    assert (row["status"], row["end_reason"]) == ("completed", "timeout")
    types = [one["event_type"] for one in await until("SELECT event_type FROM system_events ORDER BY seq")]
    assert types[-2:] == ["conversation.timed_out", "conversation.ended"]


async def test_the_minutes_of_the_day_bound_a_call(staged: Staged, stage: Any, dial: Dial, clock: Any) -> None:
    dreamer, started, socket = await staged(daily_minutes_per_dreamer=1)
    await socket.socket.close(1000)
    await stage.ended.wait()
    again = await dreamer.start()
    clock.advance(90)
    async with asyncio.timeout(10):
        while (await dreamer.read(started["conversation_id"]))["status"] == "active":  # noqa: ASYNC110 - it settles.
            await asyncio.sleep(0.02)
    open_call = await dial(again["signed_url"])
    metadata = await open_call.open()
    assert metadata["type"] == "conversation_initiation_metadata"
    resumed = await dreamer.post(f"/conversations/{again['conversation_id']}/resume")
    clock.advance(90)
    assert await (await dial(resumed["signed_url"])).closed() == (1008, "daily_minutes")


async def test_whoever_falls_asleep_is_wished_a_good_night(
    staged: Staged, stage: Any, until: Rows, limits: Any
) -> None:
    _, started, socket = await staged(limits(silence_spoken=0.3, farewell=0.3))
    assert (await socket.until("oneiro_ending"))["ending_event"]["reason"] == "silence"
    # The interpreter's own words are no sign that she is awake.
    await stage.answer("Good night.")
    assert await socket.closed() == (1000, "good night")
    (row,) = await until(OVER, started["conversation_id"])
    assert row["end_reason"] == "timeout"


async def test_whoever_speaks_after_the_good_night_goes_on(staged: Staged, stage: Any, limits: Any) -> None:
    _, _, socket = await staged(limits(silence_spoken=0.3, farewell=0.4))
    await socket.until("oneiro_ending")
    await stage.hear("I am still here.")
    await socket.until("user_transcript")
    await socket.until("oneiro_ending")
    assert await socket.closed() == (1000, "good night")


async def test_a_client_that_does_not_read_is_let_go(staged: Staged, stage: Any, until: Rows, limits: Any) -> None:
    _, started, socket = await staged(limits(writing=0.3))
    socket.socket.transport.pause_reading()
    raw = '{"type":"audio","audio_event":{"audio_base_64":"' + "A" * 900_000 + '","event_id":1}}'
    sending = asyncio.create_task(_flood(stage, raw))
    (row,) = await until(OVER, started["conversation_id"])
    assert row["paused_at"] is not None
    await asyncio.wait_for(stage.ended.wait(), 5)
    assert await sending < 60
    (event,) = await until("SELECT event_data FROM system_events WHERE event_type = 'conversation.error'")
    assert event["event_data"]["code"] == "slow_client"
    socket.socket.transport.abort()


async def _flood(stage: Any, raw: str) -> int:
    """How many frames were taken before nobody took more."""
    for number in range(1000):
        try:
            await stage.socket.send(raw)
        except Exception:  # noqa: BLE001 - the socket has closed.
            return number
    return 1000


async def test_an_opening_that_failed_is_tried_again_with_the_same_ticket(
    dreamer: Any, dial: Dial, engine_url: str, look: Rows
) -> None:
    started = await dreamer.start()
    # As often as one call tries.
    fault = {"kind": "status", "status": 503, "path": "*get-signed-url", "times": 3}
    async with httpx.AsyncClient(
        base_url=engine_url, headers={"xi-api-key": "k"}, trust_env=False, timeout=30
    ) as engine:
        await engine.post("/engine/faults", json={"faults": [fault]})
    socket = await dial(started["signed_url"])
    await socket.send(type="conversation_initiation_client_data")
    assert await socket.closed() == (1011, "platform_unavailable")
    again = await dial(started["signed_url"])
    await again.open()
    assert await again.reply() == started["opening"]
    (event,) = await look("SELECT event_data FROM system_events WHERE event_type = 'conversation.error'")
    assert event["event_data"] == {"phase": "connect", "code": "platform_unavailable", "session": 1}


async def test_an_agent_that_the_platform_forgot_is_made_anew(
    dreamer: Any, dial: Dial, engine_url: str, look: Rows
) -> None:
    started = await dreamer.start()
    async with httpx.AsyncClient(
        base_url=engine_url, headers={"xi-api-key": "k"}, trust_env=False, timeout=30
    ) as engine:
        await engine.post("/engine/restart")
    socket = await dial(started["signed_url"])
    await socket.open()
    assert await socket.reply() == started["opening"]
    (row,) = await look("SELECT agent_id FROM conversations")
    assert row["agent_id"] != started["agent_id"]


async def test_without_a_slot_the_client_is_asked_to_come_again(
    serve: Callable[..., Awaitable[Any]], sign_in: Callable[..., Any], dial: Dial, clock: Any
) -> None:
    replica = await serve(max_concurrent_calls=1)
    late = await sign_in(replica).start()
    clock.advance(61)
    first = await dial((await sign_in(replica).start())["signed_url"])
    await first.open()
    assert await (await dial(late["signed_url"])).closed() == (1013, "no_slot")
    await first.socket.close(1000)


async def test_voice_that_is_switched_off_makes_every_call_a_written_one(staged: Staged, stage: Any) -> None:
    await staged(voice_enabled=False)
    assert stage.frames[0]["conversation_config_override"] == {"conversation": {"text_only": True}}
