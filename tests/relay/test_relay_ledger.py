"""A call's ledger: what it has not written is known, and an end of the call loses no finding and leaves no writer."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from oneiro.conversations.reconcile.account import take_over
from oneiro.conversations.reconcile.store import Key
from oneiro.conversations.relayed.models import Entry, Fault, Line
from oneiro.database.pool import DatabaseUnavailable
from oneiro.platform.port import HeldConversation, HeldLine
from oneiro.relay.ledger import Ledger, Unwritten

Staged = Callable[..., Awaitable[tuple[Any, Any, Any]]]
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]
OVER = "SELECT 1 FROM conversation_sessions WHERE close_code IS NOT NULL"


async def test_what_is_left_includes_what_is_being_written() -> None:
    writing, goes_on = asyncio.Event(), asyncio.Event()

    async def write(_entries: list[Entry]) -> None:
        writing.set()
        await goes_on.wait()

    ledger = Ledger(write)
    writer = asyncio.create_task(ledger.run())
    first, second = Fault("one"), Fault("two")
    ledger.note(first)
    await writing.wait()
    ledger.note(second)
    assert ledger.left() == [first, second]
    goes_on.set()
    assert await ledger.settled(within=5)
    assert ledger.left() == []
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)


async def test_a_finding_behind_a_batch_that_is_held_up_is_told_after_the_end(
    staged: Staged, stage: Any, hold: Any, until: Rows, look: Rows, limits: Any
) -> None:
    _, started, socket = await staged(limits(settling=0.3))
    async with hold(started["conversation_id"]):
        await stage.answer("What did the water say?")
        await socket.reply()
        # The writer is busy with the answer now, so this line is noted behind it.
        await stage.hear("I want to kill myself tonight.", 3)
        await socket.until("oneiro_safety")
        await socket.socket.close(1000)
        async with asyncio.timeout(5):
            while socket.replica.relay._relayed.findings.owed == 0:  # noqa: ASYNC110 - the call settles first.
                await asyncio.sleep(0.02)
    await until(OVER)
    await until("SELECT 1 FROM messages WHERE sender = 'user'")
    async with asyncio.timeout(30):
        while socket.replica.relay._owed:  # noqa: ASYNC110 - what is owed is written on its own.
            await asyncio.sleep(0.02)
    assert [task for task in asyncio.all_tasks() if task.get_name() == "relay writer"] == []
    (event,) = await until("SELECT event_data FROM system_events WHERE event_type = 'safety.escalated'")
    told = {"tier": "active_danger", "conversation_id": started["conversation_id"]}
    assert told.items() <= event["event_data"].items()
    assert [line["content"] for line in await look("SELECT content FROM messages ORDER BY ordinal")] == [
        "What did the water say?",
        "I want to kill myself tonight.",
    ]


async def test_what_was_refused_is_not_written_later_but_what_was_noted_is() -> None:
    written: list[Entry] = []
    away = True

    async def write(entries: list[Entry]) -> None:
        if away:
            raise DatabaseUnavailable
        written.extend(entries)

    ledger = Ledger(write)
    writer = asyncio.create_task(ledger.run())
    ledger.note(Fault("noted"))
    with pytest.raises(Unwritten):
        await ledger.keep(Fault("refused"), within=0.01)
    writer.cancel()
    await asyncio.gather(writer, return_exceptions=True)
    away = False
    await ledger.catch_up(within=5)
    assert written == [Fault("noted")]
    assert ledger.left() == []


async def test_lines_that_come_after_the_platforms_account_are_there_once(
    staged: Staged, stage: Any, until: Rows, look: Rows
) -> None:
    _, started, socket = await staged(text_only=True)
    relay, parts = socket.replica.relay, socket.replica.app.state
    (call,) = relay._calls.values()
    await stage.answer("What did the water say?")
    await until("SELECT 1 FROM messages")
    await socket.socket.close(1001)
    (session,) = await until("SELECT * FROM conversation_sessions WHERE close_code IS NOT NULL")
    lines = [("interpreter", "What did the water say?"), ("user", "Yes."), ("interpreter", "And then?")]
    key = Key(UUID(started["conversation_id"]), 1)
    async with parts.database.as_service() as conn:
        assert await take_over(conn, key, held(session["elevenlabs_conversation_id"], lines), datetime.now(UTC))

    typed, now = {"medium": "text"}, datetime.now(UTC)
    late = [
        Line("1:user:0", "user", "Yes.", now, typed),
        Line("1:interpreter:1", "interpreter", "And then?", now, {}),
        Line("1:user:1", "user", "It never reached the platform.", now, typed),
    ]
    await relay._relayed.write(call.admission, late)

    found = await look("SELECT sender, content FROM messages ORDER BY occurred_at, ordinal")
    assert [(row["sender"], row["content"]) for row in found] == [*lines, ("user", "It never reached the platform.")]


async def test_lines_that_the_platforms_account_lacks_are_written_after_it(
    staged: Staged, stage: Any, until: Rows, look: Rows
) -> None:
    _, _, socket = await staged(text_only=True)
    relay, parts = socket.replica.relay, socket.replica.app.state
    (call,) = relay._calls.values()
    await stage.answer("What did the water say?")
    await until("SELECT 1 FROM messages")
    early = Line("1:user:0", "user", "Yes.", datetime.now(UTC), {"medium": "text"})
    await relay._relayed.write(call.admission, [early])
    await socket.socket.close(1001)
    (session,) = await until("SELECT * FROM conversation_sessions WHERE close_code IS NOT NULL")
    # The platform was started anew, or keeps nothing: its account ends early.
    lines = [("interpreter", "What did the water say?"), ("user", "Yes."), ("interpreter", "It was a long night an...")]
    account = held(session["elevenlabs_conversation_id"], lines)
    async with parts.database.as_service() as conn:
        assert await take_over(conn, Key(call.admission.conversation_id, 1), account, datetime.now(UTC))

    now = datetime.now(UTC)
    late = [
        Line("1:interpreter:1", "interpreter", "It was a long night and dark.", now, {}),
        Line("1:user:1", "user", "Yes.", now, {"medium": "text"}),
        Line("1:interpreter:2", "interpreter", "What stays with you?", now, {}),
        Line("1:user:2", "user", "The water.", now, {"medium": "audio"}),
    ]
    await relay._relayed.write(call.admission, late)

    found = await look("SELECT event_id, content, original_content FROM messages ORDER BY occurred_at, ordinal")
    assert [row["event_id"] for row in found][-3:] == ["1:user:1", "1:interpreter:2", "1:user:2"]
    assert len(found) == 6
    (cut,) = [row for row in found if row["original_content"]]
    assert (cut["content"], cut["original_content"]) == ("It was a long night an...", late[0].text)


def held(platform_id: str, lines: list[tuple[Any, str]]) -> HeldConversation:
    told = [HeldLine(sender, text, None, 0.0, None, interrupted=False, event_id=None) for sender, text in lines]
    return HeldConversation(
        id=platform_id,
        agent_id=None,
        our_id=None,
        state="over",
        started_at=None,
        seconds=None,
        cost=None,
        termination_reason=None,
        error_code=None,
        successful=None,
        evaluation={},
        language=None,
        summary=None,
        lines=tuple(told),
    )
