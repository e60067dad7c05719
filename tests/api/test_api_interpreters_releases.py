"""Operators publish, preview, roll back and retire over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from oneiro.auth import issue_token
from oneiro.interpreters import documents
from oneiro.settings import Settings

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
SignIn = Callable[..., httpx.AsyncClient]

SECRET = "a secret of at least thirty-two bytes"
SIGMUND = documents.parse((Path(__file__).parents[2] / "docs" / "examples" / "sigmund.yaml").read_bytes()).data()


@pytest.fixture
def operator(sign_in: SignIn) -> httpx.AsyncClient:
    return sign_in(operator=True)


@pytest.fixture
async def service(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a server's token."""
    token = issue_token(SECRET, user_id=None, ttl=timedelta(hours=1), now=datetime.now(UTC))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/v1", headers=headers) as client:
        yield client


async def publish(operator: httpx.AsyncClient, changes: dict[str, Any], **more: Any) -> httpx.Response:
    body = {"changes": changes, "note": "a test", "activate": True} | more
    return await operator.post("/admin/interpreters/carl/releases", json=body)


async def default_of(operator: httpx.AsyncClient, interpreter_id: str = "carl") -> Any:
    return (await operator.get(f"/admin/interpreters/{interpreter_id}")).json()


async def test_a_release_is_stored_provisioned_and_made_the_default(operator: httpx.AsyncClient, look: Look) -> None:
    answer = await publish(operator, {"description": "Another"}, based_on=1)

    assert answer.status_code == 201
    release = answer.json()
    assert (release["number"], release["active"], release["note"], release["based_on"]) == (2, True, "a test", 1)
    assert release["activated_at"] is not None
    assert release["drift"] == []
    agents = await look(
        "SELECT language, state FROM platform_agents AS a JOIN interpreter_releases AS r ON r.id = a.release_id "
        "WHERE r.number = 2 ORDER BY language"
    )
    assert agents == [{"language": "de", "state": "ready"}, {"language": "en", "state": "ready"}]
    detail = await default_of(operator)
    assert (detail["release"], detail["document"]["description"]) == (2, "Another")
    assert [agent["language"] for agent in detail["agents"] if agent["release"] == 2] == ["de", "en"]


async def test_the_next_start_needs_no_call_but_the_signed_url(
    operator: httpx.AsyncClient, dreamer: httpx.AsyncClient, look: Look
) -> None:
    await publish(operator, {"name": "Karl"})

    started = (await dreamer.post("/conversations", json={"interpreter_id": "carl", "text_only": True})).json()

    assert started["interpreter_name"] == "Karl"
    assert await look("SELECT upstream_calls FROM conversations") == [{"upstream_calls": 1}]


async def test_a_stored_release_waits_until_it_is_activated_and_an_earlier_one_comes_back(
    operator: httpx.AsyncClient, look: Look
) -> None:
    waiting = (await publish(operator, {"name": "Karl"}, activate=False)).json()
    assert (waiting["number"], waiting["active"]) == (2, False)
    assert (await default_of(operator))["release"] == 1

    for number in (2, 1):
        activated = await operator.post(f"/admin/interpreters/carl/releases/{number}/activate")
        assert (activated.status_code, activated.json()["active"]) == (200, True)

    releases = (await operator.get("/admin/interpreters/carl/releases")).json()["items"]
    assert [(one["number"], one["active"]) for one in releases] == [(2, False), (1, True)]
    events = await look("SELECT event_type FROM system_events WHERE entity_type = 'interpreter' ORDER BY seq")
    assert [row["event_type"] for row in events][-2:] == ["interpreter.activated", "interpreter.rolled_back"]


async def test_an_edit_of_what_is_no_longer_the_default_is_answered_with_the_differences(
    operator: httpx.AsyncClient,
) -> None:
    await publish(operator, {"name": "Karl"})

    late = await publish(operator, {"description": "Mine"}, based_on=1)

    assert (late.status_code, late.json()["code"]) == (409, "stale_release")
    assert late.json()["errors"] == [{"field": "name", "before": "Carl", "after": "Karl"}]


