import asyncio

import httpx
import pytest


async def test_the_first_request_makes_a_profile_that_agreed_to_nothing(dreamer: httpx.AsyncClient) -> None:
    me = (await dreamer.get("/me")).json()

    assert me["consents"] == {"voice": False, "memory": False, "analytics": False}
    assert (me["name"], me["language"], me["allowed_interpreters"], me["minutes_today"]) == (None, "en", None, 0)
    assert (await dreamer.get("/me")).json() == me


async def test_a_dreamer_changes_what_she_sends_and_nothing_else(dreamer: httpx.AsyncClient) -> None:
    await dreamer.patch("/me", json={"name": "  李雷 ", "consents": {"memory": True}})
    me = (await dreamer.patch("/me", json={"region": "DE", "language": "de"})).json()

    assert (me["name"], me["region"], me["language"]) == ("李雷", "DE", "de")
    assert me["consents"] == {"voice": False, "memory": True, "analytics": False}
    assert (await dreamer.get("/me")).json() == me


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "x" * 51}, "name"),
        ({"language": "xx"}, "language"),
        ({"region": "Germany"}, "region"),
        ({"birth_year": 1066}, "birth_year"),
        ({"consents": {"everything": True}}, "consents.everything"),
        ({"allowed_interpreters": ["carl"]}, "allowed_interpreters"),
        ({"user_id": "00000000-0000-0000-0000-000000000000"}, "user_id"),
    ],
)
async def test_what_may_not_be_changed_is_refused_by_name(
    dreamer: httpx.AsyncClient, change: dict[str, object], field: str
) -> None:
    answer = await dreamer.patch("/me", json=change)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalid_input"
    assert field in answer.json()["errors"][0]["field"]


async def test_two_changes_at_once_do_not_undo_each_other(dreamer: httpx.AsyncClient) -> None:
    await dreamer.patch("/me", json={"consents": {"memory": True}})

    for number in range(5):
        await asyncio.gather(
            dreamer.patch("/me", json={"name": f"Ada {number}"}),
            dreamer.patch("/me", json={"consents": {"memory": number % 2 == 0}}),
        )
        me = (await dreamer.get("/me")).json()
        assert (me["name"], me["consents"]["memory"]) == (f"Ada {number}", number % 2 == 0)


@pytest.mark.parametrize("path", ["/me", "/dreams", "/conversations"])
async def test_without_a_token_there_is_nothing_to_see(anonymous: httpx.AsyncClient, path: str) -> None:
    answer = await anonymous.get(path)

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_token_that_is_no_token_is_refused(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/me", headers={"Authorization": "Bearer nonsense"})

    assert answer.status_code == 401
