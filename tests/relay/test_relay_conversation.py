"""A conversation through the relay from its ticket to its end: what is passed on, what is kept, how it is over."""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg

from oneiro.conversations.slots.store import TURNSTILE

Dial = Callable[..., Awaitable[Any]]
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]

EVENTS = "SELECT event_type, event_data FROM system_events WHERE entity_id = %s ORDER BY seq"


async def test_a_written_conversation_is_relayed_and_every_line_kept(
    dreamer: Any, dial: Dial, look: Rows, until: Rows
) -> None:
    started = await dreamer.start()
    conversation_id = started["conversation_id"]
    assert started["status"] == "initializing"
    assert started["signed_url"].startswith("ws://127.0.0.1")
    assert "/v1/relay?ticket=" in started["signed_url"]
    async with (await dial(started["signed_url"])).socket as raw:
        assert raw.subprotocol == "convai"
    socket = await dial(started["signed_url"])
    metadata = await socket.open()
    assert metadata["type"] == "conversation_initiation_metadata"
    assert await socket.reply() == started["opening"]
    reply = await socket.say("I dreamt of a house by the sea.")
    await socket.socket.close(1000)
    (row,) = await until("SELECT * FROM conversations WHERE id = %s AND status = 'completed'", conversation_id)
    assert (row["end_reason"], row["message_count"], row["connection_count"]) == ("user_ended", 3, 1)
    platform_id = metadata["conversation_initiation_metadata_event"]["conversation_id"]
    assert row["elevenlabs_conversation_id"] == platform_id
    lines = await dreamer.lines(conversation_id)
    assert [(line["event_id"], line["sender"], line["content"]) for line in lines] == [
        ("1:interpreter:0", "interpreter", started["opening"]),
        ("1:user:0", "user", "I dreamt of a house by the sea."),
        ("1:interpreter:1", "interpreter", reply),
    ]
    latency = lines[2]["metadata"]["latency"]
    assert latency["clock"] == "relay_monotonic"
    assert (latency["from"], latency["to"]) == ("user_message", "text")
    assert 0 <= latency["ms"] < 5_000
    told = await look(EVENTS, conversation_id)
    assert [event["event_type"].removeprefix("conversation.") for event in told] == [
        "requested",
        "disclosure.given",
        "started",
        "connected",
        "message_received",
        "message_received",
        "message_received",
        "ended",
    ]
    assert told[-1]["event_data"]["reason"] == "user_ended"
    assert await look("SELECT 1 FROM conversation_slots") == []
    assert "house by the sea" not in json.dumps([event["event_data"] for event in told])


async def test_only_the_digest_of_a_ticket_is_stored_and_it_opens_one_call(
    dreamer: Any, dial: Dial, look: Rows
) -> None:
    started = await dreamer.start()
    ticket = parse_qs(urlsplit(started["signed_url"]).query)["ticket"][0]
    assert len(ticket) >= 43
    (row,) = await look("SELECT * FROM conversation_sessions")
    assert row["ticket_sha256"] == hashlib.sha256(ticket.encode()).hexdigest()
    assert row["connected_at"] is None
    first = await dial(started["signed_url"])
    await first.open()
    second = await dial(started["signed_url"])
    assert await second.closed() == (1008, "ticket_used")
    assert await first.reply() == started["opening"]


async def test_two_sockets_that_race_for_a_ticket_get_one_call(dreamer: Any, dial: Dial, look: Rows) -> None:
    started = await dreamer.start()
    sockets = [await dial(started["signed_url"]) for _ in range(4)]

    async def attempt(socket: Any) -> str:
        override = {"conversation": {"text_only": True}}
        await socket.send(type="conversation_initiation_client_data", conversation_config_override=override)
        try:
            return str((await socket.next())["type"])
        except Exception:  # noqa: BLE001 - a closed socket, however it is told.
            return f"{socket.socket.close_code} {socket.socket.close_reason}"

    outcomes = await asyncio.gather(*map(attempt, sockets))
    assert outcomes.count("conversation_initiation_metadata") == 1
    assert set(outcomes) <= {"conversation_initiation_metadata", "1008 ticket_used", "1013 opening"}
    (row,) = await look("SELECT connection_count FROM conversations")
    assert row["connection_count"] == 1


async def test_a_ticket_that_is_unknown_or_has_expired_opens_nothing(
    dreamer: Any, dial: Dial, replica: Any, clock: Any
) -> None:
    started = await dreamer.start()
    address = started["signed_url"].split("?")[0]
    for wrong in (address, f"{address}?ticket=", f"{address}?ticket=abc"):
        assert await (await dial(wrong)).closed() == (1008, "ticket_unknown")
    clock.advance(15 * 60 + 1)
    assert await (await dial(started["signed_url"])).closed() == (1008, "ticket_expired")


async def test_a_client_that_asks_for_no_subprotocol_gets_none(dreamer: Any, dial: Dial) -> None:
    started = await dreamer.start()
    socket = await dial(started["signed_url"], subprotocols=None)
    assert socket.socket.subprotocol is None
    assert (await socket.open())["type"] == "conversation_initiation_metadata"


