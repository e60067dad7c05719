"""`DELETE /v1/me`: not a row, not a word, not an id is left, here or at the platform, and who was told is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from tests.privacy.conftest import CONFIRMED, House, Open, at_the_platform, due, erase, live, say

from oneiro.cli.listen import bind, listening
from oneiro.webhooks.inbox.letter import Letter
from oneiro.webhooks.inbox.store import insert as keep_letter

MARK, OTHER = "marzipan", "quicksilver"

# Rows that a whole life leaves only now and then.
TRACES = """
INSERT INTO conversation_slots (conversation_id, owner, leased_until) VALUES (%(talk)s, 'x', now())
    ON CONFLICT DO NOTHING;
INSERT INTO agent_metrics (agent_id, conversation_id, metric_type) VALUES ('a', %(talk)s, 'response_time');
INSERT INTO jobs (kind, payload, run_at, dedupe_key)
    VALUES ('conversations.summarise', jsonb_build_object('conversation_id', %(talk)s::text), now() + interval '1 h',
            'conversations.summarise:' || %(talk)s);
INSERT INTO parked_events (consumer, position, event_id, conversation_id)
    SELECT 'x', 1, id, conversation_id FROM system_events WHERE conversation_id = %(talk)s LIMIT 1;
WITH made AS (
    INSERT INTO experiments (interpreter_id, name, created_by) VALUES ('carl', 'warmer', 'x') RETURNING id
), arm AS (
    INSERT INTO experiment_arms (experiment_id, name, release_id, weight)
    SELECT made.id, 'control', r.id, 1 FROM made, interpreter_releases AS r WHERE r.interpreter_id = 'carl'
    RETURNING experiment_id, id
)
INSERT INTO experiment_assignments (experiment_id, user_id, arm_id) SELECT experiment_id, %(id)s, id FROM arm;
"""


async def leave_traces(house: House, user_id: UUID, talk: str) -> None:
    """Put something of hers into every table that may hold it."""
    for statement in TRACES.split(";\n")[:-1]:
        await house.change(statement.replace("%(talk)s", f"'{talk}'").replace("%(id)s", f"'{user_id}'"))
    await leave_letter(house, user_id, talk)


async def leave_letter(house: House, user_id: UUID, talk: str) -> None:
    """A webhook of the platform's that nobody has handled yet."""
    body = {
        "data": {
            "conversation_id": "conv_lost",
            "user_id": str(user_id),
            "transcript": [{"role": "user", "message": MARK}],
            "conversation_initiation_client_data": {"dynamic_variables": {"conversation_id": talk}},
        }
    }
    async with house.app.state.database.as_service() as conn:
        await keep_letter(conn, Letter("post_call_transcription", "conv_lost", "k", body), house.app.state.clock())


HERS = {
    "public.profiles",
    "public.dreams",
    "public.conversations",
    "public.messages",
    "public.conversation_sessions",
    "public.conversation_slots",
    "public.idempotency_keys",
    "public.safety_flags",
    "public.system_events",
    "public.parked_events",
    "public.jobs",
    "public.webhook_inbox",
    "public.agent_metrics",
    "public.conversation_analytics",
    "public.experiment_assignments",
}


async def told(house: House) -> None:
    """Everybody who was to be told has been; then the log forgets her name."""
    await house.settled()
    await house.app.state.erasure.forget_names(house.app.state.consumers)


async def test_no_table_holds_her_id_her_words_or_her_conversation_after_the_erasure(house: House, dial: Open) -> None:
    user_id, other_id = uuid4(), uuid4()
    ada, bea = await house.client(user_id), await house.client(other_id)
    talk, _ = await live(ada, dial, MARK)
    ongoing, _ = await live(ada, dial, MARK, end=False)
    kept, _ = await live(bea, dial, OTHER)
    await house.settled()
    await leave_traces(house, user_id, talk)
    before = await bea.get("/me/export")
    filled = await house.holding(str(user_id)) | await house.holding(talk)
    assert filled == HERS
    assert len(await house.holding(MARK)) >= 6

    assert (await erase(ada)).status_code == 204

    assert await house.holding(MARK) == set()
    assert await house.holding(str(user_id)) <= {"public.system_events"}
    await told(house)
    for trace in (MARK, str(user_id), talk, ongoing):
        assert await house.holding(trace) == set(), trace
    after = await bea.get("/me/export")
    parts = ("profile", "dreams", "conversations", "messages", "sessions", "analytics", "experiments", "safety")
    assert {part: after.json()[part] for part in parts} == {part: before.json()[part] for part in parts}
    assert kept in after.text


