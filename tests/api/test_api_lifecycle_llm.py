"""Summaries by a language model: a real endpoint on loopback that answers as scripted."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from oneiro.breaker import CircuitBreaker
from oneiro.conversations.wrapup.llm import Unsummarised, summarise_by_llm
from oneiro.settings import Settings

Look = Callable[..., Awaitable[list[dict[str, Any]]]]

DREAM = "I dreamt that a marzipan heron folded the lake into envelopes."
WORDS = "She told of a heron and a folded lake, and was calm."


@pytest.fixture
def model() -> str | None:
    """Where the model is while conversations are held, so that dreamers are told of it."""
    return "http://127.0.0.1:9/v1"


@pytest.fixture
def settings(settings: Settings, model: str | None) -> Settings:
    return settings.model_copy(update={"llm_base_url": model})


class Endpoint:
    """Answers every question with `body`, and keeps what it was asked."""

    def __init__(self, body: Any, status: int = 200) -> None:
        self.body, self.status = body, status
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    async def take(self, request: Request) -> Response:
        self.asked.append(await request.json())
        self.keys.append(request.headers.get("authorization"))
        return JSONResponse(self.body, status_code=self.status)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        app = Starlette(routes=[Route("/v1/chat/completions", self.take, methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve())
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it.
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1/"
        finally:
            server.should_exit = True
            await serving


class Dripping(Endpoint):
    """Sends a space now and then, and never comes to an end by itself."""

    async def take(self, request: Request) -> Response:
        await super().take(request)

        async def drip() -> AsyncIterator[bytes]:
            while not await request.is_disconnected():
                yield b" "
                await asyncio.sleep(0.02)

        return StreamingResponse(drip())


def said(content: str) -> dict[str, Any]:
    return {"choices": [{"message": {"content": content}}]}


async def ended(client: httpx.AsyncClient, *lines: str, **end: str) -> UUID:
    conversation_id = (await client.post("/conversations", json={"interpreter_id": "carl", "text_only": True})).json()[
        "conversation_id"
    ]
    messages = [{"event_id": str(place), "sender": "user", "content": line} for place, line in enumerate(lines)]
    if messages:
        await client.post(f"/conversations/{conversation_id}/messages", json={"messages": messages})
    await client.post(f"/conversations/{conversation_id}/end", json=end or None)
    return UUID(conversation_id)


async def summarise(
    app: FastAPI,
    settings: Settings,
    endpoint: Endpoint,
    conversation_id: UUID,
    *,
    breaker: CircuitBreaker | None = None,
    within: float = 60.0,
) -> bool:
    async with endpoint.running() as url, httpx.AsyncClient(timeout=30) as client:
        configured = settings.model_copy(update={"llm_base_url": url, "llm_api_key": SecretStr("a key")})
        breaker = breaker or CircuitBreaker("llm")
        args = (app.state.database, client, configured, conversation_id)
        return await summarise_by_llm(*args, breaker=breaker, within=within)


async def test_the_models_summary_replaces_ours_once(
    app: FastAPI, settings: Settings, dreamer: httpx.AsyncClient
) -> None:
    conversation_id = await ended(dreamer, DREAM)
    endpoint = Endpoint(said(f"  {WORDS}\x00 "))

    first = await summarise(app, settings, endpoint, conversation_id)
    again = await summarise(app, settings, endpoint, conversation_id)

    assert (first, again) == (True, False)
    assert (await dreamer.get(f"/conversations/{conversation_id}")).json()["summary"] == WORDS
    assert (len(endpoint.asked), endpoint.keys) == (1, ["Bearer a key"])
    assert endpoint.asked[0]["messages"][1] == {"role": "user", "content": f"Dreamer: {DREAM}"}
    assert "Carl" in endpoint.asked[0]["messages"][0]["content"]


async def test_a_summary_that_the_client_gave_stays(
    app: FastAPI, settings: Settings, dreamer: httpx.AsyncClient
) -> None:
    conversation_id = await ended(dreamer, DREAM, summary="Mine.")
    endpoint = Endpoint(said(WORDS))

    assert not await summarise(app, settings, endpoint, conversation_id)
    assert endpoint.asked == []


async def test_nothing_is_asked_where_nothing_was_told(
    app: FastAPI, settings: Settings, dreamer: httpx.AsyncClient
) -> None:
    endpoint = Endpoint(said(WORDS))

    assert not await summarise(app, settings, endpoint, await ended(dreamer))
    assert endpoint.asked == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 200),
        (said(""), 200),
        (said("x" * 6000), 200),
        ({"choices": []}, 200),
        ([], 200),
        ({"error": {"message": f"cannot read: {DREAM}"}}, 400),
        ({}, 503),
    ],
)
async def test_a_model_that_fails_leaves_our_summary_and_repeats_no_words(
    app: FastAPI, settings: Settings, dreamer: httpx.AsyncClient, body: Any, status: int
) -> None:
    conversation_id = await ended(dreamer, DREAM)
    ours = (await dreamer.get(f"/conversations/{conversation_id}")).json()["summary"]

    with pytest.raises(Unsummarised) as failed:
        await summarise(app, settings, Endpoint(body, status), conversation_id)

    assert failed.value.retryable
    assert "marzipan" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert (await dreamer.get(f"/conversations/{conversation_id}")).json()["summary"] == ours


async def test_without_an_endpoint_there_is_nothing_to_do(
    app: FastAPI, settings: Settings, dreamer: httpx.AsyncClient
) -> None:
    conversation_id = await ended(dreamer, DREAM)
    none = settings.model_copy(update={"llm_base_url": None})

    async with httpx.AsyncClient(timeout=30) as client:
        breaker = CircuitBreaker("llm")
        assert not await summarise_by_llm(app.state.database, client, none, conversation_id, breaker=breaker)


@pytest.mark.parametrize("model", [None])
async def test_a_model_that_she_was_not_told_of_gets_nothing(
    app: FastAPI, settings: Settings, dreamer: httpx.AsyncClient
) -> None:
    conversation_id = await ended(dreamer, DREAM)
    ours = (await dreamer.get(f"/conversations/{conversation_id}")).json()["summary"]
    endpoint = Endpoint(said(WORDS))

    assert not await summarise(app, settings, endpoint, conversation_id)

    assert endpoint.asked == []
    assert ours
    assert (await dreamer.get(f"/conversations/{conversation_id}")).json()["summary"] == ours


async def test_lines_that_the_crisis_gate_flagged_are_not_sent(
    app: FastAPI, settings: Settings, dreamer: httpx.AsyncClient
) -> None:
    conversation_id = await ended(dreamer, DREAM, "I want to kill myself tonight.", "The heron came back.")
    endpoint = Endpoint(said(WORDS))

    assert await summarise(app, settings, endpoint, conversation_id)

    assert endpoint.asked[0]["messages"][1]["content"] == f"Dreamer: {DREAM}\nDreamer: The heron came back."


async def test_nothing_is_sent_where_every_line_was_flagged(
    app: FastAPI, settings: Settings, dreamer: httpx.AsyncClient
) -> None:
    endpoint = Endpoint(said(WORDS))

    assert not await summarise(app, settings, endpoint, await ended(dreamer, "I want to kill myself tonight."))
    assert endpoint.asked == []


async def test_a_model_that_drips_its_answer_is_left_in_time_and_then_not_asked_any_more(
    app: FastAPI, settings: Settings, dreamer: httpx.AsyncClient
) -> None:
    conversation_id, endpoint = await ended(dreamer, DREAM), Dripping(said(WORDS))
    breaker = CircuitBreaker("llm")

    for _ in range(6):
        with pytest.raises(Unsummarised):
            await summarise(app, settings, endpoint, conversation_id, breaker=breaker, within=0.2)

    assert breaker.state == "open"
    assert len(endpoint.asked) == 5
