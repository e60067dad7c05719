"""`/v1/admin/safety`: every flagged line waits there until an operator has seen to it, and no word of it is shown."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from oneiro.conversations.relayed.findings import Finding
from oneiro.safety.crisis import Tier

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
SignIn = Callable[..., httpx.AsyncClient]

DANGER = "I have the pills here and I am going to kill myself tonight"
WISH = "I wish I would just not wake up any more"


@pytest.fixture
def operator(sign_in: SignIn) -> httpx.AsyncClient:
    return sign_in(operator=True)


async def started(client: httpx.AsyncClient, interpreter: str = "carl") -> str:
    answer = await client.post("/conversations", json={"interpreter_id": interpreter, "text_only": True})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["conversation_id"])


async def say(client: httpx.AsyncClient, conversation_id: str, *contents: str) -> None:
    messages = [{"event_id": uuid4().hex, "sender": "user", "content": content} for content in contents]
    answer = await client.post(f"/conversations/{conversation_id}/messages", json={"messages": messages})
    assert answer.status_code == 202, answer.text


async def queue(client: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    answer = await client.get("/admin/safety", params=asked)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_a_flagged_line_waits_is_looked_at_and_acknowledged(sign_in: SignIn, look: Look, app: FastAPI) -> None:
    user_id, operator_id = uuid4(), uuid4()
    dreamer, operator = sign_in(user_id), sign_in(operator_id, operator=True)
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, "There was a heron.", DANGER, WISH)

    by_tier = {flag["tier"]: flag for flag in await queue(operator, acknowledged=False)}
    grave = by_tier["active_danger"]
    assert set(by_tier) == {"active_danger", "passive_ideation"}
    assert (grave["user_id"], grave["conversation_id"]) == (str(user_id), conversation_id)
    assert (grave["interpreter_id"], grave["status"]) == ("carl", "active")
    assert (grave["acknowledged_at"], grave["acknowledged_by"]) == (None, None)
    said = (await operator.get(f"/admin/conversations/{conversation_id}/messages")).json()["items"]
    assert [one["content"] for one in said if one["id"] == grave["message_id"]] == [DANGER]

    done = await operator.post(f"/admin/safety/{grave['id']}/acknowledge")
    assert done.status_code == 200
    assert done.json()["acknowledged_by"] == str(operator_id)
    assert done.json()["acknowledged_at"] is not None
    assert [flag["tier"] for flag in await queue(operator, acknowledged=False)] == ["passive_ideation"]
    assert await queue(operator, acknowledged=True) == [done.json()]
    [event] = await look("SELECT * FROM system_events WHERE event_type = 'safety.acknowledged'")
    assert event["event_data"] == {
        "tier": "active_danger",
        "conversation_id": conversation_id,
        "by": str(operator_id),
    }
    assert (event["entity_type"], event["entity_id"]) == ("safety_flag", grave["id"])
    assert (event["user_id"], str(event["conversation_id"])) == (user_id, conversation_id)
    assert 'oneiro_safety_unacknowledged{tier="active_danger"} 0.0' in (await app.state.monitoring.render()).decode()
    assert 'oneiro_safety_unacknowledged{tier="passive_ideation"} 1.0' in (await app.state.monitoring.render()).decode()


async def test_whoever_acknowledges_first_stays_and_repeats_change_nothing(
    sign_in: SignIn, dreamer: httpx.AsyncClient, look: Look
) -> None:
    await say(dreamer, await started(dreamer), DANGER)
    one, two = sign_in(operator=True), sign_in(operator=True)
    [flag] = await queue(one)
    path = f"/admin/safety/{flag['id']}/acknowledge"

    answers = await asyncio.gather(*(client.post(path) for client in (one, two) for _ in range(4)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len(await look("SELECT 1 FROM system_events WHERE event_type = 'safety.acknowledged'")) == 1


async def test_the_id_of_a_finding_is_that_of_its_event(
    dreamer: httpx.AsyncClient, operator: httpx.AsyncClient, look: Look
) -> None:
    await say(dreamer, await started(dreamer), DANGER, WISH)

    events = await look("SELECT id, event_data FROM system_events WHERE event_type LIKE 'safety.%%'")

    assert {(str(event["id"]), event["event_data"]["tier"]) for event in events} == {
        (flag["id"], flag["tier"]) for flag in await queue(operator)
    }


async def test_the_queue_holds_no_word_and_a_look_at_it_is_no_event(
    dreamer: httpx.AsyncClient, operator: httpx.AsyncClient, look: Look
) -> None:
    await dreamer.patch("/me", json={"name": "Ada Marzipan"})
    await say(dreamer, await started(dreamer), f"{DANGER} marzipan")

    answer = await operator.get("/admin/safety")

    assert len(answer.json()["items"]) == 1
    assert not any(word in answer.text.lower() for word in ("marzipan", "pills", "kill", "ada"))
    assert await look("SELECT 1 FROM system_events WHERE event_type = 'operator.viewed'") == []


async def test_the_queue_is_filtered(sign_in: SignIn, operator: httpx.AsyncClient) -> None:
    ids = [uuid4(), uuid4()]
    one, two = (sign_in(each) for each in ids)
    first, second = await started(one), await started(two, "lakshmi")
    await say(one, first, DANGER)
    await one.post(f"/conversations/{first}/end")
    await say(two, second, WISH)
    later = (datetime.now(UTC) + timedelta(minutes=1)).isoformat()

    async def found(**asked: Any) -> list[str]:
        return [flag["conversation_id"] for flag in await queue(operator, **asked)]

    assert await found() == [second, first]
    assert await found(tier="active_danger") == [first]
    assert await found(interpreter="lakshmi") == [second]
    assert await found(user=str(ids[0])) == [first]
    assert await found(status="active") == [second]
    assert await found(since=later) == []
    assert await found(since="2020-01-01T00:00:00+02:00", acknowledged=False) == [second, first]
    assert await found(acknowledged=True) == []
    assert await found(interpreter="nobody") == []
    assert await found(user=str(uuid4())) == []


async def test_the_pages_of_the_queue_stay_where_they_are_while_new_lines_come(
    dreamer: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, DANGER, WISH, DANGER)  # Of one moment: only their ids tell them apart.
    await say(dreamer, conversation_id, WISH, DANGER)
    before = [flag["id"] for flag in await queue(operator)]

    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (
            await operator.get("/admin/safety", params={"limit": 2} | ({"cursor": cursor} if cursor else {}))
        ).json()
        seen += [flag["id"] for flag in page["items"]]
        cursor = page["next_cursor"]
        await say(dreamer, conversation_id, WISH)
        await operator.post(f"/admin/safety/{page['items'][0]['id']}/acknowledge")

    assert len(before) == 5
    assert seen == before


async def test_a_finding_without_its_line_is_in_the_queue(
    app: FastAPI, sign_in: SignIn, operator: httpx.AsyncClient
) -> None:
    user_id = uuid4()
    conversation_id = await started(sign_in(user_id))
    findings = app.state.relay._relayed.findings
    await findings._tell(Finding(UUID(conversation_id), user_id, "1:user:0", Tier.active_danger))

    [flag] = await queue(operator)

    assert (flag["tier"], flag["message_id"], flag["conversation_id"]) == ("active_danger", None, conversation_id)


async def test_deleting_the_conversation_takes_along_what_was_seen_to_and_nothing_else(
    sign_in: SignIn, operator: httpx.AsyncClient, look: Look
) -> None:
    user_id = uuid4()
    dreamer = sign_in(user_id)
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, DANGER, WISH)
    grave, wish = sorted(await queue(operator), key=lambda flag: str(flag["tier"]))
    await operator.post(f"/admin/safety/{wish['id']}/acknowledge")

    await dreamer.delete(f"/conversations/{conversation_id}")

    [left] = await queue(operator)
    assert (left["id"], left["interpreter_id"], left["status"]) == (grave["id"], None, None)
    assert (await operator.get(f"/admin/conversations/{conversation_id}/messages")).status_code == 404
    done = await operator.post(f"/admin/safety/{grave['id']}/acknowledge")
    assert done.json()["acknowledged_at"] is not None
    [*_, last] = await look("SELECT * FROM system_events WHERE conversation_id = %s ORDER BY seq", conversation_id)
    assert last["event_type"] == "conversation.deleted"
    [event] = await look("SELECT user_id FROM system_events WHERE entity_id = %s", grave["id"])
    assert event["user_id"] == user_id


async def test_only_operators_see_and_acknowledge(
    anonymous: httpx.AsyncClient, dreamer: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    await say(dreamer, await started(dreamer), DANGER)
    [flag] = await queue(operator)
    for client, status in ((anonymous, 401), (dreamer, 403)):
        assert (await client.get("/admin/safety")).status_code == status
        assert (await client.post(f"/admin/safety/{flag['id']}/acknowledge")).status_code == status
    assert (await queue(operator))[0]["acknowledged_at"] is None


async def test_what_makes_no_sense_is_refused(operator: httpx.AsyncClient) -> None:
    asked: list[dict[str, Any]] = [
        {"tier": "none"},
        {"tier": "grave"},
        {"status": "paused"},
        {"user": "nobody"},
        {"since": "yesterday"},
        {"since": "2026-11-23T04:00:00"},  # Whose four o'clock?
        {"acknowledged": "perhaps"},
        {"interpreter": "x" * 65},
        {"interpreter": "carl\0"},
        {"limit": 0},
        {"limit": 101},
        {"cursor": "nonsense"},
        {"cursor": "bm93fDE"},
    ]
    for each in asked:
        assert (await operator.get("/admin/safety", params=each)).status_code == 422, each
    missing = await operator.post(f"/admin/safety/{uuid4()}/acknowledge")
    assert (missing.status_code, missing.json()["code"]) == (404, "flag_not_found")
    assert (await operator.post("/admin/safety/nobody/acknowledge")).status_code == 422
    assert (await operator.post("/admin/safety/%00/acknowledge")).status_code == 404
    for since in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"):
        assert await queue(operator, since=since) == []
