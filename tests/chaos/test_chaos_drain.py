"""SIGTERM of a replica: it says so, lets calls go on for a while, and sends them elsewhere."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
from tests.chaos.clients import MARKER, Answer, Dreamer, Traffic, dialled
from tests.chaos.processes import House, Process, until

SignIn = Callable[..., Awaitable[Dreamer]]
Settle = Callable[..., Awaitable[None]]
Look = Callable[..., Awaitable[list[dict[str, Any]]]]

DRAIN = 10
BOUND = DRAIN + 30
"""Seconds from the signal to the end: what may be settled and closed after the drain is over."""
LONG = 60
"""Seconds of a drain that nobody waits for."""
BY_ITSELF = {"ONEIRO_SWEEP_SECONDS": "1", "ONEIRO_PAUSE_SECONDS": "20", "ONEIRO_TRANSPORT": "relay"}


async def _status(look: Look, conversation_id: str) -> tuple[str, str | None]:
    (row,) = await look("SELECT status, end_reason FROM conversations WHERE id = %s", conversation_id)
    return row["status"], row["end_reason"]


async def _refuses_news(service: Process, dreamer: Dreamer) -> None:
    """The process is alive and takes nothing new."""
    async with httpx.AsyncClient(base_url=service.url, trust_env=False, timeout=DRAIN, headers=dreamer.headers) as http:

        async def not_ready() -> bool:
            answer = await http.get("/readyz")
            return answer.status_code == 503 and answer.json()["stopping"] is True

        await until("readyz says that it stops", not_ready, within=DRAIN)
        assert (await http.get("/healthz")).status_code == 200
        refused = await http.post("/v1/conversations", json={"interpreter_id": "carl", "text_only": True})
    assert (refused.status_code, refused.json()["code"]) == (503, "stopping")
    assert int(refused.headers["Retry-After"]) > 0


async def test_a_live_call_is_let_go_on_and_then_continues_elsewhere(
    oneiro: House, traffic: Traffic, sign_in: SignIn, settle: Settle, look: Look
) -> None:
    await oneiro.engine()
    leaving = await oneiro.serve(ONEIRO_DRAIN_SECONDS=str(DRAIN), **BY_ITSELF)
    staying = await oneiro.serve(**BY_ITSELF)
    first, second = await sign_in(at=leaving.url), await sign_in(at=leaving.url)
    kept, left = await first.start(), await second.start()
    async with (
        asyncio.TaskGroup() as tasks,
        dialled(kept["signed_url"]) as one,
        dialled(left["signed_url"]) as other,
    ):
        await asyncio.gather(one.open(), other.open())
        await asyncio.gather(one.say(f"A {MARKER} stood in the hall."), other.say(f"I held a {MARKER}."))
        began = time.monotonic()
        leaving.signal(signal.SIGTERM)
        await _refuses_news(leaving, first)
        await one.say(f"Then the {MARKER} spoke to me, though the house was leaving.")
        assert time.monotonic() - began < DRAIN
        assert await one.closed() == 1012
        assert time.monotonic() - began >= DRAIN
        tasks.create_task(_goes_on(first.at(staying.url), kept))
        assert await other.closed() == 1012
        assert await leaving.ended(within=BOUND) == 0
        assert time.monotonic() - began < BOUND

    async def final() -> bool:
        wanted = {kept["conversation_id"]: "user_ended", left["conversation_id"]: "system_shutdown"}
        return [await _status(look, each) for each in wanted] == [("completed", why) for why in wanted.values()]

    await until("who resumes ends it herself, and what nobody resumes is ended by the other replica", final)
    await settle(traffic.acknowledged)


async def _goes_on(dreamer: Dreamer, started: Answer) -> None:
    """Resume, say one thing more, and end it."""
    conversation_id = started["conversation_id"]
    resumed = await dreamer.post(f"/conversations/{conversation_id}/resume")
    async with dialled(resumed["signed_url"]) as call:
        await call.open()
        await call.say(f"I am here again, and so is the {MARKER}.")
    # Closing with 1000 is how a dreamer ends a call.
    said = [line["content"] for line in await dreamer.lines(conversation_id) if line["sender"] == "user"]
    assert said == [
        f"A {MARKER} stood in the hall.",
        f"Then the {MARKER} spoke to me, though the house was leaving.",
        f"I am here again, and so is the {MARKER}.",
    ]


async def test_a_process_without_calls_leaves_at_once(oneiro: House, settle: Settle) -> None:
    await oneiro.engine()
    leaving = await oneiro.serve(ONEIRO_DRAIN_SECONDS=str(LONG))
    worker = await oneiro.worker(ONEIRO_DRAIN_SECONDS=str(LONG))
    began = time.monotonic()
    leaving.signal(signal.SIGTERM)
    worker.signal(signal.SIGTERM)
    assert await leaving.ended() == 0
    assert await worker.ended() == 0
    assert time.monotonic() - began < LONG
