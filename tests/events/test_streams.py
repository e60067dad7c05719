"""Tails and server-sent events: no gap, no duplicate, nobody is held up, and a stream that waits costs nothing."""
# ruff: noqa: ASYNC110 - what another task does is waited for by looking

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from oneiro import http
from oneiro.auth import SharedSecret, Tokens, issue_token
from oneiro.cli.listen import bind, listening
from oneiro.database.pool import Database
from oneiro.events import outbox, routes
from oneiro.events.bell import Bell
from oneiro.events.loops import running
from oneiro.events.models import Event, Filter
from oneiro.events.sequencer import Sequencer
from oneiro.events.service import Events
from oneiro.events.stream import EXPIRED, HELLO, Streams
from oneiro.events.tail import Closed, Lagged, Tail
from oneiro.jobs import routes as job_routes
from oneiro.jobs.queue import enqueue
from oneiro.jobs.service import Jobs

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]
Write = Callable[..., Coroutine[Any, Any, None]]

SECRET = "a secret of at least thirty-two bytes"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def tail(database: Database, bell: Bell, sequencer: Sequencer) -> AsyncIterator[Tail]:
    """A tail and a sequencer at work."""
    tail = Tail(database, bell, busy=0.001, idle=0.02)
    async with running(sequencer, tail):
        await tail.started.wait()
        yield tail


@pytest.fixture
async def app(database: Database, tail: Tail) -> FastAPI:
    app = FastAPI()
    http.install_problems(app)
    app.state.tokens = Tokens(SharedSecret(SECRET), audience="authenticated")
    app.state.events = Events(database)
    app.state.jobs = Jobs(database)
    app.state.streams = Streams(database, tail, clock=now, heartbeat=0.05)
    app.include_router(routes.router, prefix="/v1")
    app.include_router(job_routes.router, prefix="/v1")
    return app


@pytest.fixture
async def url(app: FastAPI, tail: Tail) -> AsyncIterator[str]:
    """The routes on a real socket."""
    sock = bind("127.0.0.1", 0, what="the test")
    async with listening(app, sock) as served:
        yield f"{served.url}/v1"
        tail.close()


def bearer(user_id: UUID | None, *, operator: bool = False, seconds: float = 3600.0) -> dict[str, str]:
    ttl = timedelta(seconds=seconds)
    token = issue_token(SECRET, user_id=user_id, operator=operator, ttl=ttl, now=now())
    return {"Authorization": f"Bearer {token}"}


class Reader:
    """Reads a stream of server-sent events frame by frame."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.aiter_lines()

    async def frame(self) -> dict[str, str]:
        """The next frame as a mapping; a comment has the key ''."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line:
                return fields
            name, _, value = line.partition(":")
            fields[name] = value.strip()
        raise EOFError

    async def event(self) -> dict[str, str]:
        """The next event, past greetings and heartbeats."""
        while "id" not in (fields := await self.frame()):
            pass
        return fields

    async def numbers(self, count: int) -> list[int]:
        """`n` of the next events."""
        return [json.loads((await self.event())["data"])["data"]["n"] for _ in range(count)]


@asynccontextmanager
async def opened(url: str, headers: dict[str, str], **params: Any) -> AsyncIterator[Reader]:
    async with (
        httpx.AsyncClient(timeout=30.0) as client,
        client.stream("GET", url, headers={"Accept": "text/event-stream"} | headers, params=params) as response,
    ):
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Reader(response)


async def test_a_stream_tells_what_was_and_then_what_happens(
    url: str, write: Write, dreamer: UUID, conversations: list[UUID]
) -> None:
    one = conversations[0]
    await write(2, one)
    async with opened(f"{url}/conversations/{one}/events", bearer(dreamer)) as reader:
        assert await reader.numbers(2) == [0, 1]
        await write(2, conversations[1], first=50)
        await write(1)
        await write(2, one, first=2)
        assert await reader.numbers(1) == [2]
        event = await reader.event()

    item = json.loads(event["data"])
    assert event["event"] == item["type"] == "conversation.message_received"
    assert event["id"] == str(item["position"])
    assert set(item) == {"position", "id", "type", "subject", "entity_type", "entity_id", "data", "user_id", "time"}
    assert item["subject"] == f"conversation/{one}"


