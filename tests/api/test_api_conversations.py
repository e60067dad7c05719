"""A conversation over HTTP and the socket, on the engine, with row-level security under every read."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
import websockets

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
Change = Callable[..., Awaitable[None]]

DREAM = "I was in a paper swimming bath and a heron folded the water into envelopes. I felt oddly calm."


async def started(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/conversations", json={"interpreter_id": "carl", "text_only": True} | fields)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def exchange(conversation: dict[str, Any], *said: str) -> list[str]:
    """Open the signed URL as a client does, say these lines, and return what the interpreter said."""
    heard: list[str] = []
    async with websockets.connect(conversation["signed_url"]) as socket:
        opening = {
            "type": "conversation_initiation_client_data",
            "conversation_config_override": {"conversation": {"text_only": True}},
            "dynamic_variables": conversation["dynamic_variables"],
        }
        await socket.send(json.dumps(opening))
        for line in (None, *said):
            if line is not None:
                await socket.send(json.dumps({"type": "user_message", "text": line}))
            async with asyncio.timeout(10):
                while True:
                    frame = json.loads(await socket.recv())
                    if frame["type"] == "agent_response":
                        heard.append(frame["agent_response_event"]["agent_response"])
                        break
    return heard


async def report(client: httpx.AsyncClient, conversation_id: str, *messages: tuple[str, str]) -> httpx.Response:
    body = [
        {"event_id": f"1:{sender}:{place}", "sender": sender, "content": content}
        for place, (sender, content) in enumerate(messages)
    ]
    return await client.post(f"/conversations/{conversation_id}/messages", json={"messages": body})


async def test_a_dream_told_to_carl_is_heard_kept_and_summed_up(dreamer: httpx.AsyncClient, look: Look) -> None:
    await dreamer.patch("/me", json={"name": "Ada"})
    conversation = await started(dreamer)
    path = f"/conversations/{conversation['conversation_id']}"

    opening, reply = await exchange(conversation, DREAM)
    assert opening == conversation["opening"]
    assert "heron" in reply or "water" in reply or "swimming bath" in reply
    connected = await dreamer.post(f"{path}/connected", json={"elevenlabs_conversation_id": "conv_1"})
    assert connected.json()["connection_count"] == 1
    stored = await report(
        dreamer, conversation["conversation_id"], ("interpreter", opening), ("user", DREAM), ("interpreter", reply)
    )
    assert (stored.status_code, stored.json()) == (202, {"stored": 3, "duplicates": 0, "corrected": 0, "safety": None})
    ended = (await dreamer.post(f"{path}/end", json={"reason": "user_ended"})).json()

    assert (ended["status"], ended["end_reason"], ended["message_count"]) == ("completed", "user_ended", 3)
    assert "heron" in ended["summary"] or "water" in ended["summary"] or "swimming" in ended["summary"]
    lines = (await dreamer.get(f"{path}/messages")).json()["items"]
    assert [(line["sender"], line["content"]) for line in lines] == [
        ("interpreter", opening),
        ("user", DREAM),
        ("interpreter", reply),
    ]
    events = await look("SELECT event_type FROM system_events WHERE conversation_id IS NOT NULL ORDER BY seq")
    assert [event["event_type"] for event in events] == [
        "conversation.requested",
        "conversation.started",
        "disclosure.given",
        "conversation.connected",
        *["conversation.message_received"] * 3,
        "conversation.ended",
    ]


async def test_no_event_holds_what_was_said(dreamer: httpx.AsyncClient, look: Look) -> None:
    conversation = await started(dreamer)
    await report(dreamer, conversation["conversation_id"], ("user", "A marzipan heron, and I want to end my life."))
    await dreamer.post(f"/conversations/{conversation['conversation_id']}/end")

    rows = await look("SELECT event_data::text AS data FROM system_events")

    assert rows
    assert not any("marzipan" in row["data"] for row in rows)


async def test_the_start_says_all_that_a_client_needs(dreamer: httpx.AsyncClient) -> None:
    await dreamer.patch("/me", json={"name": "Ольга"})
    dream = (await dreamer.post("/dreams", json={"content": DREAM, "symbols": ["heron"]})).json()

    conversation = await started(dreamer, dream_id=dream["id"])

    assert conversation["status"] == "active"
    assert conversation["interpreter_name"] == "Carl"
    assert conversation["demo"] is True
    assert conversation["disclosure"]["text"]
    assert conversation["safety_coverage"] == "rules"
    variables = conversation["dynamic_variables"]
    assert variables["user_name"] == "Ольга"
    assert variables["symbols_list"] == "heron"
    assert DREAM in variables["dream_context"]
    assert variables["opening"] == conversation["opening"]


async def test_a_second_start_asks_the_platform_for_the_address_alone(dreamer: httpx.AsyncClient, look: Look) -> None:
    await started(dreamer)
    await started(dreamer)

    rows = await look("SELECT upstream_calls, agent_id FROM conversations ORDER BY created_at")

    assert rows[0]["agent_id"] == rows[1]["agent_id"]
    assert rows[1]["upstream_calls"] == 1


async def test_a_variable_in_a_name_stays_text(dreamer: httpx.AsyncClient) -> None:
    await dreamer.patch("/me", json={"name": "{{dream_context}}"})

    conversation = await started(dreamer)

    assert "{{" not in json.dumps(conversation["dynamic_variables"])
    assert await exchange(conversation)


async def test_an_unknown_interpreter_is_named_beside_those_she_may_use(dreamer: httpx.AsyncClient) -> None:
    answer = await dreamer.post("/conversations", json={"interpreter_id": "sigmund"})

    assert (answer.status_code, answer.json()["code"]) == (404, "interpreter_not_found")
    assert "carl, lakshmi" in answer.json()["detail"]


async def test_an_interpreter_that_is_closed_to_her_is_refused(dreamer: httpx.AsyncClient, change: Change) -> None:
    user_id = (await dreamer.get("/me")).json()["user_id"]
    await change("UPDATE profiles SET allowed_interpreters = '{lakshmi}' WHERE user_id = %s", user_id)

    answer = await dreamer.post("/conversations", json={"interpreter_id": "carl"})

    assert (answer.status_code, answer.json()["code"]) == (403, "interpreter_not_allowed")
    assert [card["id"] for card in (await dreamer.get("/interpreters")).json()["items"]] == ["lakshmi"]


async def test_another_dreamers_conversation_is_not_found(dreamer: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    path = f"/conversations/{(await started(dreamer))['conversation_id']}"
    await other.get("/me")

    answers = [
        await other.get(path),
        await other.get(f"{path}/messages"),
        await other.post(f"{path}/messages", json={"messages": [{"event_id": "1", "sender": "user", "content": "x"}]}),
        await other.post(f"{path}/connected", json={"elevenlabs_conversation_id": "x"}),
        await other.post(f"{path}/end"),
        await other.put(f"{path}/rating", json={"score": 1}),
    ]

    assert {answer.status_code for answer in answers} == {404}
    assert {answer.json()["code"] for answer in answers} == {"conversation_not_found"}
    assert (await other.get("/conversations")).json()["items"] == []


async def test_words_of_danger_are_not_quoted_in_the_summary(dreamer: httpx.AsyncClient) -> None:
    conversation_id = (await started(dreamer))["conversation_id"]
    await report(dreamer, conversation_id, ("user", DREAM), ("user", "I am going to kill myself tonight"))

    ended = (await dreamer.post(f"/conversations/{conversation_id}/end")).json()

    assert "kill" not in ended["summary"]
    assert "heron" in ended["summary"] or "swimming" in ended["summary"]


async def test_a_repeated_report_changes_nothing(dreamer: httpx.AsyncClient) -> None:
    conversation_id = (await started(dreamer))["conversation_id"]

    await report(dreamer, conversation_id, ("user", "A heron."))
    again = await report(dreamer, conversation_id, ("user", "A heron."), ("interpreter", "Tell me of it."))

    assert again.json() == {"stored": 1, "duplicates": 1, "corrected": 0, "safety": None}
    assert (await dreamer.get(f"/conversations/{conversation_id}")).json()["message_count"] == 2


@pytest.mark.parametrize(
    ("content", "message"), [("x" * 2001, "at most 2000 characters, this has 2001"), ("", "must not be empty")]
)
async def test_a_typed_message_is_bounded_and_never_cut(dreamer: httpx.AsyncClient, content: str, message: str) -> None:
    conversation_id = (await started(dreamer))["conversation_id"]

    answer = await report(dreamer, conversation_id, ("user", "Fine."), ("user", content))

    assert answer.status_code == 422
    assert message in answer.json()["detail"]
    assert answer.json()["errors"][0]["field"] == "messages.1.content"
    assert (await dreamer.get(f"/conversations/{conversation_id}/messages")).json()["items"] == []


async def test_the_end_ends_once_and_closes_the_rest(dreamer: httpx.AsyncClient, look: Look) -> None:
    conversation_id = (await started(dreamer))["conversation_id"]
    path = f"/conversations/{conversation_id}"

    first = await dreamer.post(f"{path}/end", json={"reason": "agent_ended"})
    again = await dreamer.post(f"{path}/end", json={"reason": "error"})
    late = await report(dreamer, conversation_id, ("user", "One more."))
    rated = await dreamer.put(f"{path}/rating", json={"score": 5, "comment": "Kind."})

    assert first.json() == again.json()
    assert (late.status_code, late.json()["code"]) == (409, "conversation_ended")
    assert rated.json()["rating"] == 5
    ends = await look("SELECT 1 FROM system_events WHERE event_type = 'conversation.ended'")
    assert len(ends) == 1


async def test_words_of_danger_bring_the_card_and_leave_the_conversation_open(
    dreamer: httpx.AsyncClient, look: Look
) -> None:
    await dreamer.patch("/me", json={"region": "US"})
    conversation = await started(dreamer)

    answer = await report(
        dreamer,
        conversation["conversation_id"],
        ("user", "I have the pills here and I am going to kill myself tonight"),
    )

    safety = answer.json()["safety"]
    assert safety["tier"] == "active_danger"
    assert any("988" in (line.get("phone") or "") for line in safety["card"]["lines"])
    now = (await dreamer.get(f"/conversations/{conversation['conversation_id']}")).json()
    assert (now["status"], now["safety_tier"]) == ("active", "active_danger")
    flagged = await look("SELECT event_data FROM system_events WHERE event_type = 'safety.escalated'")
    assert [row["event_data"]["tier"] for row in flagged] == ["active_danger"]


async def test_the_interpreter_stays_and_names_help_when_there_is_danger(dreamer: httpx.AsyncClient) -> None:
    conversation = await started(dreamer)

    _, reply, after = await exchange(
        conversation, "I am going to kill myself tonight", "The heron came back, I was dreaming of it again."
    )

    assert "safe" in reply.lower()
    assert after


async def test_a_language_without_rules_says_so_and_shows_help_lines(dreamer: httpx.AsyncClient) -> None:
    conversation = await started(dreamer, options={"language": "de"})

    assert conversation["safety_coverage"] == "none"
    assert conversation["help_card"]["lines"]


async def test_the_same_key_and_body_start_one_conversation(dreamer: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": str(uuid4())}
    body = {"interpreter_id": "carl", "text_only": True}

    first = await dreamer.post("/conversations", json=body, headers=headers)
    again = await dreamer.post("/conversations", json=body, headers=headers)
    otherwise = await dreamer.post("/conversations", json=body | {"interpreter_id": "lakshmi"}, headers=headers)

    assert first.json() == again.json()
    assert otherwise.status_code == 422
    assert len((await dreamer.get("/conversations")).json()["items"]) == 1


async def test_an_agent_that_the_platform_forgot_is_made_anew_in_the_same_request(
    dreamer: httpx.AsyncClient, engine_url: str, look: Look
) -> None:
    first = await started(dreamer)
    async with httpx.AsyncClient(base_url=engine_url, headers={"xi-api-key": "any"}, timeout=30) as platform:
        await platform.delete(f"/v1/convai/agents/{first['agent_id']}")

    second = await started(dreamer)

    assert second["agent_id"] != first["agent_id"]
    assert await exchange(second)
    states = await look("SELECT agent_id, state FROM platform_agents ORDER BY created_at")
    assert sorted(row["state"] for row in states if row["agent_id"] in {first["agent_id"], second["agent_id"]}) == [
        "ready",
        "retired",
    ]


async def test_twenty_first_starts_at_once_make_one_agent(
    dreamer: httpx.AsyncClient, change: Change, look: Look
) -> None:
    await change("DELETE FROM platform_agents")

    conversations = await asyncio.gather(*(started(dreamer) for _ in range(20)))

    assert len({conversation["agent_id"] for conversation in conversations}) == 1
    rows = await look("SELECT state FROM platform_agents")
    assert [row["state"] for row in rows] == ["ready"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"interpreter_id": "carl", "dream_id": str(uuid4())}, 404, "dream_not_found"),
        ({"interpreter_id": "carl", "options": {"language": "tlh"}}, 422, "invalid_input"),
        ({"interpreter_id": "carl", "options": {"model": "gpt-4o"}}, 403, "forbidden"),
        ({"interpreter_id": "carl", "options": {"priority": "high"}}, 403, "forbidden"),
        ({"interpreter_id": "carl", "metadata": {"x": "y" * 5000}}, 422, "invalid_input"),
        ({"interpreter_id": ""}, 404, "interpreter_not_found"),
        ({}, 422, "invalid_input"),
        ({"interpreter_id": "carl", "surprise": True}, 422, "invalid_input"),
    ],
)
async def test_a_start_that_cannot_be_says_why(
    dreamer: httpx.AsyncClient, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await dreamer.post("/conversations", json=body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_messages_are_paged_in_the_order_in_which_they_were_said(dreamer: httpx.AsyncClient) -> None:
    conversation_id = (await started(dreamer))["conversation_id"]
    await report(dreamer, conversation_id, *(("user", f"Line {number}.") for number in range(7)))

    first = (await dreamer.get(f"/conversations/{conversation_id}/messages", params={"limit": 5})).json()
    rest = await dreamer.get(
        f"/conversations/{conversation_id}/messages", params={"limit": 5, "cursor": first["next_cursor"]}
    )

    said = [item["content"] for item in first["items"] + rest.json()["items"]]
    assert said == [f"Line {number}." for number in range(7)]
    assert rest.json()["next_cursor"] is None


async def test_a_cursor_of_another_list_is_refused(dreamer: httpx.AsyncClient) -> None:
    conversation_id = (await started(dreamer))["conversation_id"]
    await report(dreamer, conversation_id, ("user", "One."), ("user", "Two."))
    page = (await dreamer.get(f"/conversations/{conversation_id}/messages", params={"limit": 1})).json()

    answer = await dreamer.get("/conversations", params={"cursor": page["next_cursor"]})

    assert answer.status_code == 422
