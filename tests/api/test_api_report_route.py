"""Reports are answered in a plain way and in FastAPI's; nobody can tell which one it was."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

PLAIN = "application/json"
USUAL = "application/json; charset=utf-8"


async def report(client: httpx.AsyncClient, path: str, kind: str, body: bytes, **headers: str) -> httpx.Response:
    return await client.post(path, content=body, headers={"Content-Type": kind, **headers})


async def started(client: httpx.AsyncClient) -> str:
    answer = await client.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
    assert answer.status_code == 201, answer.text
    return f"/conversations/{answer.json()['conversation_id']}/messages"


def body(event_id: str, content: str = "A heron folded the lake.") -> bytes:
    return f'{{"messages": [{{"event_id": "{event_id}", "sender": "user", "content": "{content}"}}]}}'.encode()


@pytest.mark.parametrize("content", ["A heron folded the lake.", "I want to kill myself tonight."])
async def test_both_ways_store_a_line_and_give_the_same_answer(dreamer: httpx.AsyncClient, content: str) -> None:
    path = await started(dreamer)

    plain, usual = [await report(dreamer, path, kind, body(kind, content)) for kind in (PLAIN, USUAL)]

    assert (plain.status_code, plain.json()["stored"]) == (202, 1)
    assert (usual.status_code, usual.json(), usual.headers["content-type"]) == (
        plain.status_code,
        plain.json(),
        plain.headers["content-type"],
    )
    assert len((await dreamer.get(path)).json()["items"]) == 2


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"messages": []}',
        b'{"messages": [{"event_id": "1", "sender": "somebody", "content": "x"}]}',
        b'{"messages": [{"event_id": "1", "sender": "user", "content": ""}]}',
        b'{"messages": [{"event_id": "1", "sender": "user", "content": "\\ud800"}]}',
        b'{"messages": [{"event_id": "1", "sender": "user", "content": "x", "metadata": {"n": NaN}}]}',
        b'{"messages": [{"event_id": "1", "sender": "user", "content": "x", "more": 1}]}',
    ],
)
async def test_both_ways_refuse_the_same_bodies_in_the_same_words(dreamer: httpx.AsyncClient, sent: bytes) -> None:
    path = await started(dreamer)

    plain, usual = [await report(dreamer, path, kind, sent) for kind in (PLAIN, USUAL)]

    assert plain.status_code == 422
    assert (usual.status_code, usual.json()) == (plain.status_code, plain.json())


@pytest.mark.parametrize("token", ["", "Bearer", "Bearer ", "Bearer x", "Basic eDp5", "bearer x"])
async def test_both_ways_refuse_the_same_tokens_in_the_same_words(dreamer: httpx.AsyncClient, token: str) -> None:
    path = await started(dreamer)

    plain, usual = [await report(dreamer, path, kind, body("1"), Authorization=token) for kind in (PLAIN, USUAL)]

    assert plain.status_code == 401
    assert (usual.status_code, usual.json()) == (plain.status_code, plain.json())


@pytest.mark.parametrize("conversation", ["nowhere", "c0ffee00-0000-4000-8000-000000000000", "0"])
async def test_both_ways_find_no_conversation_in_the_same_words(dreamer: httpx.AsyncClient, conversation: str) -> None:
    path = f"/conversations/{conversation}/messages"

    plain, usual = [await report(dreamer, path, kind, body("1")) for kind in (PLAIN, USUAL)]

    assert plain.status_code in {404, 422}
    assert (usual.status_code, usual.json()) == (plain.status_code, plain.json())


async def test_somebody_elses_conversation_is_found_by_neither_way(
    dreamer: httpx.AsyncClient, sign_in: Callable[..., Any]
) -> None:
    path = await started(dreamer)
    other = sign_in()

    answers = [await report(other, path, kind, body("1")) for kind in (PLAIN, USUAL)]

    assert [answer.status_code for answer in answers] == [404, 404]