async def test_a_stream_that_begins_again_misses_and_repeats_nothing_while_events_rain(
    url: str, write: Write, dreamer: UUID, conversations: list[UUID]
) -> None:
    one = conversations[0]
    raining = asyncio.create_task(write(300, one))
    seen: list[int] = []
    last: dict[str, str] = {}
    while len(seen) < 300:
        async with opened(f"{url}/conversations/{one}/events", bearer(dreamer) | last) as reader:
            for _ in range(min(17, 300 - len(seen))):
                event = await reader.event()
                seen.append(json.loads(event["data"])["data"]["n"])
                last = {"Last-Event-ID": event["id"]}
    await raining

    assert seen == list(range(300))


async def test_a_slow_client_is_served_from_the_table_and_holds_up_nobody(
    url: str, tail: Tail, app: FastAPI, database: Database, dreamer: UUID, conversations: list[UUID]
) -> None:
    app.state.streams = Streams(database, tail, clock=now, size=4)
    one = conversations[0]
    path = f"{url}/conversations/{one}/events"
    async with opened(path, bearer(dreamer)) as slow, opened(path, bearer(dreamer)) as quick:
        await quick.frame()
        # More than the buffers of a socket hold, in one go: a queue of four cannot take them.
        async with database.as_service() as conn:
            for n in range(3000):
                data = {"n": n, "padding": "x" * 1000}
                await outbox.record(
                    conn, "conversation.rated", entity_type="conversation", entity_id=str(one), data=data
                )
        assert await quick.numbers(3000) == list(range(3000))
        assert await slow.numbers(3000) == list(range(3000))


async def test_only_the_owner_may_follow_a_conversation(url: str, dreamer: UUID, conversations: list[UUID]) -> None:
    path = f"{url}/conversations/{conversations[0]}/events"
    async with httpx.AsyncClient(timeout=30) as client:
        other = await client.get(path, headers=bearer(uuid4()))
        nobody = await client.get(path)
        server = await client.get(path, headers=bearer(None))
        wrong = await client.get(path, headers=bearer(dreamer) | {"Last-Event-ID": "yesterday"})
        missing = await client.get(f"{url}/conversations/{uuid4()}/events", headers=bearer(dreamer))

    assert (other.status_code, other.json()["code"]) == (404, "conversation_not_found")
    assert (nobody.status_code, server.status_code, wrong.status_code, missing.status_code) == (401, 403, 422, 404)


async def test_a_dreamer_sees_her_conversation_and_not_the_teams_notes(
    url: str, database: Database, write: Write, dreamer: UUID, conversations: list[UUID]
) -> None:
    one = conversations[0]
    async with database.as_service() as conn:
        await outbox.record(
            conn, "operator.viewed", entity_type="conversation", entity_id=str(one), data={"what": "transcript", "n": 9}
        )
    await write(1, one)
    async with opened(f"{url}/conversations/{one}/events", bearer(dreamer)) as reader:
        assert await reader.numbers(1) == [0]


async def test_silence_is_filled_with_heartbeats(url: str, dreamer: UUID, conversations: list[UUID]) -> None:
    async with opened(f"{url}/conversations/{conversations[0]}/events", bearer(dreamer)) as reader:
        assert "retry" in await reader.frame()
        assert await reader.frame() == {"": "heartbeat"}


async def test_a_stream_ends_when_its_token_expires(
    url: str, app: FastAPI, database: Database, tail: Tail, dreamer: UUID, conversations: list[UUID]
) -> None:
    # The clock of the streams stands a moment before the token's end.
    app.state.streams = Streams(database, tail, clock=lambda: now() + timedelta(seconds=3599.5))
    async with opened(f"{url}/conversations/{conversations[0]}/events", bearer(dreamer)) as reader:
        await reader.frame()
        closing = await reader.frame()
        with pytest.raises(EOFError):
            await reader.frame()
    assert closing == {"event": "closing", "data": '{"reason": "token_expired"}'}


