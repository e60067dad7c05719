import asyncio
from typing import Any
from uuid import uuid4

import httpx
import pytest

DREAM = {"content": "A lighthouse stood in my kitchen and every drawer held weather.", "symbols": ["lighthouse"]}


async def written(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/dreams", json=DREAM | fields)
    assert answer.status_code == 201
    found: dict[str, Any] = answer.json()
    return found


async def test_a_dream_is_written_read_changed_and_deleted(dreamer: httpx.AsyncClient) -> None:
    dream = await written(dreamer, title="Weather drawers")
    path = f"/dreams/{dream['id']}"

    assert (await dreamer.get(path)).json() == dream
    changed = (await dreamer.patch(path, json={"title": None, "symbols": ["drawer"]})).json()
    assert (changed["title"], changed["symbols"], changed["content"]) == (None, ["drawer"], DREAM["content"])
    assert changed["updated_at"] > dream["updated_at"]
    assert (await dreamer.delete(path)).status_code == 204
    assert (await dreamer.get(path)).json()["code"] == "dream_not_found"


async def test_another_dreamers_dream_is_not_found(dreamer: httpx.AsyncClient, other: httpx.AsyncClient) -> None:
    path = f"/dreams/{(await written(dreamer))['id']}"

    assert (await other.get(path)).status_code == 404
    assert (await other.patch(path, json={"title": "mine"})).status_code == 404
    assert (await other.delete(path)).status_code == 404
    assert (await other.get("/dreams")).json() == {"items": [], "next_cursor": None}
    assert (await dreamer.get(path)).status_code == 200


async def test_the_journal_is_paged_newest_first_without_gap_or_double(dreamer: httpx.AsyncClient) -> None:
    ids = [(await written(dreamer, content=f"Dream number {number}."))["id"] for number in range(7)]

    seen: list[str] = []
    cursor = None
    while True:
        query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
        page = (await dreamer.get("/dreams", params=query)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == ids[::-1]


async def test_two_changes_at_once_do_not_undo_each_other(dreamer: httpx.AsyncClient) -> None:
    path = f"/dreams/{(await written(dreamer))['id']}"

    for number in range(5):
        await asyncio.gather(
            dreamer.patch(path, json={"title": f"Title {number}"}),
            dreamer.patch(path, json={"symbols": [f"symbol {number}"]}),
        )
        dream = (await dreamer.get(path)).json()
        assert (dream["title"], dream["symbols"]) == (f"Title {number}", [f"symbol {number}"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"content": ""}, "must not be empty"),
        ({"content": " \n "}, "must not be empty"),
        ({"content": "x" * 5001}, "at most 5000 characters, this has 5001"),
        ({"symbols": ["y" * 51]}, "at most 50 characters"),
        ({"unknown": 1}, "Extra inputs"),
        ({"interpretation_date": "9999-12-31T23:59:59-23:59"}, "is not a moment"),
    ],
)
async def test_what_a_dream_may_not_be_is_said(
    dreamer: httpx.AsyncClient, fields: dict[str, Any], message: str
) -> None:
    answer = await dreamer.post("/dreams", json=DREAM | fields)

    assert answer.status_code == 422
    assert message in answer.json()["detail"]


async def test_what_was_sent_is_never_repeated_in_an_error(dreamer: httpx.AsyncClient) -> None:
    answer = await dreamer.post("/dreams", json={"content": "marzipan " * 1000, "title": ["marzipan"]})

    assert answer.status_code == 422
    assert "marzipan" not in answer.text


async def test_the_same_key_and_body_write_one_dream(dreamer: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": str(uuid4())}

    first = await dreamer.post("/dreams", json=DREAM, headers=headers)
    again = await dreamer.post("/dreams", json=DREAM, headers=headers)
    otherwise = await dreamer.post("/dreams", json={"content": "Another."}, headers=headers)

    assert first.json() == again.json()
    assert (otherwise.status_code, otherwise.json()["code"]) == (422, "idempotency_key_reused")
    assert len((await dreamer.get("/dreams")).json()["items"]) == 1


@pytest.mark.parametrize("cursor", ["nonsense", "MjAyNg", "8J+Ziw==", "x" * 201])
async def test_a_strange_cursor_is_refused(dreamer: httpx.AsyncClient, cursor: str) -> None:
    answer = await dreamer.get("/dreams", params={"cursor": cursor})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_letters_of_every_script_and_braces_survive(dreamer: httpx.AsyncClient) -> None:
    text = "Ольга, José and 李雷 sang {{opening}} <script> 🌙 e\u0301"

    dream = await written(dreamer, content=text)

    assert dream["content"] == text.replace("e\u0301", "é")


@pytest.mark.parametrize("content", ["a\x00b", "a\ud800b"])
async def test_what_no_database_can_hold_does_no_harm(dreamer: httpx.AsyncClient, content: str) -> None:
    body = '{"content": "a\\u0000b"}' if "\x00" in content else '{"content": "a\\ud800b"}'
    answer = await dreamer.post("/dreams", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code in {201, 422}


async def test_a_body_over_its_bound_is_refused(dreamer: httpx.AsyncClient) -> None:
    answer = await dreamer.post("/dreams", content=b"x" * (256 * 1024 + 1))

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


async def test_a_body_over_its_bound_is_refused_as_it_arrives(dreamer: httpx.AsyncClient) -> None:
    async def chunks() -> Any:
        for _ in range(300):
            yield b"x" * 1024

    answer = await dreamer.post("/dreams", content=chunks())

    assert answer.status_code == 413
