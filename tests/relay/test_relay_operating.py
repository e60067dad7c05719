"""Operators and calls through the relay: from the flagged line to its acknowledgement, and a call that they end."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from tests.relay.conftest import SECRET

from oneiro.auth import issue_token

Rows = Callable[..., Awaitable[list[dict[str, Any]]]]
Dial = Callable[..., Awaitable[Any]]
DANGER = "I want to kill myself tonight."
OPERATOR = uuid4()


@pytest.fixture
async def operator(serve: Callable[..., Awaitable[Any]]) -> AsyncIterator[httpx.AsyncClient]:
    """An operator at a replica of her own."""
    lasting = timedelta(hours=1)
    token = issue_token(SECRET, user_id=OPERATOR, operator=True, ttl=lasting, now=datetime.now(UTC))
    headers = {"Authorization": f"Bearer {token}"}
    at = await serve()
    async with httpx.AsyncClient(base_url=f"{at.url}/v1", headers=headers, trust_env=False, timeout=30) as client:
        yield client


async def test_what_is_flagged_in_a_call_is_in_the_queue_at_every_replica_until_it_is_acknowledged(
    dreamer: Any, dial: Dial, operator: httpx.AsyncClient, until: Rows
) -> None:
    started = await dreamer.start()
    socket = await dial(started["signed_url"])
    await socket.open(text_only=True)
    await socket.reply()
    await socket.say("There was a lighthouse.")
    await socket.say(DANGER)
    await until("SELECT 1 FROM safety_flags")

    [flag] = (await operator.get("/admin/safety", params={"acknowledged": False})).json()["items"]
    path = f"/admin/conversations/{flag['conversation_id']}/messages"
    said = {one["id"]: one["content"] for one in (await operator.get(path)).json()["items"]}
    done = await operator.post(f"/admin/safety/{flag['id']}/acknowledge")

    assert (flag["tier"], flag["status"], flag["user_id"]) == ("active_danger", "active", str(dreamer.user_id))
    assert flag["conversation_id"] == started["conversation_id"]
    assert said[flag["message_id"]] == DANGER
    assert done.json()["acknowledged_by"] == str(OPERATOR)
    assert (await operator.get("/admin/safety", params={"acknowledged": False})).json()["items"] == []
    assert await socket.say("A heron sat on it.")  # The call goes on.


async def test_a_call_that_an_operator_ends_at_another_replica_is_closed_by_its_relay(
    dreamer: Any, dial: Dial, operator: httpx.AsyncClient, look: Rows
) -> None:
    started = await dreamer.start()
    socket = await dial(started["signed_url"])
    await socket.open(text_only=True)
    await socket.reply()

    ended = await operator.post(f"/admin/conversations/{started['conversation_id']}/end")

    assert (ended.status_code, ended.json()["end_reason"]) == (200, "system_shutdown")
    assert await socket.closed() == (1000, "ended")
    assert len(await look("SELECT 1 FROM system_events WHERE event_type = 'conversation.ended'")) == 1
    [noted] = await look("SELECT event_data FROM system_events WHERE event_type = 'operator.viewed'")
    assert noted["event_data"] == {"what": "end", "by": str(OPERATOR)}
    assert (await dreamer.read(started["conversation_id"]))["end_reason"] == "system_shutdown"


async def test_a_call_that_an_operator_ends_before_anybody_came_cannot_be_opened(
    dreamer: Any, dial: Dial, operator: httpx.AsyncClient, look: Rows
) -> None:
    started = await dreamer.start()

    ended = (await operator.post(f"/admin/conversations/{started['conversation_id']}/end")).json()

    assert (ended["status"], ended["end_reason"]) == ("failed", "system_shutdown")
    assert await (await dial(started["signed_url"])).closed() == (1008, "conversation_ended")
    [event] = await look("SELECT event_data FROM system_events WHERE event_type = 'conversation.failed'")
    assert event["event_data"] == {"code": "system_shutdown"}