async def test_a_token_that_expires_during_a_long_replay_ends_the_stream_there(
    app: FastAPI, tail: Tail, write: Write, conversations: list[UUID]
) -> None:
    await write(3, conversations[0])
    await tail.started.wait()
    passed = asyncio.get_running_loop().time() - 1
    frames = app.state.streams._follow(Filter(), 0, passed)

    assert [frame async for frame in frames] == [HELLO, EXPIRED]


async def test_streams_end_when_the_process_is_about_to(
    url: str, tail: Tail, dreamer: UUID, conversations: list[UUID]
) -> None:
    async with opened(f"{url}/conversations/{conversations[0]}/events", bearer(dreamer)) as reader:
        await reader.frame()
        tail.close()
        while (closing := await reader.frame()) == {"": "heartbeat"}:
            pass
    assert closing == {"event": "closing", "data": '{"reason": "shutting_down"}'}


async def test_a_client_that_goes_leaves_nothing_behind(
    url: str, tail: Tail, dreamer: UUID, conversations: list[UUID]
) -> None:
    async with opened(f"{url}/conversations/{conversations[0]}/events", bearer(dreamer)) as reader:
        await reader.frame()
        while tail.subscribers != 1:
            await asyncio.sleep(0.001)
    async with asyncio.timeout(10):
        while tail.subscribers:
            await asyncio.sleep(0.001)


async def test_a_thousand_idle_streams_hold_no_connection_and_ask_nothing(
    url: str, app: FastAPI, database: Database, tail: Tail, look: Look, write: Write, dreamer: UUID
) -> None:
    app.state.streams = Streams(database, tail, clock=now)
    rows = await look(
        "INSERT INTO conversations (user_id, interpreter_id, status, release_id)"
        " SELECT %s, 'carl', 'active', r.id FROM interpreter_releases AS r, generate_series(1, 1000) RETURNING id",
        dreamer,
    )
    ids = [row[0] for row in rows]
    port = int(url.split(":")[2].split("/", maxsplit=1)[0])
    authorization = bearer(dreamer)["Authorization"]

    async def connect(conversation_id: UUID) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"GET /v1/conversations/{conversation_id}/events HTTP/1.1\r\nHost: localhost\r\n"
        writer.write(f"{head}Authorization: {authorization}\r\n\r\n".encode())
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await reader.readuntil(b"retry: 2000\n\n")
        return reader, writer

    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    for first in range(0, 1000, 100):
        streams += await asyncio.gather(*map(connect, ids[first : first + 100]))
    while tail.subscribers < 1000:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.05)  # The last of them reads the table.
    open_transactions = await look(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND xact_start < clock_timestamp() - interval '1 second'"
    )
    asked = _asked(database)
    for _ in range(100):
        await asyncio.sleep(0)
    assert open_transactions == [(0,)]
    # Only the sequencer and the tail ask: a thousand streams would show.
    assert _asked(database) - asked < 50

    await write(1, ids[500], first=7)
    async with asyncio.timeout(10):
        line = await streams[500][0].readuntil(b'"n":7')
    assert b"event: conversation.message_received" in line
    others = [reader for n, (reader, _) in enumerate(streams) if n != 500]
    assert not any(b"event" in reader._buffer for reader in others)  # type: ignore[attr-defined]
    for _, writer in streams:
        writer.transport.abort()
    async with asyncio.timeout(30):
        while tail.subscribers:
            await asyncio.sleep(0.005)


def _asked(database: Database) -> int:
    return database._pool.get_stats().get("requests_num", 0)


