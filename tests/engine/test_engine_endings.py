"""How conversations and engines end when nobody says goodbye."""

import asyncio
import base64
import math
import random
import socket
import time
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from elevenlabs import AsyncElevenLabs

from oneiro.engine.app import EngineSettings, running

Dial = Callable[..., Awaitable[Any]]
Create = Callable[..., Awaitable[str]]
SPEECH = array("h", [int(9_000 * math.sin(index * 0.2)) for index in range(16_000)]).tobytes()


async def done(sdk: AsyncElevenLabs, client: Any) -> Any:
    """The conversation of a bare client, once the engine has seen its end."""
    conversation_id = client.frames[0]["conversation_initiation_metadata_event"]["conversation_id"]
    async with asyncio.timeout(10):
        while (found := await sdk.conversational_ai.conversations.get(conversation_id)).status != "done":  # noqa: ASYNC110 - asked over HTTP.
            await asyncio.sleep(0)
    return found


@pytest.mark.parametrize("text_only", [True, False])
async def test_a_client_that_vanishes_while_the_agent_speaks_ends_the_conversation(
    start: Callable[..., Awaitable[str]],
    sdk_for: Callable[..., AsyncElevenLabs],
    create_agent: Create,
    dial: Dial,
    *,
    text_only: bool,
) -> None:
    url = await start(speed=1)
    agent = {"first_message": "There is no hurry at all tonight. " * 10}
    client = await dial(url, await create_agent(url, agent=agent, conversation={"text_only": text_only}))
    await client.open()
    await client.until("agent_chat_response_part" if text_only else "audio")
    client.socket.transport.abort()
    kept = await done(sdk_for(url), client)
    assert kept.metadata.termination_reason.startswith("Client disconnected")
    assert kept.metadata.error is None


@pytest.mark.parametrize("text_only", [True, False])
async def test_an_engine_that_stops_tells_its_clients(create_agent: Create, dial: Dial, *, text_only: bool) -> None:
    async with running(EngineSettings(speed=1)) as url:
        agent = {"first_message": "There is no hurry at all tonight. " * 10}
        client = await dial(url, await create_agent(url, agent=agent, conversation={"text_only": text_only}))
        await client.open()
        await client.until("agent_chat_response_part" if text_only else "audio")
        began = time.monotonic()
    assert time.monotonic() - began < 4
    assert (await client.closed())[0] == 1012


async def test_a_recogniser_that_fails_ends_no_conversation(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    def broken(_: bytes) -> str:
        raise RuntimeError("no model")

    url = await start(recogniser=broken)
    client = await dial(url, await create_agent(url))
    await client.open()
    await client.send(user_audio_chunk=base64.b64encode(SPEECH + bytes(96_000)).decode())
    assert (await client.until("error"))["error_event"]["error_type"] == "asr_transcription_error"
    await client.send(type="user_message", text="I dreamt of a bridge.")
    assert "bridge" in await client.reply()


async def test_a_sign_of_activity_holds_the_agent_back(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    url = await start(speed=10)
    client = await dial(url, await create_agent(url, conversation={"text_only": True}))
    await client.open()
    began = time.monotonic()
    await client.send(type="user_activity")
    await client.send(type="user_message", text="I dreamt of a bridge.")
    await client.until("agent_chat_response_part")
    assert time.monotonic() - began >= 0.2


async def test_random_frames_crash_nothing(engine_url: str, create_agent: Create, dial: Dial) -> None:
    dice = random.Random(7)  # noqa: S311 - a seed for a repeatable test.
    kinds = ["user_message", "pong", "feedback", "contextual_update", "client_tool_result", "multimodal_message", "x"]
    values: list[Any] = [None, 0, -1, True, "", "a" * 50, [], {}, {"type": "user_message", "text": 3}, 1e308]
    fields = ["text", "event_id", "score", "tool_call_id", "result", "is_error", "file"]
    client = await dial(engine_url, await create_agent(engine_url, conversation={"text_only": True}))
    await client.open()
    for _ in range(300):
        await client.send(type=dice.choice(kinds), **{name: dice.choice(values) for name in dice.sample(fields, 3)})
    await client.send(type="pong", event_id=1)
    await client.send(type="feedback", event_id=1, score="neither")
    while (frame := await client.next())["type"] != "error" or "literal" not in frame["error_event"]["message"]:
        pass
    client.socket.transport.abort()
    assert (await dial(engine_url, await create_agent(engine_url))).socket.close_code is None


async def test_an_address_in_use_is_an_error_of_the_caller() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        async with running(EngineSettings(), port=taken.getsockname()[1]):
            pass