async def test_every_column_that_could_name_a_dreamer_is_known_to_the_erasure(house: House) -> None:
    columns = await house.rows(
        "SELECT table_name FROM information_schema.columns WHERE table_schema IN ('public', 'oneiro')"
        " AND (column_name IN ('user_id', 'conversation_id', 'dream_id', 'source_conversation_id'))"
    )
    # A new table with such a column has to be filled and emptied in the test above; deliveries go with their events.
    assert {f"public.{row['table_name']}" for row in columns} - HERS == {"public.webhook_deliveries"}


async def test_without_the_sentence_nothing_is_erased(house: House) -> None:
    ada = await house.client()
    await ada.post("/dreams", json={"content": "A door of water."})
    said: list[Any] = ["yes", "delete everything\0", "Delete everything", True, None]
    bodies: list[Any] = [None, {}, [], "delete everything", CONFIRMED | {"user_id": str(uuid4())}]
    for body in (*bodies, *({"confirm": each} for each in said)):
        refused = await erase(ada, body=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "invalid_input"), body
    assert (await ada.delete("/me")).status_code == 422
    assert len((await ada.get("/dreams")).json()["items"]) == 1


async def test_a_repeat_is_204_and_is_told_once_and_somebody_unknown_leaves_no_row(house: House) -> None:
    user_id = uuid4()
    ada = await house.client(user_id)
    assert (await erase(ada)).status_code == 204
    assert await house.holding(str(user_id)) == set()
    await ada.get("/me")
    answers = await asyncio.gather(*(erase(ada) for _ in range(4)))
    assert {answer.status_code for answer in answers} == {204}
    erased = await house.rows("SELECT * FROM system_events WHERE event_type = 'dreamer.erased'")
    assert [event["event_data"] for event in erased] == [{"user_id": str(user_id), "by": "dreamer"}]
    assert erased[0]["user_id"] is None


async def test_a_live_conversation_is_closed_by_its_relay_and_her_token_opens_an_empty_book(
    house: House, dial: Open
) -> None:
    ada = await house.client()
    talk, sock = await live(ada, dial, MARK, end=False)
    assert (await erase(ada)).status_code == 204
    async with asyncio.timeout(5):
        await sock.wait_closed()
    assert sock.close_code == 1000
    assert (await ada.get(f"/conversations/{talk}")).status_code == 404
    assert (await ada.post(f"/conversations/{talk}/resume")).status_code == 404
    me = (await ada.get("/me")).json()
    assert (me["name"], me["consents"]) == (None, {"voice": False, "memory": False, "analytics": False})
    assert (await ada.get("/dreams")).json()["items"] == []
    await told(house)
    assert await house.holding(MARK) == set()  # What the relay had still to write has no place any more.


async def test_the_platform_forgets_what_was_said_there(house: House, dial: Open) -> None:
    ada, mark = await house.client(), f"{MARK}-{uuid4().hex}"
    await live(ada, dial, mark[:40])
    assert mark[:40] in await at_the_platform(house)
    await erase(ada)
    await due(house)
    assert mark[:40] not in await at_the_platform(house)
    assert await house.rows("SELECT 1 FROM jobs WHERE kind LIKE 'privacy.forget_c%%' AND state = 'done'")


async def test_a_conversation_whose_id_nobody_told_us_is_found_at_the_platform_and_forgotten(
    house: House, dial: Open
) -> None:
    ada, mark = await house.client(), f"{MARK}{uuid4().hex[:12]}"
    asked = {"interpreter_id": "carl", "text_only": True, "transport": "direct"}
    started = (await ada.post("/conversations", json=asked)).json()
    sock = await dial(started["signed_url"], {"dynamic_variables": started["dynamic_variables"]})
    await say(sock, f"The {mark} water rose.")
    await sock.close()
    assert mark in await at_the_platform(house)
    await erase(ada)
    await due(house)
    assert mark not in await at_the_platform(house)


async def test_a_client_that_talks_on_with_the_platform_alone_is_forgotten_there_when_that_has_hung_up(
    house: House, dial: Open
) -> None:
    ada = await house.client()
    asked = {"interpreter_id": "carl", "text_only": True, "transport": "direct"}
    started = (await ada.post("/conversations", json=asked)).json()
    path = f"/conversations/{started['conversation_id']}/connected"
    assert (await ada.post(path, json={"elevenlabs_conversation_id": "conv_ongoing"})).status_code == 200
    await erase(ada)
    [soon, late] = await house.rows(
        "SELECT payload, run_at - now() AS wait FROM jobs WHERE kind LIKE 'privacy.forget_c%%' ORDER BY run_at"
    )
    assert soon["payload"] == late["payload"] == {"platform_id": "conv_ongoing"}
    assert soon["wait"] < timedelta(minutes=3)
    assert timedelta(minutes=60) < late["wait"] < timedelta(minutes=63)


