"""Lines: gated and stored before they are passed on, once, corrected, and never in the way of sound."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from oneiro.relay.scribe import Scribe
from oneiro.safety.crisis import Tier

Staged = Callable[..., Awaitable[tuple[Any, Any, Any]]]
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]
LINES = "SELECT * FROM messages ORDER BY ordinal"


async def test_a_typed_message_is_stored_before_it_is_passed_on(staged: Staged, stage: Any, look: Rows) -> None:
    _, _, socket = await staged(text_only=True)
    await socket.send(type="user_message", text="  A dream of\r\nglass.\x00 ")
    assert (await stage.received(2))[1] == {"type": "user_message", "text": "A dream of\nglass."}
    (line,) = await look(LINES)
    assert (line["content"], line["event_id"], line["metadata"]) == (
        "A dream of\nglass.",
        "1:user:0",
        {"medium": "text"},
    )


@pytest.mark.parametrize("text", ["x" * 2001, "   ", ""])
async def test_a_typed_message_that_cannot_be_taken_is_answered_and_not_kept(
    staged: Staged, stage: Any, look: Rows, text: str
) -> None:
    _, _, socket = await staged(text_only=True)
    await socket.send(type="user_message", text=text)
    error = (await socket.until("error"))["error_event"]
    assert error["error_type"] == "invalid_message"
    await socket.send(type="user_message", text="x" * 2000)
    assert len((await stage.received(2))[1]["text"]) == 2000
    assert len(await look(LINES)) == 1


async def test_an_echo_is_passed_on_and_stored_once(staged: Staged, stage: Any, until: Rows, look: Rows) -> None:
    _, _, socket = await staged(text_only=True)
    await socket.send(type="user_message", text="Yes.")
    await stage.received(2)
    await stage.hear("Yes. ")
    assert (await socket.until("user_transcript"))["user_transcription_event"]["user_transcript"] == "Yes. "
    await stage.answer("Tell me more.")
    await stage.hear("Yes.")
    await until("SELECT 1 FROM messages WHERE event_id = '1:user:1'")
    assert [(line["sender"], line["content"]) for line in await look(LINES)] == [
        ("user", "Yes."),
        ("interpreter", "Tell me more."),
        ("user", "Yes."),
    ]


async def test_a_correction_keeps_what_stood_there(staged: Staged, stage: Any, until: Rows, look: Rows) -> None:
    _, _, socket = await staged()
    await stage.answer("The sea is the mother of all images.", 7)
    await stage.send(type="interruption", interruption_event={"event_id": 7})
    event = {
        "original_agent_response": "The sea is the mother of all images.",
        "corrected_agent_response": "The sea is...",
        "event_id": 7,
    }
    await stage.send(type="agent_response_correction", agent_response_correction_event=event)
    await socket.until("agent_response_correction")
    (line,) = await until("SELECT * FROM messages WHERE original_content IS NOT NULL")
    assert (line["content"], line["original_content"]) == ("The sea is...", "The sea is the mother of all images.")
    assert line["metadata"]["interrupted"] is True
    (event,) = await look("SELECT * FROM system_events WHERE event_type = 'conversation.message_corrected'")
    assert event["event_data"] == {"message_id": str(line["id"])}


async def test_an_error_of_the_platform_is_noted_without_its_words(staged: Staged, stage: Any, until: Rows) -> None:
    _, _, socket = await staged()
    event = {"code": 1011, "error_type": "llm_timeout", "message": "while thinking about the lighthouse"}
    await stage.send(type="error", error_event=event)
    await socket.until("error")
    (row,) = await until("SELECT event_data FROM system_events WHERE event_type = 'conversation.error'")
    assert row["event_data"] == {"phase": "relay", "code": "llm_timeout", "session": 1}
    (session,) = await until("SELECT error_log FROM conversation_sessions WHERE error_log <> '[]'")
    assert [entry["code"] for entry in session["error_log"]] == ["llm_timeout"]


async def test_sound_goes_on_while_the_database_is_held_up(
    staged: Staged, stage: Any, until: Rows, db_url: str
) -> None:
    _, started, socket = await staged()
    async with await psycopg.AsyncConnection.connect(db_url) as holder:
        await holder.execute("SELECT 1 FROM conversations WHERE id = %s FOR UPDATE", (started["conversation_id"],))
        await stage.answer("A long answer.")
        for _ in range(50):
            await stage.sound()
        for _ in range(50):
            await socket.until("audio")
        cursor = await holder.execute("SELECT count(*) FROM messages")
        assert await cursor.fetchone() == (0,)
    await until("SELECT 1 FROM messages WHERE content = 'A long answer.'")


async def test_lines_outlive_a_database_that_drops_its_connections(
    staged: Staged, stage: Any, until: Rows, db_url: str, db_name: str
) -> None:
    _, _, socket = await staged()
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    for number in range(5):
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as killer:
            await killer.execute(kill, (db_name,))
        await stage.answer(f"Answer {number}.", number)
        await socket.until("agent_response")
    await until("SELECT 1 FROM messages WHERE content = 'Answer 4.'")
    found = await until("SELECT content FROM messages ORDER BY ordinal")
    assert [line["content"] for line in found] == [f"Answer {number}." for number in range(5)]


async def test_what_was_on_its_way_when_the_client_left_is_kept(
    staged: Staged, stage: Any, until: Rows, look: Rows
) -> None:
    _, started, socket = await staged()
    for number in range(20):
        await stage.answer(f"Answer {number}.", number)
    await socket.socket.close(1000)
    await until("SELECT 1 FROM conversations WHERE id = %s AND status = 'completed'", started["conversation_id"])
    assert len(await look(LINES)) == 20
    async with asyncio.timeout(5):
        await stage.ended.wait()


def test_a_turn_is_measured_once_by_the_named_clock() -> None:
    seconds = iter([10.0, 10.25, 99.0])
    scribe = Scribe(3, now=lambda: None, seconds=lambda: next(seconds))  # type: ignore[arg-type,return-value]
    assert scribe.reply_began("audio") is None
    scribe.turn_ended("user_transcript")
    assert scribe.reply_began("audio") == 0.25
    assert scribe.reply_began("audio") is None
    line = scribe.said("Yes.", 1)
    assert line.event_id == "3:interpreter:0"
    assert line.metadata == {
        "latency": {"ms": 250, "from": "user_transcript", "to": "audio", "clock": "relay_monotonic"}
    }
    assert scribe.said("And?", 2).metadata == {}
    assert scribe.typed("Well.", Tier.none).event_id == "3:user:0"
