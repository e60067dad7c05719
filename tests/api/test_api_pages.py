import httpx
import pytest


async def test_cards_are_public_sorted_and_without_prompts(anonymous: httpx.AsyncClient) -> None:
    answer = await anonymous.get("/interpreters")

    cards = answer.json()["items"]
    assert [card["name"] for card in cards] == ["Carl", "Lakshmi"]
    assert set(cards[0]) == {
        "id", "name", "full_name", "description", "approach", "traits", "expertise", "appearance",
    }  # fmt: skip
    assert "prompt" not in answer.text


async def test_one_card_and_an_unknown_one(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.get("/interpreters/lakshmi")).json()["full_name"] == "Lakshmi Devi"
    missing = await anonymous.get("/interpreters/sigmund")
    assert (missing.status_code, missing.json()["code"]) == (404, "interpreter_not_found")
    assert "carl, lakshmi" in missing.json()["detail"]


async def test_health_readiness_and_description(anonymous: httpx.AsyncClient) -> None:
    assert (await anonymous.get("http://127.0.0.1/healthz")).json()["status"] == "ok"
    assert (await anonymous.get("http://127.0.0.1/readyz")).status_code == 200
    paths = (await anonymous.get("http://127.0.0.1/openapi.json")).json()["paths"]
    assert {"/v1/me", "/v1/dreams", "/v1/conversations", "/v1/interpreters"} <= set(paths)


async def test_an_unknown_page_and_a_wrong_method_are_problems_too(anonymous: httpx.AsyncClient) -> None:
    for answer in (await anonymous.get("/nowhere"), await anonymous.delete("/interpreters")):
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


async def test_a_person_at_this_machine_signs_in_without_a_password(anonymous: httpx.AsyncClient) -> None:
    session = (await anonymous.post("/dev/session")).json()

    me = await anonymous.get("/me", headers={"Authorization": f"Bearer {session['token']}"})

    assert me.json()["user_id"] == session["user_id"]


@pytest.mark.parametrize("host", ["oneiro.example", "127.0.0.1.example", "192.0.2.7:8400", ""])
async def test_a_foreign_name_for_this_machine_gets_no_session(anonymous: httpx.AsyncClient, host: str) -> None:
    answer = await anonymous.post("/dev/session", headers={"Host": host})

    assert answer.status_code == 404
