import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from elevenlabs import AsyncElevenLabs
from elevenlabs.errors import BadRequestError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

Dial = Callable[..., Awaitable[Any]]
Create = Callable[..., Awaitable[str]]
SECRET = "wsec_of-a-test"


class Inbox:
    """Where the webhook arrives."""

    def __init__(self) -> None:
        self.received: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.url = ""

    async def take(self, request: Request) -> Response:
        body = (await request.body()).decode()
        await self.received.put((body, request.headers.get("elevenlabs-signature", "")))
        return Response()


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    box = Inbox()
    app = Starlette(routes=[Route("/hook", box.take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it.
        await asyncio.sleep(0.01)
    box.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/hook"
    yield box
    server.should_exit = True
    await serving


async def test_the_webhook_after_a_conversation_is_signed_as_the_sdk_expects(
    start: Callable[..., Awaitable[str]],
    sdk_for: Callable[..., AsyncElevenLabs],
    create_agent: Create,
    dial: Dial,
    inbox: Inbox,
) -> None:
    url = await start(webhook_url=inbox.url, webhook_secret=SECRET)
    client = await dial(url, await create_agent(url, conversation={"text_only": True}))
    await client.open(dynamic_variables={"session_id": "s-1"})
    await client.send(type="user_message", text="Ich träumte von einer Brücke — a bridge.")
    await client.reply()
    await client.socket.close()
    body, signature = await asyncio.wait_for(inbox.received.get(), 10)
    sdk = sdk_for(url)
    event = sdk.webhooks.construct_event(body, signature, SECRET)
    assert event["type"] == "post_call_transcription"
    data = event["data"]
    assert data["status"] == "done"
    assert [line["role"] for line in data["transcript"]] == ["user", "agent"]
    assert data["conversation_initiation_client_data"]["dynamic_variables"] == {"session_id": "s-1"}
    kept = await sdk.conversational_ai.conversations.get(data["conversation_id"])
    assert kept.transcript[0].message == data["transcript"][0]["message"]
    with pytest.raises(BadRequestError):
        sdk.webhooks.construct_event(body, signature, "another secret")


async def test_nothing_is_kept_after_the_webhook_where_nothing_may_be_retained(
    start: Callable[..., Awaitable[str]],
    sdk_for: Callable[..., AsyncElevenLabs],
    create_agent: Create,
    dial: Dial,
    inbox: Inbox,
) -> None:
    url = await start(webhook_url=inbox.url, webhook_secret=SECRET)
    agent_id = await create_agent(
        url, conversation={"text_only": True}, platform={"privacy": {"zero_retention_mode": True}}
    )
    client = await dial(url, agent_id)
    await client.open()
    await client.send(type="user_message", text="I dreamt of a bridge.")
    await client.reply()
    await client.socket.close()
    await asyncio.wait_for(inbox.received.get(), 10)
    conversations = sdk_for(url).conversational_ai.conversations
    conversation_id = client.frames[0]["conversation_initiation_metadata_event"]["conversation_id"]
    async with asyncio.timeout(10):
        while (await conversations.get(conversation_id)).transcript:  # noqa: ASYNC110 - asked over HTTP.
            await asyncio.sleep(0)


async def test_a_webhook_that_nobody_takes_hurts_no_conversation(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    url = await start(webhook_url="http://127.0.0.1:9/hook")
    agent_id = await create_agent(url, agent={"first_message": "Hello."}, conversation={"text_only": True})
    for _ in range(2):
        client = await dial(url, agent_id)
        await client.open()
        assert await client.reply() == "Hello."
        await client.socket.close()


@asynccontextmanager
async def command(home: Path, *options: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`oneiro engine` with nothing in its environment but what is given."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "oneiro", "engine", "--port", "0", "--speed", "500", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=home,
        env={"PATH": os.environ["PATH"], "HOME": str(home), **environment},
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.communicate(), 20)


@pytest.mark.parametrize("given", ["as options", "in the environment"])
async def test_the_command_tells_the_webhook_of_what_it_was_given(
    sdk_for: Callable[..., AsyncElevenLabs],
    create_agent: Create,
    dial: Dial,
    inbox: Inbox,
    tmp_path: Path,
    given: str,
) -> None:
    options = ["--webhook-url", inbox.url, "--webhook-secret", SECRET]
    environment = {"ONEIRO_ENGINE_WEBHOOK_URL": inbox.url, "ONEIRO_ELEVENLABS_WEBHOOK_SECRET": SECRET}
    started = command(tmp_path, *options) if given == "as options" else command(tmp_path, **environment)
    async with started as process:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), 60)
        url = line.decode().split()[-1]
        client = await dial(url, await create_agent(url, conversation={"text_only": True}))
        await client.open()
        await client.send(type="user_message", text="I dreamt of a staircase that went on above the roof.")
        await client.reply()
        await client.socket.close()
        body, signature = await asyncio.wait_for(inbox.received.get(), 10)

    assert sdk_for(url).webhooks.construct_event(body, signature, SECRET)["data"]["status"] == "done"


@pytest.mark.parametrize("address", ["127.0.0.1:8400/hook", "ftp://127.0.0.1/hook", "http://127.0.0.1:many/hook"])
async def test_an_address_that_is_none_is_one_line(tmp_path: Path, address: str) -> None:
    async with command(tmp_path, "--webhook-url", address) as process:
        said, complaint = await asyncio.wait_for(process.communicate(), 60)

    assert (process.returncode, said) == (1, b"")
    assert complaint.count(b"\n") == 1
    assert b"--webhook-url" in complaint
