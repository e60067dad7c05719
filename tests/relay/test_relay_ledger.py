"""A call's ledger: what it has not written is known, and an end of the call loses no finding and leaves no writer."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from oneiro.conversations.relayed.models import Entry, Fault
from oneiro.relay.ledger import Ledger

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
        # The writer is busy with the answer now, so this line is noted behind it and never reaches the database.
        await stage.hear("I want to kill myself tonight.", 3)
        await socket.until("oneiro_safety")
        await socket.socket.close(1000)
        async with asyncio.timeout(5):
            while socket.replica.relay._relayed.findings.owed == 0:  # noqa: ASYNC110 - the call settles first.
                await asyncio.sleep(0.02)
        assert [task for task in asyncio.all_tasks() if task.get_name() == "relay writer"] == []
    (event,) = await until("SELECT event_data FROM system_events WHERE event_type = 'safety.escalated'")
    assert event["event_data"] == {"tier": "active_danger", "conversation_id": started["conversation_id"]}
    await until(OVER)
    # What was cancelled is not written after all, behind the back of the end.
    assert await look("SELECT 1 FROM messages") == []
