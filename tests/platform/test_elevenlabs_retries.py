"""Calls that may be repeated, against an engine that turns them away for a while: they wait as long as it asks."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from oneiro.breaker import CircuitBreaker
from oneiro.platform.elevenlabs import ElevenLabsPlatform
from oneiro.platform.errors import PlatformUnavailable
from oneiro.platform.port import AgentSpec

Connect = Callable[..., ElevenLabsPlatform]
KEY = {"xi-api-key": "sk_test_of_nobody"}


async def turn_away(engine_url: str, **fault: Any) -> None:
    busy = {"kind": "status", "status": 429, "code": "concurrent_limit_exceeded", **fault}
    async with httpx.AsyncClient(base_url=engine_url, headers=KEY) as client:
        (await client.put("/engine/faults", json={"faults": [busy]})).raise_for_status()


async def struck(engine_url: str) -> int:
    async with httpx.AsyncClient(base_url=engine_url, headers=KEY) as client:
        answer = await client.get("/engine/faults")
    count: int = answer.raise_for_status().json()["faults"][0]["struck"]
    return count


async def test_a_call_that_may_be_repeated_comes_again_when_it_was_told_to(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    breaker = CircuitBreaker("conversations")
    platform = connect(engine_url, conversations=breaker)
    agent_id = await platform.create_agent(spec)
    await turn_away(engine_url, path="*get-signed-url", retry_after=1, times=1)
    began = time.monotonic()

    assert (await platform.signed_url(agent_id)).url.startswith("ws://")

    assert time.monotonic() - began >= 1
    assert await struck(engine_url) == 1
    assert breaker.stats(datetime.now(UTC)).failure_count == 0


async def test_a_call_that_creates_is_made_once_whatever_it_was_told(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    await turn_away(engine_url, method="POST", path="*/agents/create", retry_after=1)
    platform = connect(engine_url)

    with pytest.raises(PlatformUnavailable) as caught:
        await platform.create_agent(spec)

    assert caught.value.retry_after == 1
    assert await struck(engine_url) == 1


async def test_nobody_waits_for_a_moment_beyond_the_calls_own_time(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    platform = connect(engine_url, conversation_seconds=1.9)
    agent_id = await platform.create_agent(spec)
    await turn_away(engine_url, path="*get-signed-url", retry_after=1)
    began = time.monotonic()

    with pytest.raises(PlatformUnavailable) as caught:
        await platform.signed_url(agent_id)

    # One wait fits in, a second one does not.
    assert time.monotonic() - began >= 1
    assert caught.value.retry_after == 1
    assert await struck(engine_url) == 2
