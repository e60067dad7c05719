import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
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
