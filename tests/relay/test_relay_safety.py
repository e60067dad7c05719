"""The gate between the two sides: the card comes at once, and no uninformed interpreter answers danger aloud."""

from collections.abc import Awaitable, Callable
from typing import Any

Staged = Callable[..., Awaitable[tuple[Any, Any, Any]]]
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]
DANGER = "I want to kill myself tonight."


async def test_typed_danger_shows_the_card_and_informs_the_interpreter_first(
    staged: Staged, stage: Any, until: Rows, look: Rows
) -> None:
    _, started, socket = await staged(text_only=True)
    await socket.send(type="user_message", text=DANGER)
    shown = (await socket.until("oneiro_safety"))["safety_event"]
    assert shown["tier"] == "active_danger"
    assert shown["card"]["lines"]
    assert "safe" in shown["words"]
    _, context, message = await stage.received(3)
    assert context["type"] == "contextual_update"
    assert "active_danger" in context["text"]
    assert message == {"type": "user_message", "text": DANGER}
    await stage.answer("I am here. Are you safe right now?")
    assert "safe" in await socket.reply()
    (event,) = await until("SELECT event_data FROM system_events WHERE event_type = 'safety.escalated'")
    assert event["event_data"]["conversation_id"] == started["conversation_id"]
    (row,) = await look("SELECT safety_tier, status FROM conversations")
    assert row == {"safety_tier": "active_danger", "status": "active"}


async def test_spoken_danger_silences_the_answer_of_that_turn(
    staged: Staged, stage: Any, until: Rows, look: Rows
) -> None:
    _, _, socket = await staged()
    await stage.hear(DANGER)
    await stage.answer("What a vivid symbol! Death often means change.")
    await stage.sound()
    assert (await socket.until("oneiro_safety"))["safety_event"]["tier"] == "active_danger"
    _, context = await stage.received(2)
    assert context["type"] == "contextual_update"
    # The interpreter knows now: what it says in the next turn is heard, whatever she says.
    await stage.hear("I mean it. I want to end my life.", 3)
    await stage.answer("Your safety comes first. Are you alone?", 4)
    raw = await stage.sound(4)
    assert await socket.reply() == "Your safety comes first. Are you alone?"
    assert await socket.socket.recv() == raw
    assert [kind for kind in socket.kinds() if kind != "ping"].count("audio") == 0
    assert socket.kinds().count("oneiro_safety") == 2
    (line,) = await until("SELECT metadata FROM messages WHERE content LIKE 'What a vivid%%'")
    assert line["metadata"]["withheld"] is True
    await until("SELECT 1 FROM messages WHERE event_id = '1:interpreter:1'")
    assert len(await look("SELECT 1 FROM system_events WHERE event_type = 'safety.escalated'")) == 2


async def test_the_guard_of_the_platform_is_heard(staged: Staged, stage: Any) -> None:
    _, _, socket = await staged()
    await stage.hear(DANGER)
    await stage.send(type="guardrail_triggered")
    await stage.answer("I am setting the dream aside.")
    raw = await stage.sound()
    assert await socket.reply() == "I am setting the dream aside."
    assert await socket.socket.recv() == raw


async def test_a_calm_turn_ends_the_silence(staged: Staged, stage: Any) -> None:
    _, _, socket = await staged()
    await stage.hear(DANGER)
    await stage.sound()
    await stage.hear("There was a lighthouse in my dream.", 3)
    raw = await stage.sound(4)
    await socket.until("oneiro_safety")
    await socket.until("user_transcript")
    assert await socket.socket.recv() == raw


async def test_a_dream_of_death_is_no_alarm(staged: Staged, stage: Any) -> None:
    _, _, socket = await staged()
    await stage.hear("In my dream I died and looked at my own funeral.")
    raw = await stage.sound()
    await socket.until("user_transcript")
    assert await socket.socket.recv() == raw


async def test_danger_is_shown_although_the_database_is_held_up(
    staged: Staged, stage: Any, db_url: str, hold: Any
) -> None:
    _, started, socket = await staged(text_only=True)
    async with hold(started["conversation_id"]):
        await socket.send(type="user_message", text=DANGER)
        assert (await socket.until("oneiro_safety"))["safety_event"]["tier"] == "active_danger"
        assert len(stage.raw) == 1
    assert (await stage.received(3))[2]["text"] == DANGER


async def test_words_that_cannot_be_stored_are_not_answered(staged: Staged, stage: Any, hold: Any, limits: Any) -> None:
    _, started, socket = await staged(limits(keeping=0.2), text_only=True)
    async with hold(started["conversation_id"]):
        await socket.send(type="user_message", text="There was a lighthouse.")
        assert await socket.closed() == (1012, "please resume")
    await stage.ended.wait()
    assert len(stage.raw) == 1
