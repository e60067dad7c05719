"""Lines on their way into the database: repeats, corrections, wrong clocks, and one bad line among many."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI

from oneiro.database.embedded import Server

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
SignIn = Callable[..., httpx.AsyncClient]


async def started(client: httpx.AsyncClient, **options: Any) -> str:
    answer = await client.post("/conversations", json={"interpreter_id": "carl", "text_only": True, "options": options})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["conversation_id"])


async def send(client: httpx.AsyncClient, conversation_id: str, *messages: dict[str, Any]) -> httpx.Response:
    return await client.post(f"/conversations/{conversation_id}/messages", json={"messages": list(messages)})


def line(event_id: str, content: str, sender: str = "user", **more: Any) -> dict[str, Any]:
    return {"event_id": event_id, "sender": sender, "content": content} | more


async def lines(client: httpx.AsyncClient, conversation_id: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/conversations/{conversation_id}/messages")
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_an_interpreters_line_that_was_cut_short_is_amended_and_keeps_its_original(
    dreamer: httpx.AsyncClient, look: Look
) -> None:
    conversation_id = await started(dreamer)
    await send(dreamer, conversation_id, line("1", "What did the heron do with the water?", "interpreter"))

    amended = await send(dreamer, conversation_id, line("1", "What did the heron …", "interpreter"))
    again = await send(dreamer, conversation_id, line("1", "What did the heron …", "interpreter"))
    twice = await send(dreamer, conversation_id, line("1", "What did …", "interpreter"))

    assert (amended.json()["corrected"], amended.json()["duplicates"]) == (1, 0)
    assert (again.json()["corrected"], again.json()["duplicates"]) == (0, 1)
    assert twice.json()["corrected"] == 1
    found = await lines(dreamer, conversation_id)
    assert [(one["content"], one["original_content"]) for one in found] == [
        ("What did …", "What did the heron do with the water?")
    ]
    assert (await dreamer.get(f"/conversations/{conversation_id}")).json()["message_count"] == 1
    events = await look("SELECT event_data FROM system_events WHERE event_type = 'conversation.message_corrected'")
    assert [row["event_data"] for row in events] == [{"message_id": found[0]["id"]}] * 2


async def test_the_dreamers_line_changes_only_when_it_is_called_a_correction(dreamer: httpx.AsyncClient) -> None:
    conversation_id = await started(dreamer)
    await send(dreamer, conversation_id, line("1", "A heron."))

    ignored = await send(dreamer, conversation_id, line("1", "A stork."))
    amended = await send(dreamer, conversation_id, line("1", "A crane.", metadata={"correction": True}))

    assert (ignored.json()["duplicates"], amended.json()["corrected"]) == (1, 1)
    assert [(one["content"], one["original_content"]) for one in await lines(dreamer, conversation_id)] == [
        ("A crane.", "A heron.")
    ]


async def test_a_line_and_its_correction_in_one_report_are_both_taken(dreamer: httpx.AsyncClient) -> None:
    conversation_id = await started(dreamer)

    answer = await send(
        dreamer,
        conversation_id,
        line("1", "Tell me of the water and the paper.", "interpreter"),
        line("1", "Tell me of the …", "interpreter"),
        line("2", "It was warm."),
        line("2", "It was warm."),
    )

    assert answer.json() == {"stored": 2, "duplicates": 1, "corrected": 1, "safety": None}
    found = await lines(dreamer, conversation_id)
    assert [one["content"] for one in found] == ["Tell me of the …", "It was warm."]


async def test_lines_stand_in_the_order_in_which_they_were_said(dreamer: httpx.AsyncClient, clock: Any) -> None:
    conversation_id = await started(dreamer)
    clock.advance(60)
    now = clock()
    at = {name: (now - timedelta(seconds=ago)).isoformat() for name, ago in (("first", 30), ("second", 20))}

    await send(dreamer, conversation_id, line("b", "second", timestamp=at["second"]))
    await send(dreamer, conversation_id, line("a", "first", timestamp=at["first"]), line("c", "third"))

    assert [one["content"] for one in await lines(dreamer, conversation_id)] == ["first", "second", "third"]


@pytest.mark.parametrize(
    "timestamp", ["0001-01-01T00:00:00+14:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59-12:00"]
)
async def test_a_wrong_clock_puts_no_line_before_the_conversation_or_into_the_future(
    dreamer: httpx.AsyncClient, clock: Any, timestamp: str
) -> None:
    conversation_id = await started(dreamer)
    begun = (await dreamer.get(f"/conversations/{conversation_id}")).json()["created_at"]

    answer = await send(dreamer, conversation_id, line("1", "A heron.", timestamp=timestamp))

    assert answer.status_code == 202
    at = (await lines(dreamer, conversation_id))[0]["occurred_at"]
    assert begun <= at <= clock().isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    "metadata",
    [
        '{"a": "\\u0000"}',
        '{"a\\u0000": 1}',
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": "\\ud800"}',
        '{"a": "' + "x" * 5000 + '"}',
    ],
)
async def test_metadata_that_cannot_be_stored_is_refused_and_costs_nobody_a_line(
    sign_in: SignIn, metadata: str
) -> None:
    dreamer, other = sign_in(), sign_in()
    mine, theirs = await started(dreamer), await started(other)
    body = f'{{"messages": [{{"event_id": "1", "sender": "user", "content": "A heron.", "metadata": {metadata}}}]}}'

    bad, good = await asyncio.gather(
        dreamer.post(f"/conversations/{mine}/messages", content=body, headers={"Content-Type": "application/json"}),
        send(other, theirs, line("1", "A stork.")),
    )

    assert bad.status_code == 422
    assert good.json()["stored"] == 1


async def test_a_backslash_before_a_u_is_no_control_character(dreamer: httpx.AsyncClient) -> None:
    conversation_id = await started(dreamer)

    answer = await send(dreamer, conversation_id, line("1", "A heron.", metadata={"path": "C:\\u0000"}))

    assert answer.status_code == 202
    assert (await lines(dreamer, conversation_id))[0]["metadata"] == {"path": "C:\\u0000"}


@pytest.mark.parametrize("content", ["\x00\x07", " \n\t "])
async def test_words_that_vanish_when_cleaned_are_refused(dreamer: httpx.AsyncClient, content: str) -> None:
    conversation_id = await started(dreamer)

    assert (await send(dreamer, conversation_id, line("1", content))).status_code == 422


async def test_each_caller_of_a_common_commit_hears_of_its_own_lines(app: FastAPI, sign_in: SignIn, look: Look) -> None:
    one, two, stranger = sign_in(), sign_in(), sign_in()
    await stranger.get("/me")
    open_one, ended = await started(one), await started(two)
    await two.post(f"/conversations/{ended}/end")

    answers = await asyncio.gather(
        *(send(one, open_one, line(f"{number}", "A heron.")) for number in range(8)),
        send(one, open_one, line("0", "A heron.")),
        send(two, ended, line("1", "Late.")),
        send(stranger, open_one, line("9", "Not mine.")),
        send(one, "00000000-0000-4000-8000-000000000000", line("1", "Nowhere.")),
    )

    assert [answer.status_code for answer in answers] == [202] * 9 + [409, 404, 404]
    assert sum(answer.json()["stored"] for answer in answers[:9]) == 8
    assert answers[9].json()["code"] == "conversation_ended"
    assert len(await look("SELECT 1 FROM messages")) == 8


async def test_danger_is_flagged_once_for_a_line_however_often_it_is_sent(
    dreamer: httpx.AsyncClient, look: Look
) -> None:
    conversation_id = await started(dreamer)
    grave = line("1", "I have the pills here and I am going to kill myself tonight")

    answers = [await send(dreamer, conversation_id, grave, line("2", "A heron.")) for _ in range(2)]

    assert [answer.json()["safety"]["tier"] for answer in answers] == ["active_danger"] * 2
    assert all(answer.json()["safety"]["card"]["lines"] for answer in answers)
    events = await look("SELECT event_type, event_data FROM system_events WHERE event_type LIKE 'safety.%%'")
    assert [(row["event_type"], row["event_data"]["tier"]) for row in events] == [("safety.escalated", "active_danger")]
    await send(dreamer, conversation_id, line("3", "The heron again."))
    assert (await dreamer.get(f"/conversations/{conversation_id}")).json()["safety_tier"] == "active_danger"


async def test_a_line_is_there_for_everybody_when_it_is_acknowledged(dreamer: httpx.AsyncClient, db_url: str) -> None:
    conversation_id = await started(dreamer)

    await send(dreamer, conversation_id, line("1", "A heron."))

    with psycopg.connect(db_url) as conn:
        row = conn.execute("SELECT count(*) FROM messages WHERE conversation_id = %s", (conversation_id,)).fetchone()
    assert row == (1,)


async def test_after_a_fault_of_ours_the_writer_goes_on(
    dreamer: httpx.AsyncClient, change: Callable[..., Awaitable[None]]
) -> None:
    conversation_id = await started(dreamer)
    await change("ALTER TABLE messages RENAME TO hidden")
    failed = await send(dreamer, conversation_id, line("1", "A heron."))
    await change("ALTER TABLE hidden RENAME TO messages")

    again = await send(dreamer, conversation_id, line("1", "A heron."))

    assert failed.status_code == 500
    assert again.json()["stored"] == 1


async def test_what_is_stored_and_flagged_is_counted_once(app: FastAPI, dreamer: httpx.AsyncClient) -> None:
    conversation_id = await started(dreamer)
    grave = line("1", "I have the pills here and I am going to kill myself tonight")
    reply = line("2", "What did the heron do with the water?", "interpreter")

    for _ in range(2):
        await send(dreamer, conversation_id, grave, reply, line("3", "A heron."))
    await send(dreamer, conversation_id, line("2", "What did the heron …", "interpreter"))

    shown = app.state.metrics.render(None).decode()
    assert 'oneiro_messages_total{sender="user"} 2.0' in shown
    assert 'oneiro_messages_total{sender="interpreter"} 1.0' in shown
    assert 'oneiro_safety_total{tier="active_danger"} 1.0' in shown


async def test_a_finding_outlives_a_database_that_is_away(
    app: FastAPI, dreamer: httpx.AsyncClient, look: Look, postgres: Server, db_name: str
) -> None:
    conversation_id = await started(dreamer)
    batch = line("1", "I have the pills here and I am going to kill myself tonight"), line("2", "A heron.")
    with psycopg.connect(postgres.admin_url, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {db_name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (db_name,))
        refused = await send(dreamer, conversation_id, *batch)
        counted = app.state.metrics.render(None).decode()
        admin.execute(f"ALTER DATABASE {db_name} ALLOW_CONNECTIONS true")

    async with asyncio.timeout(60):
        while (answer := await send(dreamer, conversation_id, *batch)).status_code == 503:
            pass
    again = await send(dreamer, conversation_id, *batch)

    assert (refused.status_code, refused.json()["code"]) == (503, "database_unavailable")
    assert (refused.json()["retryable"], refused.headers["retry-after"]) == (True, "2")
    assert 'oneiro_safety_total{tier="active_danger"} 1.0' not in counted
    assert (answer.json()["stored"], again.json()["duplicates"]) == (2, 2)
    assert answer.json()["safety"] == again.json()["safety"]
    events = await look("SELECT event_type FROM system_events WHERE event_type LIKE 'safety.%%'")
    assert [row["event_type"] for row in events] == ["safety.escalated"]
    assert 'oneiro_safety_total{tier="active_danger"} 1.0' in app.state.metrics.render(None).decode()
