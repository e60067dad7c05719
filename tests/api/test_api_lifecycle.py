"""Pause, resume, time-outs, deletion: what a conversation goes through besides talk."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import websockets
from fastapi import FastAPI

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
Change = Callable[..., Awaitable[None]]

DREAM = "I dreamt I was in a paper swimming bath and a heron folded the water into envelopes. I felt oddly calm."
IDLE, PAUSE = 1800, 300


async def started(client: httpx.AsyncClient, **fields: Any) -> str:
    answer = await client.post("/conversations", json={"interpreter_id": "carl", "text_only": True} | fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["conversation_id"])


async def say(client: httpx.AsyncClient, conversation_id: str, *lines: str, first: int = 0) -> httpx.Response:
    body = [
        {"event_id": f"user:{place}", "sender": "user", "content": content}
        for place, content in enumerate(lines, first)
    ]
    return await client.post(f"/conversations/{conversation_id}/messages", json={"messages": body})


async def do(client: httpx.AsyncClient, conversation_id: str, verb: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"/conversations/{conversation_id}/{verb}", json=body or None)
    assert answer.is_success, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def types(look: Look) -> list[str]:
    rows = await look("SELECT event_type FROM system_events WHERE conversation_id IS NOT NULL ORDER BY seq")
    return [row["event_type"].removeprefix("conversation.") for row in rows]


async def test_a_paused_conversation_goes_on_in_a_second_session(dreamer: httpx.AsyncClient, look: Look) -> None:
    conversation_id = await started(dreamer)
    await do(dreamer, conversation_id, "connected", elevenlabs_conversation_id="conv_1")
    await say(dreamer, conversation_id, DREAM)

    paused = await do(dreamer, conversation_id, "pause")
    resumed = await do(dreamer, conversation_id, "resume")
    again = await do(dreamer, conversation_id, "connected", elevenlabs_conversation_id="conv_2")
    await say(dreamer, conversation_id, "The heron came back.", first=1)

    assert (paused["status"], paused["paused_at"] is None) == ("active", False)
    assert (again["paused_at"], again["connection_count"], again["message_count"]) == (None, 2, 1)
    assert DREAM in resumed["dynamic_variables"]["dream_context"]
    assert resumed["opening"] == resumed["dynamic_variables"]["opening"]
    assert "again" in resumed["opening"]
    sessions = await look(
        "SELECT session, session_status, elevenlabs_conversation_id AS id FROM conversation_sessions ORDER BY session"
    )
    assert sessions == [
        {"session": 1, "session_status": "ended", "id": "conv_1"},
        {"session": 2, "session_status": "active", "id": "conv_2"},
    ]
    rows = await look("SELECT session FROM messages ORDER BY ordinal")
    assert [row["session"] for row in rows] == [1, 2]
    assert (await types(look))[3:] == [
        "connected",
        "message_received",
        "paused",
        "resumed",
        "disclosure.given",
        "connected",
        "message_received",
    ]


async def test_the_resumed_session_opens_where_the_talk_stood(dreamer: httpx.AsyncClient) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, DREAM)
    await do(dreamer, conversation_id, "pause")
    resumed = await do(dreamer, conversation_id, "resume")

    async with websockets.connect(resumed["signed_url"]) as socket, asyncio.timeout(10):
        await socket.send(
            json.dumps(
                {
                    "type": "conversation_initiation_client_data",
                    "conversation_config_override": {"conversation": {"text_only": True}},
                    "dynamic_variables": resumed["dynamic_variables"],
                }
            )
        )
        while (frame := json.loads(await socket.recv()))["type"] != "agent_response":
            pass

    assert frame["agent_response_event"]["agent_response"] == resumed["opening"]


async def test_pausing_twice_pauses_once_and_frees_the_slot(dreamer: httpx.AsyncClient, look: Look) -> None:
    conversation_id = await started(dreamer)

    first = await do(dreamer, conversation_id, "pause")
    again = await do(dreamer, conversation_id, "pause")

    assert first == again
    assert (await types(look)).count("paused") == 1
    assert await look("SELECT 1 FROM conversation_slots") == []


async def test_a_lost_socket_is_resumed_without_a_pause(dreamer: httpx.AsyncClient, look: Look) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, DREAM)

    await do(dreamer, conversation_id, "resume")

    assert len(await look("SELECT 1 FROM conversation_sessions")) == 2


async def test_a_repeated_resume_gives_another_address_and_no_other_session(
    dreamer: httpx.AsyncClient, look: Look
) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, DREAM)
    await do(dreamer, conversation_id, "pause")

    first = await do(dreamer, conversation_id, "resume")
    again = await do(dreamer, conversation_id, "resume")

    assert first["signed_url"] != again["signed_url"]
    assert len(await look("SELECT 1 FROM conversation_sessions")) == 2
    assert (await types(look)).count("resumed") == 1


async def test_lines_of_a_session_that_was_paused_are_still_taken(dreamer: httpx.AsyncClient) -> None:
    conversation_id = await started(dreamer)
    await do(dreamer, conversation_id, "pause")

    assert (await say(dreamer, conversation_id, DREAM)).json()["stored"] == 1
    now = (await dreamer.get(f"/conversations/{conversation_id}")).json()
    assert now["paused_at"] is not None


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_an_ended_conversation_is_neither_paused_nor_resumed(dreamer: httpx.AsyncClient, verb: str) -> None:
    conversation_id = await started(dreamer)
    await do(dreamer, conversation_id, "end")

    answer = await dreamer.post(f"/conversations/{conversation_id}/{verb}")

    assert (answer.status_code, answer.json()["code"]) == (409, "conversation_ended")


@pytest.mark.parametrize("verb", ["pause", "resume"])
async def test_another_dreamers_conversation_is_neither_paused_nor_resumed(
    dreamer: httpx.AsyncClient, other: httpx.AsyncClient, verb: str
) -> None:
    conversation_id = await started(dreamer)
    await other.get("/me")

    answer = await other.post(f"/conversations/{conversation_id}/{verb}")

    assert (answer.status_code, answer.json()["code"]) == (404, "conversation_not_found")
    assert (await other.delete(f"/conversations/{conversation_id}")).status_code == 404


async def test_an_id_of_the_platform_belongs_to_one_conversation(dreamer: httpx.AsyncClient) -> None:
    first, second = await started(dreamer), await started(dreamer)
    await do(dreamer, first, "connected", elevenlabs_conversation_id="conv_1")

    answer = await dreamer.post(f"/conversations/{second}/connected", json={"elevenlabs_conversation_id": "conv_1"})

    assert (answer.status_code, answer.json()["code"]) == (409, "already_connected")


async def test_silence_ends_a_conversation_with_its_last_sign_of_life(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any, look: Look
) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, DREAM)
    before = clock()

    clock.advance(IDLE - 60)
    early = await app.state.sweeper.sweep()
    clock.advance(120)
    late = await app.state.sweeper.sweep()
    again = await app.state.sweeper.sweep()

    assert (early.idle, late.idle, late.wrapped_up, again.idle) == (0, 1, 1, 0)
    ended = (await dreamer.get(f"/conversations/{conversation_id}")).json()
    assert (ended["status"], ended["end_reason"]) == ("completed", "timeout")
    assert ended["ended_at"] <= before.isoformat()
    assert "heron" in ended["summary"] or "water" in ended["summary"]
    assert (await types(look))[-2:] == ["ended", "timed_out"]
    data = await look("SELECT event_data FROM system_events WHERE event_type = 'conversation.ended'")
    assert data[0]["event_data"] == {"reason": "timeout", "seconds": 0, "messages": 1}
    assert await look("SELECT 1 FROM conversation_slots") == []
    rows = await look("SELECT session_status FROM conversation_sessions")
    assert [row["session_status"] for row in rows] == ["ended"]


async def test_what_nobody_connected_to_has_failed_and_counts_no_minutes(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any, look: Look
) -> None:
    conversation_id = await started(dreamer)

    clock.advance(16 * 60)
    swept = await app.state.sweeper.sweep()

    assert (swept.lapsed, swept.wrapped_up) == (1, 0)
    ended = (await dreamer.get(f"/conversations/{conversation_id}")).json()
    assert (ended["status"], ended["end_reason"], ended["summary"]) == ("failed", "never_connected", None)
    assert (await types(look))[-1] == "failed"
    assert (await dreamer.get("/me")).json()["minutes_today"] == 0


async def test_a_start_that_a_crashed_process_left_is_picked_up(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any, change: Change
) -> None:
    conversation_id = await started(dreamer)
    await change("DELETE FROM conversation_sessions")
    await change("UPDATE conversations SET status = 'initializing', started_at = NULL")

    early = await app.state.sweeper.sweep()
    clock.advance(16 * 60)
    late = await app.state.sweeper.sweep()

    assert (early.lapsed, late.lapsed) == (0, 1)
    assert (await dreamer.get(f"/conversations/{conversation_id}")).json()["status"] == "failed"


async def test_a_pause_that_lasts_too_long_ends_with_its_beginning(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any
) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, DREAM)
    paused_at = (await do(dreamer, conversation_id, "pause"))["paused_at"]

    clock.advance(PAUSE - 10)
    early = await app.state.sweeper.sweep()
    clock.advance(20)
    late = await app.state.sweeper.sweep()

    assert (early.paused, late.paused) == (0, 1)
    ended = (await dreamer.get(f"/conversations/{conversation_id}")).json()
    assert (ended["status"], ended["end_reason"], ended["ended_at"]) == ("completed", "timeout", paused_at)


async def test_a_resume_takes_a_conversation_out_of_the_sweepers_way(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any
) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, DREAM)
    await do(dreamer, conversation_id, "pause")
    clock.advance(PAUSE + 10)
    await do(dreamer, conversation_id, "resume")

    swept = await app.state.sweeper.sweep()

    assert (swept.paused, swept.idle, swept.lapsed) == (0, 0, 0)


async def test_what_a_stopping_process_interrupts_is_resumed_or_ends_as_shutdown(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any, look: Look
) -> None:
    stays, goes_on = await started(dreamer), await started(dreamer)
    for conversation_id in (stays, goes_on):
        await say(dreamer, conversation_id, DREAM)

    interrupted = await app.state.sweeper.interrupt([UUID(stays), UUID(goes_on), uuid4()])
    await do(dreamer, goes_on, "resume")
    clock.advance(PAUSE + 10)
    swept = await app.state.sweeper.sweep()

    assert (interrupted, swept.shut_down) == (2, 1)
    assert (await dreamer.get(f"/conversations/{stays}")).json()["end_reason"] == "system_shutdown"
    assert (await dreamer.get(f"/conversations/{goes_on}")).json()["status"] == "active"
    assert "timed_out" not in await types(look)


async def test_a_call_whose_relay_died_ends_when_nobody_resumed_it_in_time(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any, change: Change, look: Look
) -> None:
    dead, alive = await started(dreamer), await started(dreamer)
    await change("UPDATE conversations SET transport = 'relay', connection_count = 1")
    await change("UPDATE conversation_slots SET owner = 'a replica'")
    before = clock()

    clock.advance(PAUSE + 30)
    early = await app.state.sweeper.sweep()
    clock.advance(60)
    await change("UPDATE conversation_slots SET leased_until = %s WHERE conversation_id = %s", clock(), alive)
    late = await app.state.sweeper.sweep()

    assert (early.abandoned, late.abandoned) == (0, 1)
    ended = (await dreamer.get(f"/conversations/{dead}")).json()
    assert (ended["end_reason"], ended["ended_at"] <= before.isoformat()) == ("timeout", True)
    assert (await dreamer.get(f"/conversations/{alive}")).json()["status"] == "active"
    assert (await types(look))[-2:] == ["ended", "timed_out"]


async def test_the_service_ends_anybodys_conversation_once(
    app: FastAPI, dreamer: httpx.AsyncClient, look: Look
) -> None:
    conversation_id = await started(dreamer)

    first = await app.state.conversations.shut_down(UUID(conversation_id))
    again = await app.state.conversations.shut_down(UUID(conversation_id))

    assert (first, again) == (True, False)
    assert not await app.state.conversations.shut_down(uuid4())
    ended = (await dreamer.get(f"/conversations/{conversation_id}")).json()
    assert (ended["status"], ended["end_reason"]) == ("completed", "system_shutdown")
    assert (await types(look)).count("ended") == 1


async def test_a_host_applications_conversations_are_left_alone(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any, change: Change, look: Look
) -> None:
    user_id = (await dreamer.get("/me")).json()["user_id"]
    await change(
        "INSERT INTO conversations (user_id, interpreter_id, status, expires_at) VALUES (%s, 'carl', 'active', now())",
        user_id,
    )

    clock.advance(IDLE * 10)
    swept = await app.state.sweeper.sweep()

    assert (swept.idle, swept.lapsed) == (0, 0)
    assert await look("SELECT status FROM conversations") == [{"status": "active"}]


async def test_a_dream_that_was_told_becomes_a_draft_that_she_keeps(dreamer: httpx.AsyncClient) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, "Hello Carl", DREAM, "It reminds me of a summer when I was little.")
    await do(dreamer, conversation_id, "end")
    await do(dreamer, conversation_id, "end")

    drafts = (await dreamer.get("/dreams")).json()["items"]
    kept = await dreamer.patch(f"/dreams/{drafts[0]['id']}", json={"status": "kept"})

    assert [(draft["status"], draft["content"]) for draft in drafts] == [("draft", DREAM)]
    assert drafts[0]["conversation_id"] == kept.json()["conversation_id"] == conversation_id
    assert (await dreamer.get(f"/dreams/{drafts[0]['id']}")).json()["conversation_id"] == conversation_id
    assert drafts[0]["title"]
    assert "water" in drafts[0]["symbols"]
    assert kept.json()["status"] == "kept"


async def test_a_draft_that_was_dropped_does_not_come_back(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any
) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, DREAM)
    clock.advance(IDLE + 60)
    await app.state.sweeper.sweep()
    drafts = (await dreamer.get("/dreams")).json()["items"]

    await dreamer.delete(f"/dreams/{drafts[0]['id']}")
    await app.state.sweeper.sweep()
    await do(dreamer, conversation_id, "end")

    assert (await dreamer.get("/dreams")).json()["items"] == []


async def test_a_talk_about_a_dream_of_the_journal_makes_no_draft(dreamer: httpx.AsyncClient) -> None:
    dream = (await dreamer.post("/dreams", json={"content": DREAM})).json()
    conversation_id = await started(dreamer, dream_id=dream["id"])
    await say(dreamer, conversation_id, DREAM)
    await do(dreamer, conversation_id, "end")

    assert [item["id"] for item in (await dreamer.get("/dreams")).json()["items"]] == [dream["id"]]


async def test_the_clients_own_summary_stays(dreamer: httpx.AsyncClient) -> None:
    conversation_id = await started(dreamer)
    await say(dreamer, conversation_id, DREAM)

    ended = await do(dreamer, conversation_id, "end", summary="A heron, and calm.")

    assert ended["summary"] == "A heron, and calm."


async def test_deleting_a_conversation_takes_its_lines_and_its_draft_and_leaves_kept_dreams(
    dreamer: httpx.AsyncClient, look: Look
) -> None:
    kept, dropped = await started(dreamer), await started(dreamer)
    for conversation_id in (kept, dropped):
        await say(dreamer, conversation_id, DREAM)
        await do(dreamer, conversation_id, "end")
    drafts = await look("SELECT id, source_conversation_id AS source FROM dreams")
    mine = next(str(row["id"]) for row in drafts if str(row["source"]) == kept)
    await dreamer.patch(f"/dreams/{mine}", json={"status": "kept"})

    answers = [await dreamer.delete(f"/conversations/{conversation_id}") for conversation_id in (kept, dropped)]

    assert [answer.status_code for answer in answers] == [204, 204]
    assert (await dreamer.get(f"/conversations/{kept}")).status_code == 404
    assert (await dreamer.delete(f"/conversations/{kept}")).status_code == 404
    assert [(item["id"], item["conversation_id"]) for item in (await dreamer.get("/dreams")).json()["items"]] == [
        (mine, None)
    ]
    for table in ("conversations", "messages", "conversation_sessions", "conversation_slots"):
        assert await look(f"SELECT 1 FROM {table}") == []


async def test_deleting_an_open_conversation_ends_it_first(dreamer: httpx.AsyncClient, look: Look) -> None:
    conversation_id = await started(dreamer)

    assert (await dreamer.delete(f"/conversations/{conversation_id}")).status_code == 204

    assert (await types(look))[-2:] == ["ended", "deleted"]
    late = await say(dreamer, conversation_id, DREAM)
    assert (late.status_code, late.json()["code"]) == (404, "conversation_not_found")


async def test_a_deletion_is_told_once_with_ids_alone(dreamer: httpx.AsyncClient, look: Look) -> None:
    conversation_id = await started(dreamer)
    me = (await dreamer.get("/me")).json()["user_id"]

    answers = await asyncio.gather(*(dreamer.delete(f"/conversations/{conversation_id}") for _ in range(3)))

    assert sorted(answer.status_code for answer in answers) == [204, 404, 404]
    [told] = await look("SELECT * FROM system_events WHERE event_type = 'conversation.deleted'")
    assert (str(told["conversation_id"]), told["entity_id"]) == (conversation_id, conversation_id)
    assert str(told["user_id"]) == me
    assert told["event_data"].keys() == {"interpreter_id", "max_call_seconds", "sessions"}
    assert told["event_data"]["interpreter_id"] == "carl"
    [session] = told["event_data"]["sessions"]
    assert session.keys() == {"elevenlabs_conversation_id", "agent_id", "since", "until", "over_at", "direct"}
