"""Faults on demand: the engine does as it is told, and the official SDK and bare sockets see it."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from elevenlabs import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError
from websockets.exceptions import ConnectionClosed

from oneiro.engine.app import EngineSettings, running
from oneiro.engine.faults import Faults, Latency, parse, read

Create = Callable[..., Awaitable[str]]
Dial = Callable[..., Awaitable[Any]]
ONCE = {"max_retries": 0}


@pytest.fixture
async def http(engine_url: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"xi-api-key": "a-key"}
    async with httpx.AsyncClient(base_url=engine_url, headers=headers, trust_env=False, timeout=30) as client:
        yield client


Inject = Callable[..., Awaitable[None]]


@pytest.fixture
def inject(http: httpx.AsyncClient) -> Inject:
    async def add(**fault: Any) -> None:
        answer = await http.post("/engine/faults", json={"faults": [fault]})
        assert answer.status_code == 200, answer.text

    return add


async def agents(http: httpx.AsyncClient) -> int:
    return len((await http.get("/v1/convai/agents")).json()["agents"])


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "concurrent_limit_exceeded"])
async def test_a_429_comes_with_its_code_and_retry_after(inject: Inject, sdk: AsyncElevenLabs, code: str) -> None:
    await inject(kind="status", status=429, code=code, retry_after=2, times=1, path="/v1/convai/agents*")
    with pytest.raises(ApiError) as refused:
        await sdk.conversational_ai.agents.list(request_options=ONCE)
    assert refused.value.status_code == 429
    assert refused.value.body["detail"]["code"] == code
    assert (refused.value.headers or {})["retry-after"] == "2"
    assert (await sdk.conversational_ai.agents.list(request_options=ONCE)).agents == []


@pytest.mark.parametrize(("after_commit", "made"), [(False, 0), (True, 1)])
async def test_an_error_before_the_commit_changes_nothing_and_one_after_it_does(
    inject: Inject, http: httpx.AsyncClient, *, after_commit: bool, made: int
) -> None:
    await inject(kind="status", status=503, method="POST", times=1, after_commit=after_commit)
    assert (await http.post("/v1/convai/agents/create", json={"conversation_config": {}})).status_code == 503
    assert await agents(http) == made


@pytest.mark.parametrize("after_commit", [False, True])
async def test_a_reset_breaks_the_connection(inject: Inject, http: httpx.AsyncClient, *, after_commit: bool) -> None:
    await inject(kind="reset", method="POST", times=1, after_commit=after_commit)
    with pytest.raises(httpx.TransportError):
        await http.post("/v1/convai/agents/create", json={"conversation_config": {}})
    assert await agents(http) == after_commit


async def test_malformed_json_cannot_be_read(inject: Inject, http: httpx.AsyncClient) -> None:
    await inject(kind="malformed", times=1)
    answer = await http.get("/v1/convai/agents")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Unterminated"):
        answer.json()


@pytest.mark.parametrize("kind", ["latency", "slow_first_byte"])
async def test_an_answer_can_be_late(inject: Inject, http: httpx.AsyncClient, kind: str) -> None:
    await inject(kind=kind, seconds=0.2, times=1)
    began = time.monotonic()
    await http.get("/v1/convai/agents")
    assert time.monotonic() - began >= 0.2


async def test_fields_are_taken_and_not_kept(inject: Inject, sdk: AsyncElevenLabs) -> None:
    await inject(kind="not_kept", path="/v1/convai/agents/create", fields=["platform_settings.auth.enable_auth", "x.y"])
    made = await sdk.conversational_ai.agents.create(
        conversation_config={"agent": {"first_message": "Welcome."}},
        platform_settings={"auth": {"enable_auth": True}},
    )
    agent = await sdk.conversational_ai.agents.get(made.agent_id)
    assert agent.platform_settings is not None
    assert agent.platform_settings.auth is not None
    assert agent.platform_settings.auth.enable_auth is False
    assert agent.conversation_config.agent is not None
    assert agent.conversation_config.agent.first_message == "Welcome."


async def test_the_socket_breaks_at_its_nth_frame(
    inject: Inject, engine_url: str, create_agent: Create, dial: Dial
) -> None:
    agent_id = await create_agent(engine_url, agent={"first_message": "Welcome."}, conversation={"text_only": True})
    await inject(kind="drop", frame=3, times=1)
    client = await dial(engine_url, agent_id)
    await client.open()
    assert (await client.closed())[0] == 1006
    assert len(client.frames) == 2
    again = await dial(engine_url, agent_id)
    await again.open()
    assert await again.reply() == "Welcome."


@pytest.mark.parametrize(("code", "reason"), [(1008, "Missing required dynamic variables"), (1011, "Internal error")])
async def test_the_socket_is_closed_with_a_code(
    inject: Inject, engine_url: str, create_agent: Create, dial: Dial, code: int, reason: str
) -> None:
    agent_id = await create_agent(engine_url, conversation={"text_only": True})
    for frame in (1, 2):
        await inject(kind="close", frame=frame, code=code, reason=reason, times=1)
        client = await dial(engine_url, agent_id)
        with suppress(ConnectionClosed):  # It may be closed before we have said anything.
            await client.open()
        assert await client.closed() == (code, reason)
        assert len(client.frames) == frame - 1


async def test_no_more_conversations_than_the_cap(
    inject: Inject, engine_url: str, create_agent: Create, dial: Dial, http: httpx.AsyncClient
) -> None:
    agent_id = await create_agent(engine_url, conversation={"text_only": True})
    await inject(kind="concurrency", most=1)
    first = await dial(engine_url, agent_id)
    await first.open()
    await first.next()
    assert (await (await dial(engine_url, agent_id)).closed())[0] == 1008
    answer = await http.get("/v1/convai/conversation/get-signed-url", params={"agent_id": agent_id})
    assert (answer.status_code, answer.json()["detail"]["code"]) == (429, "concurrent_limit_exceeded")


async def test_a_restart_forgets_everything_and_breaks_sockets(
    engine_url: str, create_agent: Create, dial: Dial, http: httpx.AsyncClient
) -> None:
    agent_id = await create_agent(engine_url, conversation={"text_only": True})
    client = await dial(engine_url, agent_id)
    await client.open()
    await client.until("ping")
    assert (await http.post("/engine/restart")).json() == {"restarted": True}
    assert (await client.closed())[0] == 1006
    assert (await http.get(f"/v1/convai/agents/{agent_id}")).status_code == 404
    assert (await http.get("/v1/convai/conversations")).json()["conversations"] == []


@pytest.mark.parametrize(("what", "times"), [("never", 0), ("late", 1), ("duplicate", 2)])
async def test_the_webhook_comes_never_late_or_twice(create_agent: Create, dial: Dial, what: str, times: int) -> None:
    posted = 0

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal posted
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        posted += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    faults = tuple(parse([{"kind": "webhook", "what": what, "seconds": 0.05}]))
    settings = EngineSettings(speed=500, webhook_url=f"http://127.0.0.1:{port}/", faults=faults)
    async with server, running(settings) as url:
        client = await dial(url, await create_agent(url, conversation={"text_only": True}))
        await client.open()
        await client.until("ping")
        await client.socket.close()
        # The engine waits for what it has still to send before it ends.
    assert posted == times


async def test_the_switchboard_wants_the_key_and_can_be_cleared(
    inject: Inject, http: httpx.AsyncClient, engine_url: str
) -> None:
    await inject(kind="status", status=500)
    assert (await http.get("/v1/convai/agents")).status_code == 500
    (listed,) = (await http.get("/engine/faults")).json()["faults"]
    assert (listed["kind"], listed["struck"]) == ("status", 1)
    put = await http.put("/engine/faults", json={"faults": [{"kind": "latency", "seconds": 0}]})
    assert [fault["kind"] for fault in put.json()["faults"]] == ["latency"]
    assert (await http.delete("/engine/faults")).json() == {"faults": []}
    assert (await http.get("/v1/convai/agents")).status_code == 200
    async with httpx.AsyncClient(base_url=engine_url, trust_env=False, timeout=30) as nobody:
        assert (await nobody.post("/engine/restart")).status_code == 401


@pytest.mark.parametrize(
    "body", [{}, [], {"faults": [{"kind": "earthquake"}]}, {"faults": [{"kind": "drop", "frame": 0}]}]
)
async def test_a_fault_that_is_none_is_refused(http: httpx.AsyncClient, body: Any) -> None:
    assert (await http.post("/engine/faults", json=body)).status_code == 422


def test_faults_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\nkind = "latency"\nseconds = 0.5\nchance = 0.1\n', "utf-8")
    (found,) = read(path)
    assert isinstance(found, Latency)
    assert (found.seconds, found.chance) == (0.5, 0.1)
    path.write_text('[[fault]]\nkind = "latency"\nseconds = "soon"\n', "utf-8")
    with pytest.raises(ValueError, match=r"faults\.0\.latency\.seconds"):
        read(path)
    path.write_text("[[fault]\n", "utf-8")
    with pytest.raises(ValueError, match=r"faults\.toml"):
        read(path)


def test_dice_with_a_seed_fall_the_same_way_again() -> None:
    def thrown() -> list[bool]:
        faults = Faults(parse([{"kind": "drop", "frame": 1, "chance": 0.5}]), seed=7)
        return [faults.socket() is not None for _ in range(40)]

    assert thrown() == thrown()
    assert 5 < sum(thrown()) < 35
