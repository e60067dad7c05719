"""Accounts taken over into the database: by webhook, by asking, late, twice, and not of ours."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.types.json import Jsonb

from oneiro.conversations.reconcile.service import PATIENCE, PER_RUN, Reconciler
from oneiro.errors import PlatformUnavailable

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]
Begin = Callable[..., Awaitable[UUID]]
Said = Callable[..., Awaitable[None]]
Account = Callable[..., dict[str, Any]]

DREAM = ("user", "I was a heron in a paper bath.")
TALK = (("agent", "Good evening."), DREAM, ("agent", "What was the paper like?"))


@pytest.fixture
def deliver(look: Look, reconciler: Reconciler, now: datetime) -> Callable[..., Awaitable[UUID]]:
    """Puts a webhook into the inbox and handles it."""

    async def delivered(data: Any, *, received: datetime | None = None) -> UUID:
        [(inbox_id,)] = await look(
            "INSERT INTO webhook_inbox (delivery_key, event_type, body, received_at)"
            " VALUES (gen_random_uuid()::text, 'post_call_transcription', %s, %s) RETURNING id",
            Jsonb({"type": "post_call_transcription", "data": data}),
            received or now,
        )
        await reconciler.handle(inbox_id)
        found: UUID = inbox_id
        return found

    return delivered


Deliver = Callable[..., Awaitable[UUID]]


async def lines(look: Look) -> list[tuple[Any, ...]]:
    return await look("SELECT sender, content FROM messages ORDER BY occurred_at, ordinal")


async def events(look: Look, kind: str) -> list[dict[str, Any]]:
    rows = await look("SELECT event_data FROM system_events WHERE event_type = %s ORDER BY seq", kind)
    return [row[0] for row in rows]


async def inbox(look: Look) -> list[tuple[Any, ...]]:
    return await look("SELECT body IS NULL, handled_at IS NOT NULL, error_code FROM webhook_inbox")


async def test_a_webhook_fills_in_what_is_missing_and_is_forgotten(
    begin: Begin, said: Said, deliver: Deliver, look: Look, account: Account
) -> None:
    conversation_id = await begin("conv_1")
    await said(conversation_id, ("interpreter", "Good evening.", 0))

    await deliver(account("conv_1", *TALK))

    assert await lines(look) == [
        ("interpreter", "Good evening."),
        DREAM,
        ("interpreter", "What was the paper like?"),
    ]
    [(count, summary)] = await look("SELECT message_count, summary FROM conversations")
    assert (count, summary) == (3, "A heron was spoken of.")  # Nothing of hers was here to be summed up.
    [(metadata, reconciled)] = await look(
        "SELECT session_metadata, reconciled_at IS NOT NULL FROM conversation_sessions"
    )
    assert reconciled
    assert metadata["platform"] == {
        "seconds": 95,
        "cost": 420,
        "termination_reason": "Client disconnected",
        "error_code": None,
        "successful": "success",
        "evaluation": {"kindness": "success"},
        "language": "en",
    }
    assert await inbox(look) == [(True, True, None)]
    assert await events(look, "conversation.reconciled") == [{"filled": 2, "corrected": 0, "session": 1}]
    received = await events(look, "conversation.message_received")
    assert [(each["sender"], each["chars"]) for each in received] == [("user", len(DREAM[1])), ("interpreter", 24)]


async def test_a_second_account_changes_nothing(begin: Begin, deliver: Deliver, look: Look, account: Account) -> None:
    await begin("conv_1")
    for _ in range(2):
        await deliver(account("conv_1", *TALK))

    assert len(await lines(look)) == 3
    assert len(await events(look, "conversation.reconciled")) == 1


async def test_two_accounts_at_the_same_moment_fill_in_once(
    begin: Begin, deliver: Deliver, look: Look, account: Account
) -> None:
    await begin("conv_1")

    await asyncio.gather(*(deliver(account("conv_1", *TALK)) for _ in range(4)))

    assert len(await lines(look)) == 3
    assert await look("SELECT message_count FROM conversations") == [(3,)]


async def test_a_summary_of_ours_stays_where_the_dreamer_was_heard(
    begin: Begin, said: Said, deliver: Deliver, look: Look, account: Account
) -> None:
    await said(await begin("conv_1"), ("user", DREAM[1], 10))

    await deliver(account("conv_1", *TALK))

    assert await look("SELECT summary FROM conversations") == [("Ours.",)]


async def test_what_the_dreamer_said_passes_the_crisis_gate_late_as_it_is(
    begin: Begin, deliver: Deliver, look: Look, account: Account
) -> None:
    await begin("conv_1")

    await deliver(account("conv_1", ("user", "I want to kill myself tonight.")))

    assert await look("SELECT safety_tier FROM conversations") == [("active_danger",)]
    [flagged] = await events(look, "safety.escalated")
    assert flagged["tier"] == "active_danger"
    assert "kill" not in str(flagged)


async def test_an_interrupted_reply_is_cut_to_what_was_heard(
    begin: Begin, said: Said, deliver: Deliver, look: Look, account: Account
) -> None:
    conversation_id = await begin("conv_1")
    whole = "The heron may stand for patience, and for a long wait."
    await said(conversation_id, ("interpreter", whole, 0))
    cut = {"role": "agent", "message": "The heron may...", "original_message": whole, "interrupted": True}

    await deliver(account("conv_1", transcript=[cut]))

    assert await look("SELECT content, original_content FROM messages") == [("The heron may...", whole)]
    assert len(await events(look, "conversation.message_corrected")) == 1


async def test_a_webhook_that_is_faster_than_the_last_lines_waits_for_the_sessions_end(
    begin: Begin, deliver: Deliver, look: Look, account: Account, now: datetime
) -> None:
    await begin("conv_1", ended=None)

    await deliver(account("conv_1", *TALK))

    assert await lines(look) == []
    assert await inbox(look) == [(False, False, None)]
    [(kind, wait)] = await look("SELECT kind, run_at FROM jobs")
    assert kind == "webhook.handle"
    assert wait > now
    await deliver(account("conv_1", *TALK), received=now - PATIENCE)
    assert len(await lines(look)) == 3


async def test_a_webhook_finds_a_session_whose_id_the_client_never_told(
    begin: Begin, deliver: Deliver, look: Look, account: Account
) -> None:
    conversation_id = await begin(connected=False)

    await deliver(account("conv_1", *TALK, our_id=conversation_id))

    assert len(await lines(look)) == 3
    assert await look("SELECT elevenlabs_conversation_id FROM conversation_sessions") == [("conv_1",)]
    assert await look("SELECT elevenlabs_conversation_id FROM conversations") == [("conv_1",)]


@pytest.mark.parametrize(
    "change",
    [
        {"agent_id": "agent_of_somebody_else"},
        {"metadata": {"start_time_unix_secs": 1_500_000_000}},
        {"conversation_initiation_client_data": {"dynamic_variables": {"conversation_id": "not an id"}}},
        {"conversation_initiation_client_data": {"dynamic_variables": {"conversation_id": str(uuid4())}}},
        {"conversation_id": ""},
        {"transcript": None, "agent_id": None},
    ],
)
async def test_an_account_that_is_not_of_ours_is_dropped(
    begin: Begin, deliver: Deliver, look: Look, account: Account, change: dict[str, Any]
) -> None:
    conversation_id = await begin(connected=False)

    await deliver(account("conv_1", *TALK, our_id=conversation_id) | change)

    assert await lines(look) == []
    [(forgotten, handled, why)] = await inbox(look)
    assert (forgotten, handled) == (True, True)
    assert why in {"not_ours", "unreadable"}


async def test_an_id_that_a_client_claimed_brings_nobody_elses_words(
    begin: Begin, deliver: Deliver, look: Look, account: Account
) -> None:
    """The platform says whose conversation it was."""
    await begin("conv_1")

    await deliver(account("conv_1", *TALK, our_id=uuid4()))

    assert await lines(look) == []


async def test_a_webhook_of_a_conversation_that_was_deleted_is_dropped(
    begin: Begin, deliver: Deliver, look: Look, account: Account
) -> None:
    await begin("conv_1")
    await look("DELETE FROM conversations")

    await deliver(account("conv_1", *TALK))

    assert await inbox(look) == [(True, True, "not_ours")]


async def test_what_never_arrived_is_asked_for(
    begin: Begin, reconciler: Reconciler, platform: Any, look: Look, account: Account, unreconciled: Any
) -> None:
    await begin("conv_1")
    platform.accounts["conv_1"] = account("conv_1", *TALK)
    assert await unreconciled() == 1

    assert await reconciler.run() == 1

    assert len(await lines(look)) == 3
    assert await unreconciled() == 0
    assert await reconciler.run() == 0
    assert platform.asked == ["conv_1"]


async def test_a_session_without_an_id_is_found_in_the_platforms_list(
    begin: Begin, reconciler: Reconciler, platform: Any, look: Look, account: Account, unreconciled: Any
) -> None:
    conversation_id = await begin()
    for number in range(5):
        platform.accounts[f"other_{number}"] = account(f"other_{number}", agent_id="agent_of_somebody_else")
    platform.accounts["conv_1"] = account("conv_1", *TALK, our_id=conversation_id)

    assert await reconciler.run() == 1

    assert len(await lines(look)) == 3
    assert platform.asked == ["conv_1"]
    assert await unreconciled() == 0


async def test_what_is_recent_or_was_never_seen_by_the_platform_is_not_asked_for(
    begin: Begin, reconciler: Reconciler, platform: Any, now: datetime, unreconciled: Any
) -> None:
    await begin("conv_recent", ended=now - timedelta(minutes=1))
    await begin("conv_open", ended=None)
    await begin(connected=False)
    await begin(degraded=True)

    assert await reconciler.run() == 0

    assert platform.asked == []
    assert await unreconciled() == 0


@pytest.mark.parametrize("why", ["gone", "unfinished", "never_listed", "not_ours", "refused"])
async def test_every_session_is_settled_within_a_day_whatever_the_platform_says(
    begin: Begin, reconciler: Reconciler, platform: Any, look: Look, account: Account, unreconciled: Any, why: str
) -> None:
    await begin(None if why == "never_listed" else "conv_1")
    if why == "unfinished":
        platform.accounts["conv_1"] = account("conv_1", *TALK, status="processing")
    if why == "not_ours":
        platform.accounts["conv_1"] = account("conv_1", *TALK, agent_id="agent_of_somebody_else")
    if why == "refused":
        platform.refused.add("conv_1")

    await reconciler.run()
    later = why in {"unfinished", "never_listed", "refused"}
    assert await unreconciled() == later
    await reconciler.run()  # It is not asked for again at once.
    assert len(platform.asked) <= 1
    await look(
        "UPDATE conversation_sessions"
        " SET reconcile_after = NULL, session_end_time = session_end_time - '1 day'::interval"
    )
    await reconciler.run()

    assert await unreconciled() == 0
    assert await lines(look) == []
    assert await look("SELECT session_metadata -> 'platform' ->> 'missing' FROM conversation_sessions") == [(why,)]


async def test_while_the_platform_is_away_nothing_is_given_up(
    begin: Begin, reconciler: Reconciler, platform: Any, look: Look, account: Account, unreconciled: Any
) -> None:
    await begin("conv_1")
    platform.accounts["conv_1"] = account("conv_1", *TALK)
    platform.away = True
    with pytest.raises(PlatformUnavailable):
        await reconciler.run()
    assert await unreconciled() == 1

    platform.away = False
    assert await reconciler.run() == 1
    assert await unreconciled() == 0


async def test_a_run_is_bounded_and_the_next_one_goes_on(
    begin: Begin, reconciler: Reconciler, platform: Any, account: Account, unreconciled: Any
) -> None:
    for number in range(PER_RUN + 3):
        await begin(f"conv_{number}")
        platform.accounts[f"conv_{number}"] = account(f"conv_{number}", *TALK)

    assert await reconciler.run() == PER_RUN
    assert await unreconciled() == 3
    assert await reconciler.run() == 3


async def test_no_event_and_no_metadata_holds_what_was_said(
    begin: Begin, deliver: Deliver, look: Look, account: Account
) -> None:
    await begin("conv_1")
    marked = [(role, f"{text} Marzipan.") for role, text in TALK]

    await deliver(account("conv_1", *marked))

    kept = await look(
        "SELECT event_data::text FROM system_events UNION ALL SELECT session_metadata::text FROM conversation_sessions"
        " UNION ALL SELECT payload::text FROM jobs UNION ALL SELECT coalesce(body::text, '') FROM webhook_inbox"
    )
    assert kept
    assert not any("arzipan" in row[0] for row in kept)
