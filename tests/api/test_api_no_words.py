"""Nothing that a dreamer said, wrote or is called is in a log line, a metric, an event, a job or a problem document."""

import asyncio
import io
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import structlog
import websockets
from fastapi import FastAPI
from pydantic import SecretStr

from oneiro.cli.listen import bind, listening
from oneiro.engine.webhook import signature
from oneiro.logs import configure_logs
from oneiro.settings import Settings
from oneiro.webhooks.inbox.service import PATH

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
MARK = "marzipan"
DREAM = f"A {MARK} heron swam through my grandmother's staircase."
SECRET = "wsec_of-this-platform"
QUIET = ("httpx", "httpcore", "websockets", "elevenlabs", "uvicorn.access", "psycopg.pool")


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Every line that our logs and those of libraries write, at DEBUG, as the commands configure them."""
    root, structure = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in QUIET}
    configure_logs("json", logging.DEBUG)
    structlog.configure(cache_logger_on_first_use=False)  # Other tests are to get their own configuration.
    written = io.StringIO()
    stream = root.handlers[0]
    assert isinstance(stream, logging.StreamHandler)
    stream.setStream(written)
    logging.getLogger("a.library").debug("a line of a library")
    yield written
    structlog.configure(**structure)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, kept in levels.items():
        logging.getLogger(name).setLevel(kept)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"elevenlabs_webhook_secret": SecretStr(SECRET)})


@pytest.fixture
def worker() -> bool:
    return True


async def converse(url: str, opening: dict[str, Any], *said: str) -> tuple[str, list[str]]:
    """Say these lines on the socket, with what a client sends first; gives the platform's id and the replies."""
    heard: list[str] = []
    async with websockets.connect(url, subprotocols=[websockets.Subprotocol("convai")]) as sock, asyncio.timeout(20):

        async def until(kind: str) -> dict[str, Any]:
            while (frame := json.loads(await sock.recv()))["type"] != kind:
                pass
            return dict(frame)

        first = {"type": "conversation_initiation_client_data"}
        text_only = {"conversation_config_override": {"conversation": {"text_only": True}}}
        await sock.send(json.dumps(first | text_only | opening))
        metadata = await until("conversation_initiation_metadata")
        for line in (None, *said):
            if line:
                await sock.send(json.dumps({"type": "user_message", "text": line}))
            heard.append((await until("agent_response"))["agent_response_event"]["agent_response"])
    return metadata["conversation_initiation_metadata_event"]["conversation_id"], heard


async def whole_life(client: httpx.AsyncClient, transport: str) -> None:
    """A dreamer's journal entry and a conversation about it, with a word of hers in everything that she may write."""
    await client.patch("/me", json={"name": f"Ada {MARK}"})
    dream = (await client.post("/dreams", json={"title": MARK, "content": DREAM, "symbols": [MARK]})).json()
    asked = {"interpreter_id": "carl", "text_only": True, "dream_id": dream["id"], "transport": transport}
    answer = await client.post("/conversations", json=asked | {"metadata": {"note": MARK}})
    assert answer.status_code == 201, answer.text
    started = answer.json()
    path = f"/conversations/{started['conversation_id']}"
    direct = transport == "direct"
    variables = {"dynamic_variables": started["dynamic_variables"]} if direct else {}
    lines = (DREAM, f"I want to kill myself. {MARK}")
    platform_id, heard = await converse(started["signed_url"], variables, *lines)
    assert len(heard) == 3
    if direct:
        assert MARK in json.dumps([started, heard])  # The word did go round.
        await client.post(f"{path}/connected", json={"elevenlabs_conversation_id": platform_id})
        reported = [{"event_id": f"e{n}", "sender": "user", "content": line} for n, line in enumerate(lines)]
        stored = await client.post(f"{path}/messages", json={"messages": reported})
        assert stored.json()["safety"]["tier"] == "active_danger"
    await client.put(f"{path}/rating", json={"score": 5, "comment": f"Lovely {MARK}"})
    await client.post(f"{path}/end", json={"summary": f"About {MARK}."} if direct else {})


