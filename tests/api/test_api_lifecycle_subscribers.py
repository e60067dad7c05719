"""What follows an end that no client asked for: the consumers and the job of summaries."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from oneiro.conversations.wrapup.jobs import CONSUMER, FUNCTIONS, SUMMARISE
from oneiro.conversations.wrapup.service import summarise_ended
from oneiro.events.models import Event

Look = Callable[..., Awaitable[list[dict[str, Any]]]]

DREAM = "I dreamt that a glass tram stopped in the middle of the lake and let out a hundred moths."


async def shut_down(app: FastAPI, client: httpx.AsyncClient) -> UUID:
    """A conversation that something other than its client ended."""
    answer = await client.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
    conversation_id = UUID(answer.json()["conversation_id"])
    messages = [{"event_id": "1", "sender": "user", "content": DREAM}]
    await client.post(f"/conversations/{conversation_id}/messages", json={"messages": messages})
    await app.state.conversations.shut_down(conversation_id)
    return conversation_id


def ended(conversation_id: UUID | None, clock: Any) -> Event:
    return Event(
        position=1,
        id=uuid4(),
        type="conversation.ended",
        entity_type="conversation",
        entity_id=str(conversation_id),
        conversation_id=conversation_id,
        interpreter_id="carl",
        data={},
        user_id=None,
        time=clock(),
    )


async def test_an_end_from_outside_is_summed_up_once_by_the_consumer(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any, look: Look
) -> None:
    conversation_id = await shut_down(app, dreamer)
    before = (await dreamer.get(f"/conversations/{conversation_id}")).json()["summary"]

    for _ in range(2):
        async with app.state.database.as_service() as conn:
            await summarise_ended(conn, ended(conversation_id, clock))

    after = (await dreamer.get(f"/conversations/{conversation_id}")).json()["summary"]
    assert before is None
    assert "tram" in after or "lake" in after or "moths" in after
    assert len(await look("SELECT 1 FROM dreams")) == 1


async def test_a_conversation_that_is_gone_is_no_fault(app: FastAPI, dreamer: httpx.AsyncClient, clock: Any) -> None:
    conversation_id = await shut_down(app, dreamer)
    await dreamer.delete(f"/conversations/{conversation_id}")

    async with app.state.database.as_service() as conn:
        await summarise_ended(conn, ended(conversation_id, clock))
        await summarise_ended(conn, ended(None, clock))

    assert (await dreamer.get("/dreams")).json()["items"] == []


async def test_a_models_summary_is_one_job_with_the_id_alone_and_without_a_model_changes_nothing(
    app: FastAPI, dreamer: httpx.AsyncClient, clock: Any, look: Look
) -> None:
    conversation_id = await shut_down(app, dreamer)

    for _ in range(2):
        async with app.state.database.as_service() as conn:
            await CONSUMER.fn(conn, ended(conversation_id, clock))
    jobs = await look("SELECT kind, payload FROM jobs WHERE kind = %s", SUMMARISE)
    await FUNCTIONS[SUMMARISE](app.state, jobs[0]["payload"])

    assert jobs == [{"kind": SUMMARISE, "payload": {"conversation_id": str(conversation_id)}}]
    assert (await dreamer.get(f"/conversations/{conversation_id}")).json()["summary"] is None


@pytest.mark.parametrize("worker", [True])
async def test_in_a_process_that_works_nobody_has_to_call_anything(app: FastAPI, dreamer: httpx.AsyncClient) -> None:
    conversation_id = await shut_down(app, dreamer)

    async with asyncio.timeout(20):
        while (await dreamer.get(f"/conversations/{conversation_id}")).json()["summary"] is None:  # noqa: ASYNC110 - HTTP.
            await asyncio.sleep(0.02)

    assert [draft["status"] for draft in (await dreamer.get("/dreams")).json()["items"]] == ["draft"]
