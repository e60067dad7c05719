"""The reports over HTTP: what they say, which ranges they take, and the examples of the reference."""

import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from oneiro import http
from oneiro.analytics.reports import routes
from oneiro.analytics.reports.service import Reports
from oneiro.analytics.rollups.service import Rollups
from oneiro.auth import SharedSecret, Tokens, issue_token
from oneiro.breaker import CircuitBreaker
from oneiro.database.pool import Database
from oneiro.events.service import Events
from oneiro.interpreters.overview.service import PlatformOverview

House = Any
Talk = Any
SECRET = "a secret of at least thirty-two bytes"
NOW = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "analytics.md"
CARL = "/admin/interpreters/carl/performance"


@pytest.fixture
def app(database: Database) -> FastAPI:
    app = FastAPI()
    http.install_problems(app)
    breakers = [CircuitBreaker("conversations")]
    overview = PlatformOverview(database, breakers, slots=10, clock=lambda: NOW)
    app.state.tokens = Tokens(SharedSecret(SECRET), audience="authenticated")
    app.state.reports = Reports(database, overview, Events(database), slots=10, clock=lambda: NOW)
    app.include_router(routes.router, prefix="/v1")
    return app


def client(app: FastAPI, *, operator: bool) -> httpx.AsyncClient:
    made = issue_token(SECRET, user_id=uuid4(), operator=operator, ttl=timedelta(hours=1), now=datetime.now(UTC))
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {made}"}
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/v1", headers=headers)


