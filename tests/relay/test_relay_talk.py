"""`oneiro talk` is a client of the relay like any other: it resumes what broke off, and says who speaks."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from oneiro.auth import issue_token
from oneiro.cli.chat import Chat, Line, chat, signed_in

Serve = Callable[..., Awaitable[Any]]
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]
DREAM = "A lantern swam through the cellar, and I swam after it."


@pytest.fixture
async def conversation(replica: Any) -> AsyncIterator[Chat]:
    token = issue_token(
        "a secret of at least thirty-two bytes", user_id=uuid4(), ttl=timedelta(hours=1), now=datetime.now(UTC)
    )
    async with signed_in(replica.url, token) as api, chat(api, "carl", None) as opened:
        yield opened


async def all_of(lines: AsyncIterator[Line]) -> list[Line]:
    return [line async for line in lines if line.type != "part"]


async def test_a_call_that_breaks_off_goes_on_in_another_session(
    conversation: Chat, engine_url: str, look: Rows
) -> None:
    await all_of(conversation.opening())
    await all_of(conversation.say(DREAM))
    async with httpx.AsyncClient(
        base_url=engine_url, headers={"xi-api-key": "k"}, trust_env=False, timeout=30
    ) as engine:
        await engine.post("/engine/restart")

    lines = await all_of(conversation.say("Are you there?"))

    assert [line.type for line in lines] == ["user", "interpreter"]
    assert "I am here again" in lines[1].content
    assert [line.type for line in await all_of(conversation.say("It went out."))] == ["user", "interpreter"]
    assert (await conversation.end()).content
    assert [row["session"] for row in await look("SELECT session FROM conversation_sessions ORDER BY session")] == [
        1,
        2,
    ]


async def test_words_that_were_lost_are_said_again_after_resuming(conversation: Chat, replica: Any, look: Rows) -> None:
    await all_of(conversation.opening())
    # The server asks to come again before it has read what she types.
    await replica.relay.drain(0, replica.app.state.sweeper.interrupt)
    replica.relay._draining = False

    lines = await all_of(conversation.say(DREAM))

    assert [line.type for line in lines] == ["user", "interpreter", "interpreter"]
    rows = await look("SELECT content FROM messages WHERE sender = 'user'")
    assert [row["content"] for row in rows] == [DREAM]
    assert "lantern" in lines[-1].content or "cellar" in lines[-1].content


async def test_nothing_is_reported_and_every_line_is_stored(conversation: Chat, look: Rows) -> None:
    opening = await all_of(conversation.opening())
    reply = await all_of(conversation.say(DREAM))
    await conversation.end()

    rows = await look("SELECT content FROM messages ORDER BY occurred_at")
    assert [row["content"] for row in rows] == [opening[0].content, DREAM, reply[1].content]
    (row,) = await look("SELECT transport, end_reason FROM conversations")
    assert row == {"transport": "relay", "end_reason": "user_ended"}


async def test_what_the_relay_carries_is_counted(conversation: Chat, replica: Any) -> None:
    await all_of(conversation.opening())
    await all_of(conversation.say("I want to kill myself tonight."))
    await conversation.end()

    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        for _ in range(200):
            text = (await client.get(f"{replica.url}/metrics")).text
            if 'oneiro_relay_frames_total{direction="up",kind="user_message"}' in text:
                break
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line and not line.startswith("#"))
    assert figures['oneiro_relay_frames_total{direction="up",kind="user_message"}'] == "1.0"
    assert figures['oneiro_relay_frames_total{direction="down",kind="oneiro_safety"}'] == "1.0"
    assert figures['oneiro_conversation_starts_total{interpreter="carl",outcome="ok"}'] == "1.0"
    assert figures["oneiro_conversation_start_seconds_count"] == "1.0"
    assert figures['oneiro_messages_total{sender="user"}'] == "1.0"
    assert figures['oneiro_messages_total{sender="interpreter"}'] == "2.0"
    assert figures['oneiro_safety_total{tier="active_danger"}'] == "1.0"
