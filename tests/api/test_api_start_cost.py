"""What a start costs in words with PostgreSQL, counted on the wire between the API and its database."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from oneiro.settings import Settings

Look = Callable[..., Awaitable[list[dict[str, Any]]]]

BODY = {"interpreter_id": "carl", "text_only": True}
STARTS = 20  # Most are measured while nothing is prepared and nobody else asks.


class Wire:
    """Passes everything on, and counts messages of the connections that neither listen nor notify."""

    def __init__(self, place: Path, upstream: Path) -> None:
        self.place, self._upstream = place, upstream
        self._counted: list[Counter[str]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def counts(self) -> Counter[str]:
        """`statements` that were sent, and `round_trips`: how often the server was ready for more."""
        found: Counter[str] = Counter()
        for counted in self._counted:
            if not counted["bell"]:
                found += counted
        return found

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await asyncio.open_unix_connection(self._upstream)
        counted: Counter[str] = Counter()
        self._counted.append(counted)
        size = int.from_bytes(first := await reader.readexactly(4))  # The first message has no type.
        server_writer.write(first + await reader.readexactly(size - 4))
        both = (self._client(reader, server_writer, counted), self._server(server_reader, writer, counted))
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await asyncio.gather(*both)
        for each in (writer, server_writer):
            each.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Counter[str]) -> None:
        async for kind, body in _messages(reader, writer):
            counted["statements"] += kind in b"QE"
            counted["bell"] += b"pg_notify" in body or b"LISTEN" in body

    async def _server(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: Counter[str]) -> None:
        async for kind, _ in _messages(reader, writer):
            counted["round_trips"] += kind == b"Z"


async def _messages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncIterator[tuple[bytes, bytes]]:
    while True:
        head = await reader.readexactly(5)
        body = await reader.readexactly(int.from_bytes(head[1:]) - 4)
        yield head[:1], body
        writer.write(head + body)


@pytest.fixture
async def wire(service_url: str, reachable_dir: Path) -> AsyncIterator[Wire]:
    at = conninfo_to_dict(service_url)
    place = reachable_dir / "wire"
    place.mkdir()
    name = f".s.PGSQL.{at['port']}"
    made = Wire(place, Path(str(at["host"])) / name)
    async with await asyncio.start_unix_server(made.accept, place / name):
        yield made
    for left in place.iterdir():
        left.unlink()
    place.rmdir()


@pytest.fixture
def settings(settings: Settings, wire: Wire, service_url: str) -> Settings:
    """The default transport, and the database behind the wire."""
    url = make_conninfo(service_url, host=str(wire.place))
    return settings.model_copy(update={"transport": "relay", "database_url": SecretStr(url)})


@asynccontextmanager
async def counting(wire: Wire) -> AsyncIterator[Counter[str]]:
    before, found = wire.counts, Counter[str]()
    yield found
    found.update(wire.counts - before)


async def start(client: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await client.post("/conversations", json=BODY | more)
    assert answer.status_code == 201, answer.text
    started: dict[str, Any] = answer.json()
    return started


async def test_a_start_whose_agent_is_known_is_one_transaction(dreamer: httpx.AsyncClient, wire: Wire) -> None:
    dream = await dreamer.post("/dreams", json={"content": "A heron folded the lake."})
    about = {"dream_id": dream.json()["id"]}
    costs = []
    for _ in range(STARTS):
        async with counting(wire) as cost:
            await start(dreamer, **about)
        costs.append((cost["statements"], cost["round_trips"]))

    # BEGIN with the role, what is to be known, the rows with their events and slot, COMMIT. Most starts tell: a few
    # meet a connection on which they are prepared only now, or what another part of the process asks.
    assert Counter(costs).most_common(1)[0][0] == (4, 4)


async def test_its_rows_and_events_are_what_a_start_in_steps_leaves(
    dreamer: httpx.AsyncClient, other: httpx.AsyncClient, look: Look, change: Callable[..., Awaitable[None]]
) -> None:
    await start(dreamer)  # Whatever it does, the agent is noted by now.
    at_once = await start(dreamer)
    await change("UPDATE platform_agents SET last_used_at = now() - interval '1 hour'")  # To be noted: in steps.
    in_steps = await start(other)

    assert at_once.keys() == in_steps.keys()
    for table, column in (("conversations", "id"), ("conversation_sessions", "conversation_id")):
        own = {"id", "user_id", "conversation_id", "ticket_sha256", "start_ms"}
        rows = [
            (await look(f"SELECT * FROM {table} WHERE {column} = %s", UUID(each["conversation_id"])))[0]
            for each in (at_once, in_steps)
        ]
        first, second = ({name: row[name] for name in row if name not in own and row[name] is not None} for row in rows)
        times = [name for name, value in first.items() if hasattr(value, "tzinfo")]
        assert first.keys() == second.keys()
        assert {n: v for n, v in first.items() if n not in times} == {n: v for n, v in second.items() if n not in times}
    told = [
        await look(
            "SELECT event_type, event_data FROM system_events WHERE conversation_id = %s ORDER BY seq",
            UUID(each["conversation_id"]),
        )
        for each in (at_once, in_steps)
    ]
    assert told[0] == told[1]
    assert [row["event_type"] for row in told[0]] == ["conversation.requested", "disclosure.given"]
    assert len(await look("SELECT 1 FROM conversation_slots")) == 3


async def test_a_start_without_a_slot_leaves_nothing_and_gives_its_key_back(
    app: FastAPI, dreamer: httpx.AsyncClient, other: httpx.AsyncClient, look: Look
) -> None:
    app.state.settings.max_concurrent_calls = 1
    await start(other)
    headers = {"Idempotency-Key": "once"}

    refused = await dreamer.post("/conversations", json=BODY, headers=headers)

    assert (refused.status_code, refused.json()["code"]) == (429, "no_slot")
    assert len(await look("SELECT 1 FROM conversations")) == 1
    assert await look("SELECT 1 FROM idempotency_keys") == []

    await other.post(f"/conversations/{(await look('SELECT id FROM conversations'))[0]['id']}/end")
    first = await dreamer.post("/conversations", json=BODY, headers=headers)
    again = await dreamer.post("/conversations", json=BODY, headers=headers)
    assert first.status_code == 201, first.text
    assert again.json() == first.json()
    assert len(await look("SELECT 1 FROM conversations")) == 2


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
@pytest.mark.parametrize(
    ("sent", "headers", "status"),
    [
        (b'{"interpreter_id": "carl", "text_only": true}', {}, 201),
        (b'{"interpreter_id": "carl", "text_only": true}', {"Idempotency-Key": "k" * 200}, 201),
        (b'{"interpreter_id": "carl", "text_only": true}', {"Idempotency-Key": "k" * 201}, 422),
        (b'{"interpreter_id": "carl", "text_only": true}', {"Idempotency-Key": ""}, 422),
        (b'{"interpreter_id": "carl"}', {}, 403),
        (b'{"interpreter_id": "carl", "dream_id": 7}', {}, 422),
        (b'{"interpreter_id": "carl", "text_only": true}', {"Authorization": "Bearer x"}, 401),
        (b'{"interpreter_id": "carl", "text_only": true}', {"Authorization": ""}, 401),
        (b"{", {}, 422),
    ],
)
async def test_the_plain_way_and_the_usual_way_answer_alike(
    dreamer: httpx.AsyncClient, sent: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    answer = await dreamer.post("/conversations", content=sent, headers={"Content-Type": kind} | headers)

    assert answer.status_code == status, answer.text
    if status == 201:
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) >= {"conversation_id", "signed_url", "help_card", "degraded"}


async def test_no_start_is_taken_while_the_process_drains(app: FastAPI, dreamer: httpx.AsyncClient) -> None:
    app.state.stopping.set()

    answer = await dreamer.post("/conversations", json=BODY)

    assert (answer.status_code, answer.json()["code"]) == (503, "stopping")
