"""`/v1/admin/conversations…`: how each was led, what was said in its transcript alone, and every look is noted."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
Change = Callable[..., Awaitable[None]]
SignIn = Callable[..., httpx.AsyncClient]
MARK = "marzipan"


@pytest.fixture
def operator(sign_in: SignIn) -> httpx.AsyncClient:
    return sign_in(operator=True)


async def started(client: httpx.AsyncClient, interpreter: str = "carl", **more: Any) -> str:
    answer = await client.post("/conversations", json={"interpreter_id": interpreter, "text_only": True} | more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["conversation_id"])


async def say(client: httpx.AsyncClient, conversation_id: str, *contents: str) -> None:
    messages = [{"event_id": uuid4().hex, "sender": "user", "content": content} for content in contents]
    answer = await client.post(f"/conversations/{conversation_id}/messages", json={"messages": messages})
    assert answer.status_code == 202, answer.text


async def listed(client: httpx.AsyncClient, **asked: Any) -> list[str]:
    answer = await client.get("/admin/conversations", params=asked)
    assert answer.status_code == 200, answer.text
    return [item["conversation_id"] for item in answer.json()["items"]]


async def looks(look: Look) -> list[dict[str, Any]]:
    found = await look("SELECT * FROM system_events WHERE event_type = 'operator.viewed' ORDER BY seq")
    return [event["event_data"] | {"of": event["user_id"]} for event in found]


async def test_lists_and_details_hold_no_word_and_the_transcript_holds_them_all(sign_in: SignIn, look: Look) -> None:
    user_id, operator_id = uuid4(), uuid4()
    dreamer, operator = sign_in(user_id), sign_in(operator_id, operator=True)
    await dreamer.patch("/me", json={"name": f"Ada {MARK}"})
    dream = {"title": MARK, "content": f"A {MARK} heron swam through a staircase.", "symbols": [MARK]}
    dream_id = (await dreamer.post("/dreams", json=dream)).json()["id"]
    conversation_id = await started(dreamer, dream_id=dream_id, metadata={"note": MARK})
    await say(dreamer, conversation_id, f"The {MARK} water rose.", f"I want to kill myself. {MARK}")
    await dreamer.put(f"/conversations/{conversation_id}/rating", json={"score": 4, "comment": MARK})
    await dreamer.post(f"/conversations/{conversation_id}/end", json={"summary": f"About {MARK}."})
    path = f"/admin/conversations/{conversation_id}"

    every, one, transcript = [await operator.get(each) for each in ("/admin/conversations", path, f"{path}/messages")]

    assert MARK not in (every.text + one.text).lower()
    [item] = every.json()["items"]
    assert (item["user_id"], item["release"], item["arm"]) == (str(user_id), 1, None)
    assert (item["status"], item["end_reason"], item["safety_tier"]) == ("completed", "user_ended", "active_danger")
    assert item["message_count"] == 2
    found = one.json()
    assert item.items() <= found.items()
    [row] = await look("SELECT prompt_sha256, variable_names, agent_id FROM conversations")
    assert {name: found[name] for name in row} == row
    assert "dream_context" in found["variable_names"]
    assert (found["dream_id"], found["rating"], found["metrics"]) == (dream_id, 4, None)
    assert [(each["session"], each["errors"]) for each in found["sessions"]] == [(1, [])]
    assert [flag["tier"] for flag in found["flags"]] == ["active_danger"]
    assert [message["content"] for message in transcript.json()["items"]] == [
        f"The {MARK} water rose.",
        f"I want to kill myself. {MARK}",
    ]
    assert await looks(look) == [
        {"what": "conversations", "by": str(operator_id), "count": 1, "of": None},
        {"what": "conversation", "by": str(operator_id), "of": user_id},
        {"what": "transcript", "by": str(operator_id), "of": user_id},
    ]


async def test_every_page_of_a_transcript_is_a_look(
    dreamer: httpx.AsyncClient, operator: httpx.AsyncClient, look: Look
) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, "A heron.", "A staircase.", "A lighthouse.")
    path = f"/admin/conversations/{conversation_id}/messages"

    first = (await operator.get(path, params={"limit": 2})).json()
    rest = (await operator.get(path, params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [one["content"] for one in first["items"] + rest["items"]] == ["A heron.", "A staircase.", "A lighthouse."]
    assert rest["next_cursor"] is None
    assert [each["what"] for each in await looks(look)] == ["transcript"] * 2


async def test_the_dreamer_finds_the_look_in_her_export_and_her_stream_does_not_show_it(
    dreamer: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    conversation_id = await started(dreamer)
    await operator.get(f"/admin/conversations/{conversation_id}/messages")

    events = (await dreamer.get("/me/export")).json()["events"]

    assert [event["conversation_id"] for event in events if event["type"] == "operator.viewed"] == [conversation_id]
    assert (await dreamer.get(f"/conversations/{conversation_id}/messages")).json()["items"] == []


async def test_a_list_that_was_asked_for_one_dreamer_is_a_look_at_her(
    sign_in: SignIn, operator: httpx.AsyncClient, look: Look
) -> None:
    user_id = uuid4()
    conversation_id = await started(sign_in(user_id))
    await started(sign_in())

    assert await listed(operator, user=str(user_id)) == [conversation_id]
    assert await listed(operator, user=str(uuid4())) == []

    assert [(each["of"], each["count"]) for each in await looks(look)] == [(user_id, 1), (None, 0)]


async def test_the_list_is_filtered(sign_in: SignIn, operator: httpx.AsyncClient, change: Change) -> None:
    one, two = sign_in(), sign_in()
    first, second, third = await started(one), await started(two, "lakshmi"), await started(two)
    await say(one, first, "I wish I would just not wake up any more")
    await two.post(f"/conversations/{second}/end")
    await change("UPDATE conversations SET created_at = created_at - interval '2 days' WHERE id = %s", UUID(third))
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoformat()

    assert await listed(operator) == [second, first, third]
    assert await listed(operator, interpreter="lakshmi") == [second]
    assert await listed(operator, status="active") == [first, third]
    assert await listed(operator, tier="passive_ideation") == [first]
    assert await listed(operator, tier="none") == [second, third]
    assert await listed(operator, since=yesterday) == [second, first]
    assert await listed(operator, since=yesterday, status="active", interpreter="carl", tier="none") == []


async def test_the_pages_of_the_list_stay_where_they_are_while_others_begin(
    sign_in: SignIn, operator: httpx.AsyncClient, change: Change
) -> None:
    ids = [await started(sign_in()) for _ in range(5)]
    await change("UPDATE conversations SET created_at = now()")  # Only their ids tell them apart.

    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        asked = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = (await operator.get("/admin/conversations", params=asked)).json()
        seen += [item["conversation_id"] for item in page["items"]]
        cursor = page["next_cursor"]
        await started(sign_in())

    assert seen == sorted(ids, key=UUID, reverse=True)


async def test_an_operator_ends_a_conversation_once(sign_in: SignIn, dreamer: httpx.AsyncClient, look: Look) -> None:
    operator_id = uuid4()
    operator = sign_in(operator_id, operator=True)
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, "A heron.")
    path = f"/admin/conversations/{conversation_id}/end"

    first, again = await operator.post(path), await operator.post(path)

    assert (first.status_code, again.status_code) == (200, 200)
    assert first.json() == again.json()
    assert (first.json()["status"], first.json()["end_reason"]) == ("completed", "system_shutdown")
    [ended] = await look("SELECT event_data FROM system_events WHERE event_type = 'conversation.ended'")
    assert (ended["event_data"]["reason"], ended["event_data"]["messages"]) == ("system_shutdown", 1)
    assert str(operator_id) not in str(ended)
    assert [(each["what"], each["by"]) for each in await looks(look)] == [("end", str(operator_id))]
    assert await look("SELECT 1 FROM conversation_slots") == []
    message = {"event_id": "late", "sender": "user", "content": "A staircase."}
    late = await dreamer.post(f"/conversations/{conversation_id}/messages", json={"messages": [message]})
    assert (late.status_code, late.json()["code"]) == (409, "conversation_ended")


async def test_what_had_ended_by_itself_stays_as_it_was(
    dreamer: httpx.AsyncClient, operator: httpx.AsyncClient
) -> None:
    conversation_id = await started(dreamer)
    await dreamer.post(f"/conversations/{conversation_id}/end")

    ended = await operator.post(f"/admin/conversations/{conversation_id}/end")

    assert (ended.status_code, ended.json()["end_reason"]) == (200, "user_ended")


async def test_only_operators_get_anything(
    anonymous: httpx.AsyncClient, dreamer: httpx.AsyncClient, look: Look
) -> None:
    conversation_id = await started(dreamer)
    path = f"/admin/conversations/{conversation_id}"
    for client, status in ((anonymous, 401), (dreamer, 403)):
        for each in ("/admin/conversations", path, f"{path}/messages"):
            assert (await client.get(each)).status_code == status, each
        assert (await client.post(f"{path}/end")).status_code == status
    assert (await dreamer.get(f"/conversations/{conversation_id}")).json()["status"] == "active"
    assert await looks(look) == []


async def test_what_is_unknown_or_a_host_applications_is_not_found(
    dreamer: httpx.AsyncClient, operator: httpx.AsyncClient, change: Change, look: Look
) -> None:
    foreign = await started(dreamer)
    await change("UPDATE conversations SET release_id = NULL, end_reason = NULL WHERE id = %s", UUID(foreign))
    for path in (f"/admin/conversations/{foreign}", f"/admin/conversations/{uuid4()}"):
        answers = [await operator.get(path), await operator.get(f"{path}/messages"), await operator.post(f"{path}/end")]
        assert [(each.status_code, each.json()["code"]) for each in answers] == [(404, "conversation_not_found")] * 3
    assert await looks(look) == []
    assert await listed(operator) == []


async def test_what_makes_no_sense_is_refused(operator: httpx.AsyncClient) -> None:
    asked: list[dict[str, Any]] = [
        {"tier": "grave"},
        {"status": "paused"},
        {"user": "nobody"},
        {"since": "yesterday"},
        {"since": "2026-11-23T04:00:00"},
        {"interpreter": "x" * 65},
        {"interpreter": "carl\0"},
        {"limit": 0},
        {"cursor": "nonsense"},
        {"cursor": "bm93fDE"},
    ]
    for each in asked:
        assert (await operator.get("/admin/conversations", params=each)).status_code == 422, each
    for path in ("nobody", "nobody/messages"):
        assert (await operator.get(f"/admin/conversations/{path}")).status_code == 422
    assert (await operator.post("/admin/conversations/nobody/end")).status_code == 422
    assert (await operator.get("/admin/conversations/%00")).status_code == 404
    assert await listed(operator, since="0001-01-01T00:00:00+23:59") == []
    assert await listed(operator, since="9999-12-31T23:59:59-23:59") == []
