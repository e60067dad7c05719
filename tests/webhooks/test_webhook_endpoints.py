"""`/v1/admin/webhooks` over HTTP."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from standardwebhooks import Webhook

from oneiro import http
from oneiro.auth import SharedSecret, Tokens, issue_token
from oneiro.database.pool import Database
from oneiro.webhooks.endpoints import routes
from oneiro.webhooks.endpoints import service as endpoints
from oneiro.webhooks.endpoints.service import Webhooks

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]
SECRET = "a secret of at least thirty-two bytes"
URL = "https://hooks.example/oneiro"


@pytest.fixture
def app(database: Database) -> FastAPI:
    app = FastAPI()
    http.install_problems(app)
    app.state.tokens = Tokens(SharedSecret(SECRET), audience="authenticated")
    app.state.webhooks = Webhooks(database, allow_private=False, clock=lambda: datetime.now(UTC))
    app.include_router(routes.router, prefix="/v1")
    return app


def client(app: FastAPI, *, operator: bool) -> httpx.AsyncClient:
    token = issue_token(SECRET, user_id=uuid4(), operator=operator, ttl=timedelta(hours=1), now=datetime.now(UTC))
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://oneiro/v1/admin", headers=headers)


@pytest.fixture
async def operator(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, operator=True) as made:
        yield made


async def made(operator: httpx.AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await operator.post("/webhooks", json={"url": URL} | fields)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def queued(look: Look, endpoint: dict[str, Any], *states: str) -> list[str]:
    """Deliveries of events that happened, in these states; gives their ids."""
    ids = []
    for place, state in enumerate(states, 1):
        rows = await look(
            "WITH e AS (INSERT INTO system_events (event_type, entity_type, entity_id, event_data, position)"
            " VALUES ('breaker.opened', 'breaker', 'agents', '{}', %s) RETURNING id)"
            " INSERT INTO webhook_deliveries (endpoint_id, event_id, position, state, attempts, created_at)"
            " SELECT %s, e.id, %s, %s, 28, now() - interval '1 hour' * %s FROM e RETURNING id::text",
            place,
            endpoint["id"],
            place,
            state,
            10 - place,
        )
        ids.append(rows[0][0])
    return ids


async def test_an_endpoint_is_made_with_a_secret_that_is_shown_once(operator: httpx.AsyncClient) -> None:
    endpoint = await made(operator, description=" Our journal ", event_types=["conversation.ended"])

    assert endpoint["secret"].startswith("whsec_")
    assert len(Webhook(endpoint["secret"]).sign("1", datetime.now(UTC), "{}")) > 40
    assert (endpoint["description"], endpoint["is_active"]) == ("Our journal", True)
    read = (await operator.get(f"/webhooks/{endpoint['id']}")).json()
    assert "secret" not in read
    assert read == {key: value for key, value in endpoint.items() if key != "secret"}
    listed = (await operator.get("/webhooks")).json()
    assert listed == {"items": [read], "next_cursor": None}


async def test_endpoints_come_page_by_page(operator: httpx.AsyncClient) -> None:
    ids = [(await made(operator, url=f"{URL}/{n}"))["id"] for n in range(3)]

    first = (await operator.get("/webhooks", params={"limit": 2})).json()
    second = (await operator.get("/webhooks", params={"limit": 2, "cursor": first["next_cursor"]})).json()

    assert [item["id"] for item in first["items"] + second["items"]] == ids[::-1]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "http://hooks.example/"},
        {"url": "https://10.0.0.1/"},
        {"url": ""},
        {"url": "https://hooks.example/" + "x" * 2000},
        {"event_types": ["conversation.exploded"]},
        {"description": "x" * 201},
        {"secret": "whsec_of_my_own"},
    ],
)
async def test_what_is_not_valid_is_refused(operator: httpx.AsyncClient, fields: dict[str, object]) -> None:
    answer = await operator.post("/webhooks", json={"url": URL} | fields)

    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_dreamer_may_do_nothing_here(app: FastAPI, operator: httpx.AsyncClient) -> None:
    endpoint = await made(operator)
    async with client(app, operator=False) as dreamer:
        answers = [
            await dreamer.get("/webhooks"),
            await dreamer.post("/webhooks", json={"url": URL}),
            await dreamer.get(f"/webhooks/{endpoint['id']}"),
            await dreamer.delete(f"/webhooks/{endpoint['id']}"),
            await dreamer.post(f"/webhooks/{endpoint['id']}/rotate-secret"),
            await dreamer.get(f"/webhooks/{endpoint['id']}/deliveries"),
        ]
    assert {answer.status_code for answer in answers} == {403}
    assert (await operator.get(f"/webhooks/{endpoint['id']}")).status_code == 200


async def test_what_is_left_out_of_a_change_stays(operator: httpx.AsyncClient) -> None:
    endpoint = await made(operator, description="one", event_types=["conversation.ended"])

    changed = (await operator.patch(f"/webhooks/{endpoint['id']}", json={"url": f"{URL}/two"})).json()

    assert (changed["url"], changed["description"]) == (f"{URL}/two", "one")
    assert changed["event_types"] == ["conversation.ended"]
    cleared = await operator.patch(f"/webhooks/{endpoint['id']}", json={"event_types": [], "description": ""})
    assert (cleared.json()["event_types"], cleared.json()["description"]) == ([], "")
    refused = await operator.patch(f"/webhooks/{endpoint['id']}", json={"url": "https://127.0.0.1/"})
    assert refused.status_code == 422


async def test_switching_off_gives_up_what_waits_and_switching_on_begins_anew(
    operator: httpx.AsyncClient, look: Look
) -> None:
    endpoint = await made(operator)
    await queued(look, endpoint, "pending", "delivered")

    off = (await operator.patch(f"/webhooks/{endpoint['id']}", json={"is_active": False})).json()

    assert (off["is_active"], off["disabled_reason"]) == (False, "operator")
    log = (await operator.get(f"/webhooks/{endpoint['id']}/deliveries")).json()["items"]
    assert [each["state"] for each in log] == ["delivered", "dead"]
    again = await operator.post(f"/webhooks/{endpoint['id']}/deliveries/{log[1]['id']}/redeliver")
    assert (again.status_code, again.json()["code"]) == (409, "endpoint_disabled")
    on = (await operator.patch(f"/webhooks/{endpoint['id']}", json={"is_active": True})).json()
    assert (on["is_active"], on["disabled_reason"], on["consecutive_failures"]) == (True, None, 0)


async def test_a_rotated_secret_leaves_the_old_one_valid_for_a_while(operator: httpx.AsyncClient, look: Look) -> None:
    endpoint = await made(operator)

    rotated = (await operator.post(f"/webhooks/{endpoint['id']}/rotate-secret", json={"overlap_seconds": 60})).json()

    assert rotated["secret"] != endpoint["secret"]
    [(secret, previous, left)] = await look(
        "SELECT secret, previous_secret, extract(epoch FROM previous_secret_until - now()) FROM webhook_endpoints"
    )
    assert (secret, previous) == (rotated["secret"], endpoint["secret"])
    assert 50 < left <= 60
    assert (
        await operator.post(f"/webhooks/{endpoint['id']}/rotate-secret", json={"overlap_seconds": -1})
    ).status_code == 422
    assert (await operator.post(f"/webhooks/{endpoint['id']}/rotate-secret")).status_code == 200


async def test_the_log_can_be_read_by_state_and_page_and_sent_again(operator: httpx.AsyncClient, look: Look) -> None:
    endpoint = await made(operator)
    ids = await queued(look, endpoint, "dead", "delivered", "dead", "pending")
    path = f"/webhooks/{endpoint['id']}/deliveries"

    page = (await operator.get(path, params={"limit": 3})).json()
    rest = (await operator.get(path, params={"limit": 3, "cursor": page["next_cursor"]})).json()
    assert [each["id"] for each in page["items"] + rest["items"]] == ids[::-1]
    dead = (await operator.get(path, params={"state": "dead"})).json()["items"]
    assert {each["id"] for each in dead} == {ids[0], ids[2]}

    again = await operator.post(f"{path}/{ids[1]}/redeliver")
    assert (again.status_code, again.json()["state"], again.json()["attempts"]) == (202, "pending", 0)
    since = (datetime.now(UTC) - timedelta(hours=8)).isoformat()
    bulk = await operator.post(f"/webhooks/{endpoint['id']}/redeliver", json={"since": since})
    assert (bulk.status_code, bulk.json()) == (202, {"requeued": 1})
    states = await look("SELECT state FROM webhook_deliveries ORDER BY position")
    assert states == [("dead",), ("pending",), ("pending",), ("pending",)]


async def test_what_is_not_there_is_404(operator: httpx.AsyncClient) -> None:
    endpoint, nobody = await made(operator), uuid4()
    answers = [
        await operator.get(f"/webhooks/{nobody}"),
        await operator.patch(f"/webhooks/{nobody}", json={"description": "x"}),
        await operator.delete(f"/webhooks/{nobody}"),
        await operator.post(f"/webhooks/{nobody}/rotate-secret"),
        await operator.get(f"/webhooks/{nobody}/deliveries"),
        await operator.post(f"/webhooks/{endpoint['id']}/deliveries/{nobody}/redeliver"),
    ]
    assert [answer.status_code for answer in answers] == [404] * 6
    assert answers[-1].json()["code"] == "delivery_not_found"


async def test_deleting_takes_the_log_along(operator: httpx.AsyncClient, look: Look) -> None:
    endpoint = await made(operator)
    await queued(look, endpoint, "delivered")

    assert (await operator.delete(f"/webhooks/{endpoint['id']}")).status_code == 204
    assert await look("SELECT 1 FROM webhook_deliveries") == []


async def test_there_is_a_bound_on_endpoints(operator: httpx.AsyncClient, look: Look) -> None:
    await look(
        "INSERT INTO webhook_endpoints (url, secret, created_by) SELECT 'x', 'x', 'x' FROM generate_series(1, %s)",
        endpoints.MOST_ENDPOINTS,
    )
    answer = await operator.post("/webhooks", json={"url": URL})

    assert (answer.status_code, answer.json()["code"]) == (409, "too_many_endpoints")
