import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from oneiro.engine.app import LlmEndpoint

Dial = Callable[..., Awaitable[Any]]
Create = Callable[..., Awaitable[str]]
PIECES = ["The bri", "dge, ", "you say?"]


def chunk(text: str) -> str:
    return f"data: {json.dumps({'choices': [{'delta': {'content': text}}]})}\n\n"


class Endpoint:
    """An OpenAI-compatible endpoint that answers as scripted and keeps what it was asked."""

    def __init__(self, script: str) -> None:
        self.script = script
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    async def take(self, request: Request) -> Response:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("authorization"))
        if self.script == "refuse":
            return Response(status_code=503)
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        yield ": a comment\n\n"
        if self.script == "nonsense":
            yield "data: {no json\n\n"
        for piece in PIECES[: 2 if self.script == "break off" else 3]:
            yield chunk(piece)
        if self.script == "whole":
            yield "data: [DONE]\n\n"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[LlmEndpoint]:
        app = Starlette(routes=[Route("/v1/chat/completions", self.take, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it.
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield LlmEndpoint(f"http://127.0.0.1:{port}/v1", "a-model", "an-llm-key")
        server.should_exit = True
        await serving


async def test_the_endpoint_answers_with_the_prompt_the_history_and_the_notes(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    endpoint = Endpoint("whole")
    async with endpoint.running() as llm:
        url = await start(llm=llm)
        agent_id = await create_agent(
            url,
            agent={
                "first_message": "Hello.",
                "prompt": {"prompt": "You speak with {{name}}.", "temperature": 0.7, "max_tokens": 150},
            },
            conversation={"text_only": True},
        )
        client = await dial(url, agent_id)
        await client.open(dynamic_variables={"name": "Ada"})
        await client.reply()
        await client.send(type="contextual_update", text="The dreamer is tired.")
        await client.send(type="user_message", text="I dreamt of a bridge.")
        assert await client.reply() == "The bridge, you say?"
        await client.send(type="user_message", text="It swayed.")
        await client.reply()
    deltas = [
        frame["text_response_part"]["text"]
        for frame in client.frames
        if frame["type"] == "agent_chat_response_part" and frame["text_response_part"]["type"] == "delta"
    ]
    assert deltas[1:4] == PIECES
    last = endpoint.asked[-1]
    assert [message["role"] for message in last["messages"]] == ["system", "assistant", "user", "assistant", "user"]
    assert last["messages"][0]["content"] == "You speak with Ada.\n\nNote: The dreamer is tired."
    assert last["messages"][3]["content"] == "The bridge, you say?"
    assert (last["model"], last["temperature"], last["max_tokens"], last["stream"]) == ("a-model", 0.7, 150, True)
    assert endpoint.keys == ["Bearer an-llm-key"] * 2


@pytest.mark.parametrize("script", ["refuse", "nonsense", "break off"])
async def test_dreamwork_takes_over_when_the_endpoint_fails_before_or_in_a_reply(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial, script: str
) -> None:
    async with Endpoint(script).running() as llm:
        url = await start(llm=llm)
        client = await dial(url, await create_agent(url, conversation={"text_only": True}))
        await client.open()
        await client.send(type="user_message", text="I dreamt of a wolf.")
        reply = await client.reply()
    assert "wolf" in reply
    assert reply.startswith("The bridge,") == (script == "break off")


async def test_dreamwork_answers_where_no_endpoint_listens(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    url = await start(llm=LlmEndpoint("http://127.0.0.1:9", "a-model"))
    client = await dial(url, await create_agent(url, conversation={"text_only": True}))
    await client.open()
    await client.send(type="user_message", text="I dreamt of a wolf.")
    assert "wolf" in await client.reply()
