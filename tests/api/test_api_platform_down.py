"""What a dreamer meets when the platform is away."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from oneiro.settings import Settings

Look = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """The same Oneiro, with the platform at an address where nothing listens."""
    return settings.model_copy(update={"elevenlabs_base_url": "http://127.0.0.1:9"})


async def test_a_start_fails_kindly_and_leaves_a_row_that_says_why(dreamer: httpx.AsyncClient, look: Look) -> None:
    answer = await dreamer.post("/conversations", json={"interpreter_id": "carl", "text_only": True})

    assert (answer.status_code, answer.json()["code"]) == (503, "platform_unavailable")
    assert answer.json()["retryable"] is True
    rows = await look("SELECT status, error_code FROM conversations")
    assert rows == [{"status": "failed", "error_code": "platform_unavailable"}]
    events = await look("SELECT event_type FROM system_events WHERE conversation_id IS NOT NULL ORDER BY seq")
    assert [row["event_type"] for row in events] == ["conversation.requested", "conversation.failed"]


async def test_a_failed_start_gives_its_idempotency_key_back(dreamer: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "once"}

    for _ in range(2):
        answer = await dreamer.post(
            "/conversations", json={"interpreter_id": "carl", "text_only": True}, headers=headers
        )
        assert answer.status_code == 503


async def test_the_journal_and_the_cards_do_not_need_the_platform(dreamer: httpx.AsyncClient) -> None:
    assert (await dreamer.post("/dreams", json={"content": "A heron."})).status_code == 201
    assert len((await dreamer.get("/interpreters")).json()["items"]) == 2