async def test_edits_at_the_same_moment_each_become_a_release_of_their_own(operator: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(
        *(publish(operator, {"voice": {"style": place / 10}}, activate=False) for place in range(5))
    )

    assert sorted(answer.json()["number"] for answer in answers) == [2, 3, 4, 5, 6]


async def test_a_third_interpreter_comes_from_one_document(
    operator: httpx.AsyncClient, dreamer: httpx.AsyncClient
) -> None:
    made = await operator.post("/admin/interpreters", json={"document": SIGMUND, "note": "The third"})
    assert made.status_code == 201, made.text
    assert (made.json()["number"], made.json()["active"]) == (1, True)

    started = (await dreamer.post("/conversations", json={"interpreter_id": "sigmund", "text_only": True})).json()
    assert started["interpreter_name"] == "Sigmund"
    assert started["opening"].startswith("Good evening. I am Sigmund.")
    again = await operator.post("/admin/interpreters", json={"document": SIGMUND})
    assert (again.status_code, again.json()["code"]) == (409, "interpreter_exists")


async def test_a_retired_interpreter_is_not_offered_and_comes_back(
    operator: httpx.AsyncClient, dreamer: httpx.AsyncClient
) -> None:
    retired = await operator.post("/admin/interpreters/lakshmi/retire")
    assert (retired.status_code, retired.json()["active"]) == (200, False)
    refused = await dreamer.post("/conversations", json={"interpreter_id": "lakshmi", "text_only": True})
    assert refused.json()["code"] == "interpreter_not_found"
    listed = (await operator.get("/admin/interpreters")).json()["items"]
    assert {one["id"]: one["active"] for one in listed} == {"carl": True, "lakshmi": False}

    await operator.post("/admin/interpreters/lakshmi/releases/1/activate")

    assert (
        await dreamer.post("/conversations", json={"interpreter_id": "lakshmi", "text_only": True})
    ).status_code == 201


async def test_a_preview_shows_texts_variables_and_lengths_and_stores_nothing(
    operator: httpx.AsyncClient, look: Look
) -> None:
    context = {"user_name": "李雷", "dream": "A heron {{ user_name }}.", "dream_title": "The heron"}
    answer = await operator.post(
        "/admin/interpreters/carl/preview", json={"changes": {"name": "Karl"}, "context": context}
    )

    assert answer.status_code == 200
    shown = answer.json()
    assert "You are Karl" in shown["system"]
    assert "{{dream_context}}" in shown["system"]
    assert shown["opening"].startswith("Good to meet you, 李雷. I am Karl.")
    assert "Farewell" in shown["closing"]
    assert "A heron { { user_name } }." in shown["variables"]["dream_context"]
    assert shown["lengths"]["opening"]["words"] == len(shown["opening"].split())
    assert await look("SELECT count(*) AS n FROM interpreter_releases") == [{"n": 2}]


async def test_a_preview_of_somebody_known_begins_with_the_follow_up(operator: httpx.AsyncClient) -> None:
    answer = await operator.post(
        "/admin/interpreters/carl/preview", json={"context": {"last_time": "the house by the sea"}}
    )
    assert "Last time we stayed with the house by the sea." in answer.json()["opening"]


async def test_a_preview_needs_no_interpreter_when_it_brings_a_document(operator: httpx.AsyncClient) -> None:
    answer = await operator.post("/admin/interpreters/sigmund/preview", json={"document": SIGMUND})
    assert "courteous and a little old-fashioned" in answer.json()["system"]


ROUTES: tuple[tuple[str, str, Any], ...] = (
    ("GET", "/admin/interpreters", None),
    ("GET", "/admin/interpreters/carl", None),
    ("GET", "/admin/interpreters/carl/releases", None),
    ("GET", "/admin/interpreters/carl/releases/1", None),
    ("POST", "/admin/interpreters/carl/releases/1/activate", None),
    ("POST", "/admin/interpreters/carl/preview", {}),
    ("POST", "/admin/interpreters/carl/retire", None),
    ("POST", "/admin/interpreters", {"document": SIGMUND}),
    ("POST", "/admin/interpreters/carl/releases", {"changes": {"name": "Karl"}}),
    ("GET", "/admin/experiments", None),
    ("GET", "/admin/platform", None),
)


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
async def test_only_operators_and_servers_are_let_in(
    anonymous: httpx.AsyncClient, dreamer: httpx.AsyncClient, sign_in: SignIn, method: str, path: str, body: Any
) -> None:
    answers = [await one.request(method, path, json=body) for one in (anonymous, dreamer)]
    assert [answer.status_code for answer in answers] == [401, 403]
    assert answers[1].json()["code"] == "forbidden"

    assert (await sign_in(operator=True).request(method, path, json=body)).status_code in {200, 201}


async def test_a_servers_token_is_an_operators(app: FastAPI, service: httpx.AsyncClient, look: Look) -> None:
    assert (await service.get("/admin/interpreters")).status_code == 200
    made = await publish(service, {"name": "Karl"})
    assert (made.status_code, made.json()["created_by"]) == (201, "service_role")


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"name": 3}, "name", "must be text"),
        ({"voice": {"stability": 1.5}}, "voice.stability", "at most 1"),
        ({"voice": {"speaking_rate": 0.1}}, "voice.speaking_rate", "at least 0.7"),
        ({"personalty": {}}, "personalty", "did you mean personality?"),
        ({"id": "karl"}, "id", "keeps its id"),
        ({"prompts": [{"type": "system", "template": "{{ ''.__class__ }}"}]}, "prompts[0].template", ""),
        ({"prompts": [{"type": "greeting", "template": "{{ interpreter.__init__ }}"}]}, "prompts[1].template", ""),
        ({"prompts": [{"type": "greeting", "template": "{{ '%s'|format(1) }}"}]}, "prompts[1].template", ""),
        ({"prompts": [{"type": "greeting", "template": "{{ user_nmae }}"}]}, "prompts[1].template", "user_name"),
        ({"prompts": [{"type": "greeting", "template": "{% if x %}"}]}, "prompts[1].template", ""),
        (
            {"prompts": [{"type": "greeting", "template": "{% for i in range(999999999) %}x{% endfor %}"}]},
            "prompts[1].template",
            "",
        ),
        (
            {"prompts": [{"type": "system", "template": "{% if user_name %}a{% endif %}"}]},
            "prompts[0].template",
            "",
        ),
        ({"prompts": [{"type": "system", "template": "x" * 1_000_000}]}, "prompts[0].template", "at most 32768 bytes"),
        ({"prompts": [{"type": "system", "deleted": True}]}, "prompts", "no prompt of type system"),
    ],
)
async def test_bad_input_names_its_field_and_publishes_nothing(
    operator: httpx.AsyncClient, look: Look, changes: dict[str, Any], field: str, said: str
) -> None:
    answer = await publish(operator, changes)

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    [first, *_] = answer.json()["errors"]
    assert first["field"] == field
    assert said in first["message"]
    assert await look("SELECT count(*) AS n FROM interpreter_releases WHERE interpreter_id = 'carl'") == [{"n": 1}]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"changes": {}, "document": SIGMUND}, "body"),
        ({"changes": []}, "changes"),
        ({"changes": {}, "based_on": 0}, "based_on"),
        ({"changes": {}, "note": "x" * 501}, "note"),
        ({"document": SIGMUND}, "id"),
        ({"changes": {}, "based_on": 9}, "based_on"),
    ],
)
async def test_a_request_that_fits_nothing_is_refused(
    operator: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    answer = await operator.post("/admin/interpreters/carl/releases", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


async def test_a_release_may_have_two_mebibytes_and_other_bodies_a_quarter(
    operator: httpx.AsyncClient, dreamer: httpx.AsyncClient
) -> None:
    template = "A long calm prompt. " * 1_600
    prompts = [{"type": "system", "name": f"part-{place}", "template": template} for place in range(12)]
    large = await publish(operator, {"prompts": prompts}, activate=False)
    assert large.status_code == 201, large.text

    over = await operator.post("/admin/interpreters/carl/releases", content=b" " * (2 * 1024 * 1024 + 1))
    assert over.status_code == 413
    assert (await dreamer.post("/dreams", content=b" " * (256 * 1024 + 1))).status_code == 413


@pytest.mark.parametrize("path", ["nobody", "nobody/releases", "nobody/releases/1", "carl/releases/9"])
async def test_what_there_is_not_is_not_found(operator: httpx.AsyncClient, path: str) -> None:
    assert (await operator.get(f"/admin/interpreters/{path}")).status_code == 404


async def test_releases_come_in_pages(operator: httpx.AsyncClient) -> None:
    for number in range(2, 6):
        await publish(operator, {"name": f"Carl {number}"}, activate=False)

    seen, cursor = [], None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = (await operator.get("/admin/interpreters/carl/releases", params=query)).json()
        seen += [one["number"] for one in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == [5, 4, 3, 2, 1]


async def test_the_schema_is_public_and_the_cards_show_no_prompt(anonymous: httpx.AsyncClient) -> None:
    schema = await anonymous.get("/interpreters.schema.json")
    assert schema.headers["content-type"] == "application/schema+json"
    assert schema.json() == documents.json_schema()
    assert "template" not in (await anonymous.get("/interpreters")).text


class TestPlatformAway:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"elevenlabs_base_url": "http://127.0.0.1:9"})

    async def test_the_release_is_kept_and_the_old_one_stays_in_charge(
        self, operator: httpx.AsyncClient, look: Look
    ) -> None:
        answer = await publish(operator, {"name": "Karl"})

        assert (answer.status_code, answer.json()["code"]) == (503, "platform_unavailable")
        assert answer.json()["detail"].startswith("Release 2 of carl is stored and not active. Release 1 stays in")
        detail = await default_of(operator)
        assert (detail["release"], detail["newest"]) == (1, 2)

    async def test_the_overview_counts_the_breakers_faults(self, operator: httpx.AsyncClient) -> None:
        await publish(operator, {"name": "Karl"})
        seen = (await operator.get("/admin/platform")).json()
        breakers = {one["name"]: one for one in seen["breakers"]}
        assert breakers["agents"]["failure_count"] >= 1
        assert breakers["conversations"]["state"] == "closed"


async def test_the_overview_counts_agents_and_voices(operator: httpx.AsyncClient) -> None:
    before = (await operator.get("/admin/platform")).json()
    voice = {"voice_description": "A voice like nobody else's, low and unhurried"}
    await publish(operator, {"voice": voice})
    seen = (await operator.get("/admin/platform")).json()
    assert seen["cached_agents"] == before["cached_agents"] + 2
    assert seen["cached_voices"] == before["cached_voices"] + 1
    assert seen["slots"] == {"used": 0, "limit": 100}
    assert (seen["drift"], seen["unreconciled"]) == ([], 0)


async def test_a_voice_that_the_platform_does_not_know_leaves_the_old_release_in_charge(
    operator: httpx.AsyncClient,
) -> None:
    answer = await publish(operator, {"voice": {"voice_id": "nobodyhasthisvoice"}})

    assert answer.status_code == 502
    problem = answer.json()
    assert problem["code"] == "agent_creation_failed"
    assert "knows no voice nobodyhasthisvoice" in problem["detail"]
    assert "Release 1 stays in charge" in problem["detail"]
    assert (await default_of(operator))["release"] == 1