async def test_operators_follow_everything_from_now_on_or_from_a_position(
    url: str, write: Write, conversations: list[UUID]
) -> None:
    operator = bearer(uuid4(), operator=True)
    await write(3)
    async with opened(f"{url}/admin/events", operator, after=0) as reader:
        assert await reader.numbers(3) == [0, 1, 2]
    async with opened(f"{url}/admin/events", operator) as reader:
        await reader.frame()
        await write(1, first=3)
        await write(1, conversations[0], first=4)
        assert await reader.numbers(2) == [3, 4]
    async with opened(f"{url}/admin/events", operator | {"Last-Event-ID": "2"}, interpreter="carl") as reader:
        assert await reader.numbers(1) == [4]


async def test_operators_page_through_the_log_both_ways_and_filter_it(
    url: str, look: Look, write: Write, conversations: list[UUID]
) -> None:
    await write(4)
    await write(1, conversations[0], first=4)
    while await look("SELECT 1 FROM system_events WHERE position IS NULL"):
        await asyncio.sleep(0.001)
    async with httpx.AsyncClient(base_url=url, headers=bearer(uuid4(), operator=True)) as client:

        async def page(**params: Any) -> tuple[list[int], str | None]:
            body = (await client.get("/admin/events", params=params)).raise_for_status().json()
            return [item["data"]["n"] for item in body["items"]], body["next_cursor"]

        assert await page(limit=3) == ([4, 3, 2], "3")
        assert await page(limit=3, cursor="3") == ([1, 0], None)
        assert await page(after=1, limit=3) == ([1, 2, 3], "4")
        assert await page(after=1, limit=3, cursor="4") == ([4], None)
        assert await page(interpreter="carl") == ([4], None)
        assert await page(type=["conversation.message_received", "breaker.closed"]) == ([4], None)
        assert (await client.get("/admin/events", params={"cursor": "x"})).status_code == 422
        assert (await client.get("/admin/events", params={"after": -1})).status_code == 422


@pytest.mark.parametrize("path", ["events", "events/consumers", "events/parked", "jobs"])
async def test_the_logs_are_for_operators(url: str, path: str, dreamer: UUID) -> None:
    async with httpx.AsyncClient(base_url=f"{url}/admin", timeout=30) as client:
        assert (await client.get(path)).status_code == 401
        assert (await client.get(path, headers=bearer(dreamer))).status_code == 403
        assert (await client.get(path, headers=bearer(dreamer, operator=True))).status_code == 200
        assert (await client.get(path, headers=bearer(None))).status_code == 200