async def test_what_the_platform_sends_after_the_erasure_is_not_kept(house: House, dial: Open) -> None:
    user_id = uuid4()
    ada = await house.client(user_id)
    talk, _ = await live(ada, dial, MARK)
    await erase(ada)
    await leave_letter(house, user_id, talk)
    async with house.app.state.database.as_service() as conn:
        [row] = await (await conn.execute("SELECT id FROM webhook_inbox")).fetchall()
    await house.app.state.reconciler.handle(row[0])
    await told(house)
    for trace in (MARK, str(user_id), talk):
        assert await house.holding(trace) == set(), trace


async def test_an_agent_that_was_made_for_her_alone_expires_at_once_and_its_key_names_nobody(
    house: House, dial: Open
) -> None:
    ada = await house.client()
    await live(ada, dial, MARK)
    await house.change(
        "UPDATE platform_agents SET scope = 'session', session_key = 'made of her', expires_at = now() + interval '1 h'"
        " WHERE agent_id IN (SELECT agent_id FROM conversations)"
    )
    await erase(ada)
    [agent] = await house.rows("SELECT session_key, expires_at <= now() AS expired FROM platform_agents")
    assert agent["expired"]
    assert agent["session_key"] != "made of her"


async def test_a_platform_that_is_down_is_asked_again(house: House, dial: Open) -> None:
    ada, mark = await house.client(), f"{MARK}{uuid4().hex[:12]}"
    await live(ada, dial, mark)
    failing = {"kind": "status", "method": "DELETE", "path": "/v1/convai/conversations/*", "status": 503}
    await house.engine.put("/engine/faults", json={"faults": [failing]})
    try:
        assert (await erase(ada)).status_code == 204
        await due(house)
        [job] = await house.rows("SELECT * FROM jobs WHERE kind = 'privacy.forget_conversation'")
        assert (job["state"], job["attempts"]) == ("queued", 1)
        assert mark in await at_the_platform(house)
    finally:
        await house.engine.delete("/engine/faults")
    await due(house)
    assert mark not in await at_the_platform(house)


Heard = list[dict[str, Any]]


@pytest.fixture
async def receiver() -> AsyncIterator[tuple[str, Heard]]:
    """Somebody else's server that is told of events."""
    heard: Heard = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for answer in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
                await receive()
                await send({"type": answer})
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        heard.append(json.loads(body))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with listening(app, bind("127.0.0.1", 0, what="a receiver")) as served:
        yield served.url, heard


async def test_a_receiver_of_webhooks_is_told_whom_to_forget_once_and_then_nobody_knows_her_name(
    house: House, receiver: tuple[str, Heard]
) -> None:
    url, heard = receiver
    user_id = uuid4()
    operator, ada = await house.client(operator=True), await house.client(user_id)
    made = await operator.post("/admin/webhooks", json={"url": url, "event_types": ["dreamer.erased"]})
    assert made.status_code == 201, made.text
    await ada.get("/me")
    await erase(ada)
    async with asyncio.timeout(20):
        while not await house.rows("SELECT 1 FROM webhook_deliveries WHERE state = 'delivered'"):
            assert await house.holding(str(user_id)) <= {"public.system_events"}
            await house.app.state.erasure.forget_names(house.app.state.consumers)  # Never before she was told of.
            await asyncio.sleep(0.02)
    assert [(each["type"], each["data"]["user_id"]) for each in heard] == [("dreamer.erased", str(user_id))]
    await told(house)
    assert await house.holding(str(user_id)) == set()


async def test_a_name_that_a_receiver_never_took_is_forgotten_after_a_week(house: House) -> None:
    user_id = uuid4()
    operator, ada = await house.client(operator=True), await house.client(user_id)
    await operator.post("/admin/webhooks", json={"url": "http://127.0.0.1:9/"})
    await ada.get("/me")
    await erase(ada)
    await told(house)
    assert await house.holding(str(user_id)) == {"public.system_events"}
    await house.change("UPDATE system_events SET created_at = created_at - interval '8 days'")
    await told(house)
    assert await house.holding(str(user_id)) == set()