async def refusals(client: httpx.AsyncClient, anonymous: httpx.AsyncClient) -> list[httpx.Response]:
    """Requests that go wrong in many ways, each with the word in it."""
    return [
        await client.post("/dreams", json={"content": f"{MARK} " * 2000}),
        await client.post("/dreams", json={"content": {"a": MARK}}),
        await client.post("/dreams", content=f'{{"content": "{MARK}'.encode()),
        await client.post("/dreams", json={"content": DREAM, "mood": MARK}, headers={"Idempotency-Key": MARK * 60}),
        await client.patch("/me", json={"name": MARK * 20}),
        await client.patch("/me", json={"language": MARK}),
        await client.get(f"/dreams/{MARK}"),
        await client.post("/conversations", json={"interpreter_id": "carl", "dream_id": MARK}),
        await client.post("/conversations/00000000-0000-0000-0000-000000000000/messages", json={"messages": [MARK]}),
        await client.get("/conversations", params={"cursor": MARK}),
        await anonymous.get("/me", headers={"Authorization": f"Bearer {MARK}"}),
    ]


async def test_what_a_dreamer_said_is_nowhere_but_in_her_own_rows(
    app: FastAPI,
    dreamer: httpx.AsyncClient,
    anonymous: httpx.AsyncClient,
    look: Look,
    logged: io.StringIO,
    clock: Any,
) -> None:
    async with listening(app_without_lifespan(app), bind("127.0.0.1", 0, what="the API")) as served:
        async with httpx.AsyncClient(base_url=f"{served.url}/v1", headers=dreamer.headers, timeout=30) as client:
            await whole_life(client, "direct")
            await whole_life(client, "relay")
            problems = await refusals(client, anonymous)
        clock.advance(600)
        await app.state.reconciler.run()
        now = int(clock().timestamp())
        account = {"conversation_id": "conv_other", "transcript": [{"role": "user", "message": MARK}]}
        hook = json.dumps({"type": "post_call_transcription", "data": account}).encode()
        async with httpx.AsyncClient(base_url=served.url, timeout=30) as outside:
            for signed in (signature(SECRET, hook, now), "t=1,v0=2"):
                await outside.post(PATH, content=hook, headers={"ElevenLabs-Signature": signed})
            metrics = (await outside.get("/metrics")).text

        async def settled() -> bool:
            waiting = await look("SELECT 1 FROM jobs WHERE state IN ('queued', 'running') AND run_at <= now()")
            unseen = await look(
                "SELECT 1 FROM event_cursors AS c JOIN event_cursors AS s ON s.consumer = 'sequencer'"
                " WHERE c.position < s.position"
            )
            return not waiting and not unseen

        async with asyncio.timeout(20):
            while not await settled():  # noqa: ASYNC110 - asked of the database.
                await asyncio.sleep(0.02)

    assert {problem.status_code for problem in problems} <= {401, 404, 413, 422}
    assert [problem.text for problem in problems if MARK in problem.text.lower()] == []
    assert MARK not in metrics.lower()
    assert MARK not in logged.getvalue().lower()
    assert '"a line of a library"' in logged.getvalue()
    assert '"conversation.reconciled"' in logged.getvalue()
    for table, kept in (
        ("system_events", "event_data::text"),
        ("jobs", "payload::text || coalesce(last_error, '')"),
        ("parked_events", "coalesce(error, '')"),
        ("conversation_sessions", "session_metadata::text || error_log::text"),
        ("webhook_inbox", "coalesce(body::text, '')"),
        ("agent_metrics", "agent_metrics::text"),
        ("platform_agents", "platform_agents::text"),
    ):
        rows = await look(f"SELECT {kept} AS kept FROM {table}")
        assert not [row for row in rows if MARK in str(row["kept"]).lower()], table
    assert len(await look("SELECT 1 FROM system_events")) > 10
    hers = await look("SELECT 1 FROM messages WHERE content LIKE %s", f"%{MARK}%")
    assert len(hers) >= 4  # The word is where it belongs.


def app_without_lifespan(app: FastAPI) -> Any:
    """The app of the fixture, which has started it already."""

    async def served(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            await app(scope, receive, send)
            return
        for answer in ("lifespan.startup.complete", "lifespan.shutdown.complete"):
            await receive()
            await send({"type": answer})

    return served
