"""Two replicas, each with a pool of its own, at the same moment: one of them moves the conversation."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

from oneiro.app import Surroundings, create_app
from oneiro.settings import Settings

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
SignIn = Callable[..., httpx.AsyncClient]

DREAM = "I dreamt that a glass tram stopped in the middle of the lake and let out a hundred moths."
HALF = 6


@pytest.fixture
def both(sign_in: SignIn, replica: FastAPI) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
    """The same dreamer at two replicas."""
    user_id = uuid4()
    return sign_in(user_id), sign_in(user_id, at=replica)


async def started(client: httpx.AsyncClient) -> str:
    answer = await client.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["conversation_id"])


async def say(client: httpx.AsyncClient, conversation_id: str, event_id: str, content: str = DREAM) -> httpx.Response:
    body = {"messages": [{"event_id": event_id, "sender": "user", "content": content}]}
    return await client.post(f"/conversations/{conversation_id}/messages", json=body)


async def count(look: Look, event_type: str) -> int:
    return len(await look("SELECT 1 FROM system_events WHERE event_type = %s", event_type))


async def test_twelve_ends_at_once_end_once(both: tuple[httpx.AsyncClient, httpx.AsyncClient], look: Look) -> None:
    conversation_id = await started(both[0])
    await say(both[0], conversation_id, "1")

    answers = await asyncio.gather(
        *(client.post(f"/conversations/{conversation_id}/end") for client in both for _ in range(HALF))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert await count(look, "conversation.ended") == 1
    assert len(await look("SELECT 1 FROM dreams")) == 1


async def test_twelve_pauses_at_once_pause_once(both: tuple[httpx.AsyncClient, httpx.AsyncClient], look: Look) -> None:
    conversation_id = await started(both[0])

    answers = await asyncio.gather(
        *(client.post(f"/conversations/{conversation_id}/pause") for client in both for _ in range(HALF))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert await count(look, "conversation.paused") == 1


async def test_twelve_resumes_at_once_make_one_session(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], look: Look
) -> None:
    conversation_id = await started(both[0])
    await say(both[0], conversation_id, "1")
    await both[0].post(f"/conversations/{conversation_id}/pause")

    answers = await asyncio.gather(
        *(client.post(f"/conversations/{conversation_id}/resume") for client in both for _ in range(HALF))
    )

    assert {answer.status_code for answer in answers} == {200}
    assert await count(look, "conversation.resumed") == 1
    assert len(await look("SELECT 1 FROM conversation_sessions")) == 2


async def test_an_end_and_a_resume_at_once_leave_it_ended(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], look: Look
) -> None:
    conversation_id = await started(both[0])
    await say(both[0], conversation_id, "1")
    await both[0].post(f"/conversations/{conversation_id}/pause")

    resumed, ended = await asyncio.gather(
        both[0].post(f"/conversations/{conversation_id}/resume"),
        both[1].post(f"/conversations/{conversation_id}/end"),
    )

    assert resumed.status_code in {200, 409}
    assert ended.json()["status"] == "completed"
    rows = await look("SELECT session_status FROM conversation_sessions")
    assert {row["session_status"] for row in rows} == {"ended"}
    assert await look("SELECT 1 FROM conversation_slots") == []


async def test_the_same_line_sent_to_two_replicas_is_kept_once(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], look: Look
) -> None:
    conversation_id = await started(both[0])

    answers = await asyncio.gather(
        *(say(client, conversation_id, f"line {number}") for number in range(10) for client in both)
    )

    assert sum(answer.json()["stored"] for answer in answers) == 10
    assert sum(answer.json()["duplicates"] for answer in answers) == 10
    assert (await look("SELECT message_count AS n FROM conversations"))[0]["n"] == 10
    assert await count(look, "conversation.message_received") == 10


async def test_lines_for_many_conversations_in_opposite_orders_do_not_wait_for_each_other_for_ever(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], look: Look
) -> None:
    conversations = [await started(both[0]) for _ in range(6)]
    there = [say(both[0], known, f"a{turn}") for turn in range(5) for known in conversations]
    back = [say(both[1], known, f"b{turn}") for turn in range(5) for known in reversed(conversations)]

    answers = await asyncio.gather(*there, *back)

    assert {answer.status_code for answer in answers} == {202}
    rows = await look("SELECT message_count AS n FROM conversations")
    assert [row["n"] for row in rows] == [10] * 6


async def test_a_line_and_an_end_at_once_lose_nothing_that_was_acknowledged(
    both: tuple[httpx.AsyncClient, httpx.AsyncClient], look: Look
) -> None:
    conversation_id = await started(both[0])

    *said, ended = await asyncio.gather(
        *(say(both[0], conversation_id, f"line {number}") for number in range(10)),
        both[1].post(f"/conversations/{conversation_id}/end"),
    )

    assert ended.status_code == 200
    kept = sum(answer.status_code == 202 for answer in said)
    assert {answer.json()["code"] for answer in said if answer.status_code != 202} <= {"conversation_ended"}
    assert len(await look("SELECT 1 FROM messages")) == kept
    final = await look("SELECT message_count AS n FROM conversations")
    data = await look("SELECT event_data FROM system_events WHERE event_type = 'conversation.ended'")
    assert final[0]["n"] == kept == data[0]["event_data"]["messages"]
    last = await look(
        "SELECT event_type FROM system_events WHERE conversation_id IS NOT NULL ORDER BY seq DESC LIMIT 1"
    )
    assert last[0]["event_type"] == "conversation.ended"


async def test_two_sweepers_share_the_work(
    app: FastAPI,
    replica: FastAPI,
    both: tuple[httpx.AsyncClient, httpx.AsyncClient],
    clock: Any,
    look: Look,
) -> None:
    for number in range(8):
        conversation_id = await started(both[0])
        await say(both[0], conversation_id, f"{number}")
    clock.advance(3600)

    swept = await asyncio.gather(*(place.state.sweeper.sweep() for place in (app, replica) for _ in range(2)))

    assert sum(found.idle for found in swept) == 8
    assert sum(found.wrapped_up for found in swept) == 8
    assert await count(look, "conversation.ended") == 8
    assert await count(look, "conversation.timed_out") == 8
    assert len(await look("SELECT 1 FROM dreams WHERE status = 'draft'")) == 8


async def test_a_sweep_and_an_end_at_once_end_once(
    replica: FastAPI, both: tuple[httpx.AsyncClient, httpx.AsyncClient], clock: Any, look: Look
) -> None:
    conversation_id = await started(both[0])
    await say(both[0], conversation_id, "1")
    clock.advance(3600)

    _, ended = await asyncio.gather(
        replica.state.sweeper.sweep(), both[0].post(f"/conversations/{conversation_id}/end")
    )

    assert ended.json()["end_reason"] in {"timeout", "user_ended"}
    assert await count(look, "conversation.ended") == 1


class Silence:
    """A platform on loopback that takes calls and never answers."""

    def __init__(self) -> None:
        self.called = asyncio.Event()
        self.over = asyncio.Event()

    async def take(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.called.set()
        await self.over.wait()
        writer.close()


@pytest.fixture
async def silence() -> AsyncIterator[tuple[Silence, str]]:
    """The platform that never answers, and its address."""
    platform = Silence()
    server = await asyncio.start_server(platform.take, "127.0.0.1", 0)
    yield platform, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    platform.over.set()
    server.close()
    await server.wait_closed()


async def test_a_start_that_is_cancelled_says_so_and_frees_its_slot_and_key(
    settings: Settings, silence: tuple[Silence, str], sign_in: SignIn, clock: Any, look: Look
) -> None:
    platform, address = silence
    place = Slots(settings, clock).replica(elevenlabs_base_url=address)
    async with place.router.lifespan_context(place):
        headers = {"Idempotency-Key": "once"}
        start = sign_in(at=place).post(
            "/conversations", json={"interpreter_id": "carl", "text_only": True}, headers=headers
        )
        task = asyncio.create_task(start)
        await platform.called.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        rows = await look("SELECT status, error_code FROM conversations")
        assert rows == [{"status": "failed", "error_code": "cancelled"}]
        assert await look("SELECT 1 FROM conversation_slots") == []
        assert await look("SELECT 1 FROM idempotency_keys") == []
        assert await count(look, "conversation.failed") == 1


async def test_a_conversation_that_ends_while_it_starts_has_failed(
    settings: Settings, silence: tuple[Silence, str], sign_in: SignIn, clock: Any, look: Look
) -> None:
    platform, address = silence
    place = Slots(settings, clock).replica(elevenlabs_base_url=address)
    async with place.router.lifespan_context(place):
        client = sign_in(at=place)
        start = asyncio.create_task(client.post("/conversations", json={"interpreter_id": "carl", "text_only": True}))
        await platform.called.wait()
        conversation_id = (await look("SELECT id FROM conversations"))[0]["id"]
        ended = await client.post(f"/conversations/{conversation_id}/end")
        platform.over.set()
        answer = await start

    assert (ended.json()["status"], ended.json()["summary"]) == ("failed", None)
    assert answer.status_code in {409, 503}
    assert await count(look, "conversation.failed") == 1
    assert await count(look, "conversation.ended") == 0


async def test_a_resume_that_the_platform_fails_leaves_the_conversation_paused(
    settings: Settings, sign_in: SignIn, clock: Any
) -> None:
    user_id = uuid4()
    client = sign_in(user_id)
    conversation_id = await started(client)
    await client.post(f"/conversations/{conversation_id}/pause")
    place = Slots(settings, clock).replica(elevenlabs_base_url="http://127.0.0.1:9")
    async with place.router.lifespan_context(place):
        answer = await sign_in(user_id, at=place).post(f"/conversations/{conversation_id}/resume")

    assert (answer.status_code, answer.json()["code"]) == (503, "platform_unavailable")
    assert (await client.get(f"/conversations/{conversation_id}")).json()["paused_at"] is not None
    assert (await client.post(f"/conversations/{conversation_id}/resume")).status_code == 200


class Slots:
    """Several replicas with few slots."""

    def __init__(self, settings: Settings, clock: Any) -> None:
        self._settings, self._clock = settings, clock
        self.made: list[FastAPI] = []

    def replica(self, **changes: Any) -> FastAPI:
        settings = self._settings.model_copy(update=changes)
        self.made.append(create_app(settings, Surroundings(simulated=True), worker=False, clock=self._clock))
        return self.made[-1]


@pytest.mark.parametrize(("priority", "let_in"), [("low", 8), ("normal", 10), ("high", 10)])
async def test_racing_starts_never_pass_their_share_of_the_slots(
    settings: Settings, sign_in: SignIn, clock: Any, look: Look, priority: str, let_in: int
) -> None:
    made = Slots(settings, clock)
    first, second = (made.replica(max_concurrent_calls=10) for _ in range(2))
    async with first.router.lifespan_context(first), second.router.lifespan_context(second):
        clients = [sign_in(at=place, operator=True) for place in (first, second) for _ in range(10)]
        body = {"interpreter_id": "carl", "text_only": True, "options": {"priority": priority}}
        answers = await asyncio.gather(*(client.post("/conversations", json=body) for client in clients))

    codes = [answer.status_code for answer in answers]
    assert (codes.count(201), codes.count(429)) == (let_in, 20 - let_in)
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["code"] == "no_slot"
    assert 5 <= int(refused.headers["Retry-After"]) <= 60
    assert len(await look("SELECT 1 FROM conversation_slots")) == let_in
    assert len(await look("SELECT 1 FROM conversations")) == let_in


async def test_a_reservation_that_nobody_takes_up_lapses_and_a_report_renews_it(
    settings: Settings, sign_in: SignIn, clock: Any
) -> None:
    place = Slots(settings, clock).replica(max_concurrent_calls=1)
    async with place.router.lifespan_context(place):
        first, second = sign_in(at=place), sign_in(at=place)
        conversation_id = await started(first)
        assert (
            await second.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
        ).status_code == 429

        clock.advance(59)
        await say(first, conversation_id, "1")
        clock.advance(60)
        assert (
            await second.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
        ).status_code == 429

        clock.advance(1800)
        assert (
            await second.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
        ).status_code == 201


async def test_a_resume_needs_a_slot_and_leaves_the_conversation_paused_without_one(
    settings: Settings, sign_in: SignIn, clock: Any
) -> None:
    place = Slots(settings, clock).replica(max_concurrent_calls=1)
    async with place.router.lifespan_context(place):
        first, second = sign_in(at=place), sign_in(at=place)
        waiting = await started(first)
        await first.post(f"/conversations/{waiting}/pause")
        talking = await started(second)

        refused = await first.post(f"/conversations/{waiting}/resume")
        known = (await first.get(f"/conversations/{waiting}")).json()
        await second.post(f"/conversations/{talking}/end")
        resumed = await first.post(f"/conversations/{waiting}/resume")

    assert (refused.status_code, refused.json()["code"]) == (429, "no_slot")
    assert known["paused_at"] is not None
    assert resumed.status_code == 200


async def test_the_minutes_of_a_day_are_bounded_until_midnight_utc(
    settings: Settings, sign_in: SignIn, clock: Any
) -> None:
    midday = clock().replace(hour=12, minute=0, second=0)
    clock.advance((midday - clock()).total_seconds() + 86400)
    place = Slots(settings, clock).replica(daily_minutes_per_dreamer=20)
    async with place.router.lifespan_context(place):
        dreamer, other = sign_in(at=place), sign_in(at=place)
        conversation_id = await started(dreamer)
        clock.advance(21 * 60)
        await dreamer.post(f"/conversations/{conversation_id}/end")

        refused = await dreamer.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
        another = await other.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
        clock.advance(12 * 3600)
        tomorrow = await dreamer.post("/conversations", json={"interpreter_id": "carl", "text_only": True})

    assert (refused.status_code, refused.json()["code"]) == (429, "daily_minutes")
    assert 11 * 3600 < int(refused.headers["Retry-After"]) < 12 * 3600
    assert (another.status_code, tomorrow.status_code) == (201, 201)