async def test_a_client_that_vanishes_pauses_its_conversation_and_can_resume(
    dreamer: Any, dial: Dial, look: Rows, until: Rows
) -> None:
    started = await dreamer.start()
    conversation_id = started["conversation_id"]
    socket = await dial(started["signed_url"])
    await socket.open()
    await socket.reply()
    await socket.say("There was a lighthouse, and it called me by my name.")
    socket.socket.transport.abort()
    (row,) = await until("SELECT * FROM conversations WHERE id = %s AND paused_at IS NOT NULL", conversation_id)
    assert row["status"] == "active"
    assert await look("SELECT 1 FROM conversation_slots") == []
    resumed = await dreamer.post(f"/conversations/{conversation_id}/resume")
    assert resumed["signed_url"] != started["signed_url"]
    assert "lighthouse" in resumed["dynamic_variables"]["dream_context"]
    again = await dial(resumed["signed_url"])
    await again.open()
    assert await again.reply() == resumed["opening"]
    assert resumed["opening"] != started["opening"]
    await again.say("It was very bright.")
    await again.socket.close(1000)
    await until("SELECT 1 FROM conversations WHERE id = %s AND end_reason = 'user_ended'", conversation_id)
    sessions = await look("SELECT * FROM conversation_sessions ORDER BY session")
    assert [(one["session"], one["session_status"], one["close_code"]) for one in sessions] == [
        (1, "ended", 1006),
        (2, "ended", 1000),
    ]
    events = [line["event_id"] for line in await dreamer.lines(conversation_id)]
    assert [event for event in events if event.startswith("2:")] == ["2:interpreter:0", "2:user:0", "2:interpreter:1"]
    types = [event["event_type"] for event in await look(EVENTS, conversation_id)]
    assert types.count("conversation.ended") == types.count("conversation.paused") == 1


SOON = 3.0
"""Seconds; it takes about a tenth of one where nobody else is at work."""


async def test_reloading_the_page_closes_the_socket_that_was_left_open(dreamer: Any, dial: Dial) -> None:
    started = await dreamer.start()
    left = await dial(started["signed_url"])
    await left.open()
    resumed = await dreamer.post(f"/conversations/{started['conversation_id']}/resume")
    again = await dial(resumed["signed_url"])
    await again.open()
    assert await left.closed() == (1000, "continued elsewhere")
    assert await again.reply() == resumed["opening"]
    assert (await dreamer.read(started["conversation_id"]))["status"] == "active"


async def test_an_address_that_was_never_opened_can_be_had_again(dreamer: Any, dial: Dial) -> None:
    started = await dreamer.start()
    again = await dreamer.post(f"/conversations/{started['conversation_id']}/resume")
    assert again["status"] == "initializing"
    assert await (await dial(started["signed_url"])).closed() == (1008, "ticket_unknown")
    socket = await dial(again["signed_url"])
    await socket.open()
    assert await socket.reply() == started["opening"] or again["opening"]


async def test_ending_at_another_replica_closes_the_socket_at_once(
    serve: Callable[..., Awaitable[Any]], sign_in: Callable[..., Any], dial: Dial, look: Rows, limits: Any
) -> None:
    # The look now and then is far away: only the tail can tell in time.
    dreamer = sign_in(await serve(limits(renewing=3600)))
    started = await dreamer.start()
    socket = await dial(started["signed_url"])
    await socket.open()
    elsewhere = sign_in(await serve(limits(renewing=3600)), dreamer.user_id)
    ended = await elsewhere.post(f"/conversations/{started['conversation_id']}/end")
    assert ended["status"] == "completed"
    began = time.monotonic()
    assert await socket.closed() == (1000, "ended")
    assert time.monotonic() - began < SOON
    types = [event["event_type"] for event in await look(EVENTS, started["conversation_id"])]
    assert types.count("conversation.ended") == 1


async def test_a_call_that_was_ended_while_it_was_let_in_keeps_no_slot(
    dreamer: Any, dial: Dial, look: Rows, until: Rows, db_url: str
) -> None:
    started = await dreamer.start()
    async with await psycopg.AsyncConnection.connect(db_url) as turnstile:
        await turnstile.execute("SELECT pg_advisory_xact_lock(%s)", (TURNSTILE,))
        socket = await dial(started["signed_url"])
        await socket.send(type="conversation_initiation_client_data")
        # It has been found to be open and waits for its slot; meanwhile it is ended.
        await until("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        await dreamer.post(f"/conversations/{started['conversation_id']}/end")
    assert (await socket.closed())[0] == 1008
    assert await look("SELECT * FROM conversation_slots") == []


async def test_deleting_a_conversation_closes_its_socket(dreamer: Any, dial: Dial, look: Rows) -> None:
    started = await dreamer.start()
    socket = await dial(started["signed_url"])
    await socket.open()
    answer = await dreamer.http.delete(f"/conversations/{started['conversation_id']}")
    assert answer.status_code == 204
    assert await socket.closed() == (1000, "ended")
    assert await look("SELECT 1 FROM messages") == []


async def test_a_server_that_stops_asks_its_clients_to_resume(
    dreamer: Any, dial: Dial, replica: Any, until: Rows
) -> None:
    started = await dreamer.start()
    socket = await dial(started["signed_url"])
    await socket.open()
    draining = asyncio.create_task(replica.relay.drain(0.1, replica.app.state.sweeper.interrupt))
    assert (await socket.closed())[0] == 1012
    await draining
    assert replica.relay.calls == 0
    await until("SELECT 1 FROM conversations WHERE paused_at IS NOT NULL AND status = 'active'")
    resumed = await dreamer.post(f"/conversations/{started['conversation_id']}/resume")
    assert (await (await dial(resumed["signed_url"])).closed())[0] == 1012


async def test_the_slot_of_an_open_call_is_renewed(
    serve: Callable[..., Awaitable[Any]], sign_in: Callable[..., Any], dial: Dial, look: Rows, until: Rows, limits: Any
) -> None:
    replica = await serve(limits(renewing=0.04))
    started = await sign_in(replica).start()
    socket = await dial(started["signed_url"])
    await socket.open()
    (before,) = await look("SELECT owner, leased_until FROM conversation_slots")
    assert before["owner"] != "direct"
    await until("SELECT 1 FROM conversation_slots WHERE leased_until > %s", before["leased_until"])