@pytest.fixture
async def operator(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with client(app, operator=True) as made:
        yield made


async def arm(house: House) -> UUID:
    await house.look("INSERT INTO experiments (interpreter_id, name, created_by) VALUES ('carl', 'Warmer', 'op')")
    rows = await house.look(
        "INSERT INTO experiment_arms (experiment_id, name, release_id, weight) SELECT e.id, 'warm', r.id, 1"
        " FROM experiments AS e, interpreter_releases AS r WHERE r.interpreter_id = 'carl' RETURNING id"
    )
    found: UUID = rows[0]["id"]
    return found


async def lived(house: House, talk: Callable[..., Talk]) -> None:
    """Two days in the life of the house."""
    dreamer, warm = await house.dreamer(), await arm(house)
    happy = [("user", "I was so happy and free, flying over the sea.", 5), ("interpreter", "Where to?", 5.6)]
    lost = {"platform": {"seconds": 60, "cost": 120}}
    await house.ended(dreamer, talk(rating=5, end_reason="agent_ended"))
    await house.ended(dreamer, talk(rating=4, lines=happy, arm_id=warm, seconds=240))
    await house.ended(
        dreamer,
        talk(
            ended_at=NOW - timedelta(minutes=5),
            end_reason="error",
            agent_known=False,
            sessions=[{"error_log": [{"code": "upstream_closed"}], "session_metadata": lost}],
        ),
    )
    await house.ended(dreamer, talk(status="failed", end_reason="never_connected", lines=()))
    await house.ended(dreamer, talk(status="failed", end_reason="error", lines=()))
    await house.ended(dreamer, talk(interpreter_id="lakshmi", ended_at=NOW - timedelta(hours=30), end_reason="timeout"))
    await house.write(dreamer, talk(status="active", interpreter_id="lakshmi", lines=()))
    about = {"interpreter_id": "carl", "release": 1, "language": "en", "model": "gpt-4o"}
    await house.tell_of("agent", "agent_7", "agent.provisioned", **about, ms=812)
    await house.tell_of("interpreter", "carl", "agent.provision_failed", **about, ms=30, code="platform_unavailable")
    await house.consume()
    await house.look("UPDATE agent_metrics SET recorded_at = %s", NOW - timedelta(hours=1))
    await house.look(
        "UPDATE event_cursors SET updated_at = %s, position = CASE consumer WHEN 'analytics' THEN position - 2"
        " ELSE position END",
        NOW,
    )
    await house.look("INSERT INTO jobs (kind, state) VALUES ('agents.retire', 'dead')")


def example(title: str) -> Any:
    found = re.search(rf"^### {title}\n.*?^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"the reference has no example of {title}"
    return json.loads(found[1])


@pytest.mark.parametrize("counted", [False, True])
async def test_the_reference_s_performance_report_is_what_comes(
    house: House,
    talk: Callable[..., Talk],
    operator: httpx.AsyncClient,
    counted: bool,  # noqa: FBT001 - a case.
) -> None:
    await lived(house, talk)
    if counted:
        await Rollups(house.database).refresh()
    answer = await operator.get(CARL, params={"start": "2026-11-19T09:30:00+01:00", "end": "2026-11-20T12:15:00Z"})
    assert answer.status_code == 200
    assert answer.json() == example("A performance report")


async def test_the_reference_s_dashboard_is_what_comes(
    house: House, talk: Callable[..., Talk], operator: httpx.AsyncClient
) -> None:
    await lived(house, talk)
    answer = await operator.get("/admin/dashboard")
    assert answer.status_code == 200
    assert answer.json() == example("A dashboard")


async def test_a_conversation_belongs_to_the_range_in_which_it_ended(
    house: House, talk: Callable[..., Talk], operator: httpx.AsyncClient
) -> None:
    dreamer, hour = await house.dreamer(), datetime(2026, 11, 20, 10, tzinfo=UTC)
    for minutes in (0, 30, 60, 90, 150):
        await house.ended(dreamer, talk(ended_at=hour + timedelta(minutes=minutes)))

    async def found(start: str, end: str) -> int:
        answer = await operator.get(CARL, params={"start": f"2026-11-20T{start}Z", "end": f"2026-11-20T{end}Z"})
        number: int = answer.json()["total"]["conversations"]
        return number

    for _ in range(2):  # From the conversations, then from the hours.
        assert await found("10:00:00", "13:00:00") == 5
        assert await found("10:00:00", "10:30:00") == 1
        assert await found("10:30:00", "11:30:00") == 2
        assert await found("10:00:01", "12:29:59") == 3
        assert await found("10:10:00", "10:20:00") == 0
        assert await found("11:30:00", "12:30:00.000001") == 2
        await Rollups(house.database).refresh()


@pytest.mark.parametrize(
    "params",
    [
        {"start": "2026-11-20T10:00:00Z", "end": "2026-11-19T10:00:00Z"},
        {"start": "2026-11-20T10:00:00Z", "end": "2026-11-20T10:00:00Z"},
        {"start": "2026-11-20T10:00:00"},
        {"start": "yesterday"},
        {"start": "2006-11-20T10:00:00Z"},
        {"start": "0001-01-01T00:00:00+14:00"},
        {"end": "9999-12-31T23:59:59-14:00"},
        {"end": "0001-01-05T00:00:00Z"},
        {"start": "2027-11-20T10:00:00Z"},
    ],
)
async def test_a_range_that_is_none_is_a_clear_problem(
    house: House, operator: httpx.AsyncClient, params: dict[str, str]
) -> None:
    answer = await operator.get(CARL, params=params)
    assert answer.status_code == 422
    assert answer.json()["code"] == "invalid_input"


async def test_ten_years_work_and_nothing_is_null_or_zero(house: House, operator: httpx.AsyncClient) -> None:
    answer = await operator.get(CARL, params={"start": "2016-11-21T00:00:00Z", "end": "2026-11-20T00:00:00Z"})
    assert answer.status_code == 200
    found = answer.json()
    assert found["releases"] == []
    assert found["total"]["completion"]["rate"] is None
    assert found["total"]["duration_seconds"] == {"count": 0, "mean": None, "p50": None, "p95": None}
    assert found["agents"] == {"created": 0, "failed": 0, "p50_ms": None, "p95_ms": None, "errors": {}}


async def test_without_a_range_it_is_the_last_thirty_days(house: House, operator: httpx.AsyncClient) -> None:
    found = (await operator.get(CARL)).json()
    assert (found["start"], found["end"]) == ("2026-10-21T12:15:00Z", "2026-11-20T12:15:00Z")


async def test_an_interpreter_that_there_never_was_is_not_found(house: House, operator: httpx.AsyncClient) -> None:
    answer = await operator.get("/admin/interpreters/nobody/performance")
    assert (answer.status_code, answer.json()["code"]) == (404, "interpreter_not_found")


@pytest.mark.parametrize("path", ["/admin/dashboard", CARL])
async def test_reports_are_for_operators(app: FastAPI, house: House, path: str) -> None:
    async with client(app, operator=False) as dreamer:
        assert (await dreamer.get(path)).status_code == 403


async def test_percentiles_of_the_report_are_near_the_exact_ones(
    house: House, talk: Callable[..., Talk], operator: httpx.AsyncClient
) -> None:
    dreamer, seconds = await house.dreamer(), [7, 40, 90, 200, 601, 1200, 3600]
    for length in seconds:
        await house.ended(dreamer, talk(seconds=length))
    found = (await operator.get(CARL)).json()["total"]["duration_seconds"]
    assert found["mean"] == round(sum(seconds) / 7, 1)
    assert found["p50"] == pytest.approx(200, rel=0.091)
    assert found["p95"] == pytest.approx(3600, rel=0.091)