async def test_whatever_is_written_during_an_erasure_is_before_or_after_it_and_never_a_fault(house: House) -> None:
    user_id = uuid4()
    ada = await house.client(user_id)
    asked = {"interpreter_id": "carl", "text_only": True}
    writes: list[Callable[[], Awaitable[httpx.Response]]] = [
        lambda: ada.post("/dreams", json={"content": MARK}),
        lambda: ada.post("/conversations", json=asked),
        lambda: ada.patch("/me", json={"name": MARK}),
        lambda: ada.get("/me"),
        lambda: erase(ada),
        lambda: ada.get("/me/export"),
    ]
    answers = await asyncio.gather(*(write() for _ in range(5) for write in writes))
    assert {answer.status_code for answer in answers} <= {200, 201, 204, 404, 409, 429}
    assert (await erase(ada)).status_code == 204
    await told(house)
    assert await house.holding(MARK) == set()
    assert await house.holding(str(user_id)) == set()


async def test_a_huge_journal_is_erased_within_seconds(house: House) -> None:
    user_id = uuid4()
    ada = await house.client(user_id)
    await ada.get("/me")
    await house.change(
        "INSERT INTO dreams (user_id, content) SELECT %s, 'x' || n FROM generate_series(1, 5000) AS n", user_id
    )
    await house.change(
        """
        WITH talks AS (
            INSERT INTO conversations (user_id, interpreter_id, status) SELECT %s, 'carl', 'completed'
            FROM generate_series(1, 500) RETURNING id
        )
        INSERT INTO messages (conversation_id, sender, content)
        SELECT id, 'user', repeat('y', 500) FROM talks, generate_series(1, 60)
        """,
        user_id,
    )
    async with asyncio.timeout(15):
        assert (await erase(ada)).status_code == 204
    assert await house.rows("SELECT 1 FROM messages") == []


async def test_a_host_application_s_account_keeps_its_row_and_loses_what_we_put_there(house: House) -> None:
    user_id = uuid4()
    ada = await house.client(user_id)
    await ada.patch("/me", json={"name": MARK, "region": "AT", "consents": {"memory": True}})
    await ada.post("/dreams", json={"content": MARK})
    await house.change("CREATE TABLE accounts (user_id uuid REFERENCES profiles (user_id))")
    await house.change("INSERT INTO accounts VALUES (%s)", user_id)
    assert (await erase(ada)).status_code == 204
    assert (await erase(ada)).status_code == 204
    assert await house.holding(MARK) == set()
    [profile] = await house.rows("SELECT * FROM profiles")
    assert (profile["region"], profile["consents"]["memory"]) == (None, False)
    assert len(await house.rows("SELECT 1 FROM system_events WHERE event_type = 'dreamer.erased'")) == 1


async def test_a_host_application_s_table_that_holds_on_to_a_dream_stops_the_erasure_as_a_whole(house: House) -> None:
    ada = await house.client()
    await ada.post("/dreams", json={"content": MARK})
    await house.change("CREATE TABLE likes (dream_id uuid REFERENCES dreams (id) DEFERRABLE INITIALLY DEFERRED)")
    await house.change("INSERT INTO likes SELECT id FROM dreams")
    refused = await erase(ada)
    assert (refused.status_code, refused.json()["code"]) == (409, "erasure_blocked")
    assert "likes" in refused.json()["detail"]
    assert MARK not in refused.text
    assert len((await ada.get("/dreams")).json()["items"]) == 1


async def test_an_operator_who_acknowledges_meanwhile_and_the_erasure_do_not_wait_for_each_other(
    house: House, dial: Open
) -> None:
    user_id = uuid4()
    ada, operator = await house.client(user_id), await house.client(operator=True)
    talk, _ = await live(ada, dial, MARK)
    gone, _ = await live(ada, dial, MARK)
    await ada.delete(f"/conversations/{gone}")  # Its flag waits without its conversation.
    flags = (await operator.get("/admin/safety")).json()["items"]
    assert {flag["conversation_id"] for flag in flags} == {talk, gone}
    await house.settled()

    acknowledged = [operator.post(f"/admin/safety/{flag['id']}/acknowledge") for flag in flags]
    erased, *answers = await asyncio.gather(erase(ada), *acknowledged)

    assert erased.status_code == 204
    assert {answer.status_code for answer in answers} <= {200, 404}
    assert (await operator.get("/admin/safety")).json()["items"] == []
    await told(house)
    for trace in (MARK, str(user_id), talk, gone):
        assert await house.holding(trace) == set(), trace