async def test_operators_see_and_release_what_is_parked_and_replay(
    url: str, look: Look, write: Write, conversations: list[UUID]
) -> None:
    await write(3, conversations[0])
    while await look("SELECT 1 FROM system_events WHERE position IS NULL"):
        await asyncio.sleep(0.001)
    await look("INSERT INTO event_cursors (consumer, position) VALUES ('summary', 3)")
    await look(
        "INSERT INTO parked_events (consumer, position, event_id, conversation_id, attempts, error)"
        " SELECT 'summary', position, id, conversation_id, CASE position WHEN 1 THEN 6 ELSE 0 END, 'KeyError'"
        " FROM system_events"
    )
    async with httpx.AsyncClient(base_url=f"{url}/admin/events", headers=bearer(None), timeout=30) as client:
        first = (await client.get("/parked", params={"limit": 2})).json()
        rest = (await client.get("/parked", params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert [item["position"] for item in first["items"] + rest["items"]] == [1, 2, 3]
        assert (first["items"][0]["attempts"], first["items"][0]["error"]) == (6, "KeyError")
        assert (await client.post("/parked/summary/1/retry")).status_code == 202
        assert (await client.delete("/parked/summary/2")).status_code == 204
        assert (await client.delete("/parked/summary/2")).status_code == 404
        [state] = (await client.get("/consumers")).json()["items"]
        assert (state["consumer"], state["lag"], state["parked"]) == ("summary", 0, 2)
        assert (await client.post("/consumers/summary/replay", json={"position": 1})).json() == {"position": 1}
        assert (await client.post("/consumers/nobody/replay", json={"position": 1})).status_code == 404
        assert (await client.post("/consumers/summary/replay", json={})).status_code == 422
        assert (await client.post("/consumers/sequencer/replay", json={"position": 1})).status_code == 404
    assert await look("SELECT position, retry_at IS NOT NULL FROM parked_events") == [(1, True)]


async def test_operators_list_and_retry_jobs(url: str, database: Database, look: Look) -> None:
    async with database.as_service() as conn:
        for n in range(3):
            await enqueue(conn, "summarise", {"n": n})
    await look("UPDATE jobs SET state = 'dead', attempts = 8, last_error = 'KeyError' WHERE payload ->> 'n' = '1'")
    async with httpx.AsyncClient(base_url=f"{url}/admin", headers=bearer(None), timeout=30) as client:
        [dead] = (await client.get("/jobs", params={"state": "dead"})).json()["items"]
        assert (dead["payload"], dead["last_error"]) == ({"n": 1}, "KeyError")
        first = (await client.get("/jobs", params={"limit": 2})).json()
        rest = (await client.get("/jobs", params={"limit": 2, "cursor": first["next_cursor"]})).json()
        assert len({item["id"] for item in first["items"] + rest["items"]}) == 3
        assert (await client.post(f"/jobs/{dead['id']}/retry")).json()["state"] == "queued"
        assert (await client.post(f"/jobs/{dead['id']}/retry")).status_code == 409
        assert (await client.post(f"/jobs/{uuid4()}/retry")).status_code == 404
        assert (await client.get("/jobs", params={"state": "lost"})).status_code == 422


async def test_a_subscriber_that_lags_is_told_once_and_goes_on_from_there(tail: Tail) -> None:
    with tail.subscribe(size=3) as subscription:
        for position in range(1, 6):
            tail._hand_out(_event(position))
        with pytest.raises(Lagged):
            await subscription.get()
        assert [(await subscription.get()).position for _ in range(2)] == [4, 5]
        tail._hand_out(_event(6))
        assert (await subscription.get()).position == 6
        tail.close()
        with pytest.raises(Closed):
            await subscription.get()


async def test_a_subscriber_hears_from_now_on_and_only_what_it_asked_for(
    tail: Tail, look: Look, write: Write, conversations: list[UUID]
) -> None:
    await write(2, conversations[0])
    while await look("SELECT 1 FROM system_events WHERE position IS NULL"):
        await asyncio.sleep(0.001)
    while tail._position != 2:
        await asyncio.sleep(0.001)
    heard: list[int] = []
    with tail.subscribe(Filter(types=frozenset({"breaker.opened"}))) as subscription:
        await write(1, conversations[0], first=2)
        await write(2, first=3)
        with suppress(TimeoutError):
            async with asyncio.timeout(10):
                async for event in subscription:
                    heard.append(event.data["n"])
                    if len(heard) == 2:
                        break
    assert heard == [3, 4]


def _event(position: int) -> Event:
    return Event(position, uuid4(), "breaker.opened", "breaker", "agents", None, None, {}, None, now())


def test_sockets_of_these_tests_stay_on_this_machine() -> None:
    with pytest.raises(Exception, match="socket"), socket.socket() as sock:
        sock.connect(("192.0.2.1", 80))


async def test_a_tail_that_lost_its_database_goes_on_without_a_gap(
    tail: Tail, look: Look, write: Write, conversations: list[UUID]
) -> None:
    heard: list[int] = []
    with tail.subscribe(Filter(conversation_id=conversations[0])) as subscription:
        await write(2, conversations[0])
        heard += [(await subscription.get()).data["n"] for _ in range(2)]
        await look(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'oneiro_service' AND datname = current_database()"
        )
        await write(2, conversations[0], first=2)
        async with asyncio.timeout(30):
            heard += [(await subscription.get()).data["n"] for _ in range(2)]
    assert heard == [0, 1, 2, 3]
