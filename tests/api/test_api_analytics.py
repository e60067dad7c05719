"""From a talk over HTTP to its numbers in the reports, with the consumers of a real worker."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
Change = Callable[..., Awaitable[None]]
LINES = ["I dreamed of my mother in our old house, and I was terribly afraid.", "Maybe it is about how she left."]


@pytest.fixture
def worker() -> bool:
    """The process also runs the consumers and the jobs."""
    return True


async def talk(client: httpx.AsyncClient) -> str:
    started = (await client.post("/conversations", json={"interpreter_id": "carl", "text_only": True})).json()
    conversation_id = str(started["conversation_id"])
    messages = [{"event_id": f"u{n}", "sender": "user", "content": line} for n, line in enumerate(LINES)]
    await client.post(f"/conversations/{conversation_id}/messages", json={"messages": messages})
    await client.post(f"/conversations/{conversation_id}/end", json={"reason": "user_ended"})
    return conversation_id


async def until(look: Look, statement: str, *values: object) -> list[dict[str, Any]]:
    """The rows of a statement, once there are any."""
    async with asyncio.timeout(20):
        while not (rows := await look(statement, *values)):  # noqa: ASYNC110 - asked of the database.
            await asyncio.sleep(0.02)
    return rows


async def test_a_talk_is_in_the_reports_and_a_rating_afterwards_as_well(
    sign_in: Callable[..., httpx.AsyncClient], dreamer: httpx.AsyncClient, look: Look
) -> None:
    await dreamer.patch("/me", json={"consents": {"analytics": True}})
    conversation_id = await talk(dreamer)
    await until(look, "SELECT 1 FROM conversation_analytics WHERE conversation_id = %s", conversation_id)
    await dreamer.put(f"/conversations/{conversation_id}/rating", json={"score": 4})
    await until(look, "SELECT 1 FROM conversation_analytics WHERE user_satisfaction_score = 4")
    await until(look, "SELECT 1 FROM agent_metrics WHERE metric_type = 'user_satisfaction'")

    operator = sign_in(operator=True)
    report = (await operator.get("/admin/interpreters/carl/performance")).json()
    assert report["total"]["conversations"] == 1
    assert report["total"]["ratings"]["mean"] == 4
    assert report["total"]["completion"]["rate"] == 1
    assert report["releases"][0]["release"] == 1
    assert "family" in {topic["topic"] for topic in report["total"]["topics"]}
    dashboard = (await operator.get("/admin/dashboard")).json()
    assert dashboard["last_24_hours"]["messages"] == 2
    consumers = {consumer["consumer"]: consumer["parked"] for consumer in dashboard["system_health"]["consumers"]}
    assert {"analytics": 0, "agent_metrics": 0}.items() <= consumers.items()


async def test_a_start_settles_whether_its_agent_was_known_and_a_resume_does_not_undo_that(
    dreamer: httpx.AsyncClient, look: Look
) -> None:
    await talk(dreamer)
    started = (await dreamer.post("/conversations", json={"interpreter_id": "carl", "text_only": True})).json()
    path = f"/conversations/{started['conversation_id']}"
    await dreamer.post(f"{path}/pause")
    assert (await dreamer.post(f"{path}/resume")).status_code == 200
    await dreamer.post(f"{path}/end", json={"reason": "user_ended"})
    rows = await until(
        look,
        "SELECT counts, snapshot -> 'technical' AS technical FROM conversation_analytics WHERE conversation_id = %s",
        started["conversation_id"],
    )
    assert (rows[0]["counts"]["agent_known"], rows[0]["counts"]["agent_known_n"]) == (1, 1)
    assert rows[0]["technical"]["start_ms"] >= 0
    hits = "SELECT metric_value::int AS ms FROM agent_metrics WHERE conversation_id = %s AND metric_type = %s"
    assert len(await until(look, hits, started["conversation_id"], "agent_cache_hit")) == 1
    # By its calls it would not have been.
    assert rows[0]["technical"]["platform_calls"] == 2


async def test_the_rows_of_analytics_quote_nobody(dreamer: httpx.AsyncClient, look: Look) -> None:
    await dreamer.patch("/me", json={"consents": {"analytics": True}})
    conversation_id = await talk(dreamer)
    rows = await until(
        look,
        "SELECT to_jsonb(a)::text AS held FROM conversation_analytics AS a WHERE conversation_id = %s",
        conversation_id,
    )
    assert not [word for word in ("mother", "terribly", "old house") if word in rows[0]["held"]]


async def test_her_insights_are_hers(dreamer: httpx.AsyncClient, other: httpx.AsyncClient, change: Change) -> None:
    first, _ = [await talk(dreamer) for _ in range(2)]
    await change("UPDATE conversations SET created_at = created_at - interval '1 day' WHERE id = %s", first)
    people = (await dreamer.get("/me/insights")).json()["people"]
    assert [(person["name"], person["nights"]) for person in people] == [("mother", 2)]
    assert (await other.get("/me/insights")).json()["people"] == []
