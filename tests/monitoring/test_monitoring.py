"""`/metrics` over HTTP, and the middleware: what is measured, under which route, and who may read it."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import psycopg
import pytest
from fastapi import APIRouter, FastAPI

from oneiro import http
from oneiro.auth import SharedSecret, Tokens, issue_token
from oneiro.database.pool import Database
from oneiro.metrics import Metrics
from oneiro.monitoring import routes
from oneiro.monitoring.middleware import Measured
from oneiro.monitoring.service import Monitoring

SECRET = "a secret of at least thirty-two bytes"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
FIGURES = """
    INSERT INTO profiles (user_id) SELECT gen_random_uuid();
    INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('carl', 'C', 'C', 'x');
    INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by)
    VALUES ('carl', 1, '{}', 'aa', 'seed');
    INSERT INTO conversations (user_id, interpreter_id, status, release_id, paused_at)
    SELECT p.user_id, 'carl', s.status, r.id, s.paused
    FROM profiles AS p, interpreter_releases AS r,
         (VALUES ('active', NULL::timestamptz), ('active', now()), ('completed', NULL)) AS s (status, paused);
    INSERT INTO jobs (kind, state) VALUES ('a', 'queued'), ('b', 'queued'), ('c', 'dead');
    INSERT INTO event_cursors (consumer, position) VALUES ('sequencer', 9), ('webhooks', 2);
    INSERT INTO system_events (event_type, event_data, user_id, conversation_id)
    SELECT 'safety.escalated', '{}', user_id, id FROM conversations WHERE status = 'active';
    UPDATE safety_flags SET acknowledged_at = now(), acknowledged_by = 'x'
    WHERE id = (SELECT id FROM safety_flags LIMIT 1)
"""


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    database = Database(service_url, max_size=1, timeout=0.5)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def app(database: Database) -> FastAPI:
    app, things, metrics = FastAPI(), APIRouter(), Metrics()

    @things.get("/things/{thing_id}")
    async def thing(thing_id: str) -> dict[str, str]:
        return {"thing": thing_id}

    http.install_problems(app)
    app.state.tokens = Tokens(SharedSecret(SECRET), audience="authenticated")
    app.state.monitoring = Monitoring(database, metrics, slots=10, clock=lambda: NOW)
    app.include_router(things, prefix="/v1")
    app.include_router(routes.router)
    app.add_middleware(Measured, metrics=metrics)
    return app


def client(app: FastAPI, *, peer: str = "127.0.0.1", host: str = "127.0.0.1", **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(peer, 5000))
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}", headers=headers)


def bearer(*, operator: bool) -> str:
    now = datetime.now(UTC)
    made = issue_token(SECRET, user_id=uuid4(), operator=operator, ttl=timedelta(hours=1), now=now)
    return f"Bearer {made}"


async def test_a_request_is_counted_under_its_route_and_never_under_its_path(app: FastAPI) -> None:
    async with client(app) as local:
        await local.get("/v1/things/a-secret-thing")
        await local.get("/v1/things/another")
        await local.get("/v1/nowhere/at-all")
        await local.request("BREW", "/v1/things/tea")
        shown = (await local.get("/metrics")).text

    assert 'oneiro_http_request_seconds_count{method="GET",route="/v1/things/{thing_id}",status="200"} 2.0' in shown
    assert 'oneiro_http_request_seconds_count{method="GET",route="unmatched",status="404"} 1.0' in shown
    assert 'method="other"' in shown
    assert not any(word in shown for word in ("secret", "nowhere", "BREW"))


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 200),
        ({"peer": "::1", "host": "[::1]"}, 200),
        ({"host": "localhost"}, 200),
        ({"peer": "10.0.0.7"}, 401),
        ({"host": "dreams.example"}, 401),
        ({"x-forwarded-for": "203.0.113.5"}, 401),
        ({"forwarded": "for=203.0.113.5"}, 401),
    ],
)
async def test_only_a_scraper_on_this_machine_needs_no_token(app: FastAPI, asked: dict[str, str], status: int) -> None:
    async with client(app, **asked) as scraper:
        assert (await scraper.get("/metrics")).status_code == status


async def test_from_elsewhere_an_operator_may_read_and_a_dreamer_may_not(app: FastAPI) -> None:
    async with client(app, peer="10.0.0.7", authorization=bearer(operator=True)) as operator:
        assert (await operator.get("/metrics")).status_code == 200
    async with client(app, peer="10.0.0.7", authorization=bearer(operator=False)) as dreamer:
        assert (await dreamer.get("/metrics")).status_code == 403


async def test_the_databases_figures_are_those_of_this_moment(app: FastAPI, db_url: str) -> None:
    with psycopg.connect(db_url) as conn:
        conn.execute(FIGURES)
        conn.execute(
            """
            INSERT INTO conversation_slots (conversation_id, owner, leased_until)
            SELECT id, 'x', %s::timestamptz + CASE WHEN paused_at IS NULL THEN interval '1 min' ELSE '-1 min' END
            FROM conversations WHERE status = 'active'
            """,
            (NOW,),
        )
        conn.execute(
            """
            INSERT INTO conversation_sessions (conversation_id, session, session_end_time, elevenlabs_conversation_id)
            SELECT id, n, %s::timestamptz - make_interval(mins => n), 'conv_' || n
            FROM conversations, unnest(ARRAY[1, 6]) AS n WHERE status = 'completed'
            """,
            (NOW,),
        )

    async with client(app) as local:
        lines = (await local.get("/metrics")).text.splitlines()

    assert set(lines) >= {
        "oneiro_conversations_active 1.0",
        'oneiro_slots{state="taken"} 1.0',
        'oneiro_slots{state="free"} 9.0',
        'oneiro_jobs{state="queued"} 2.0',
        'oneiro_jobs{state="dead"} 1.0',
        'oneiro_jobs{state="running"} 0.0',
        'oneiro_consumer_lag_events{consumer="webhooks"} 7.0',
        'oneiro_safety_unacknowledged{tier="active_danger"} 1.0',
        'oneiro_safety_unacknowledged{tier="passive_ideation"} 0.0',
    }
    assert "oneiro_unreconciled_conversations 1.0" in lines


async def test_while_the_database_is_away_the_processes_own_figures_are_still_there(
    app: FastAPI, database: Database
) -> None:
    async with database.as_service(), client(app) as local:  # The pool's only connection is taken.
        await local.get("/v1/things/x")
        answer = await local.get("/metrics")

    assert answer.status_code == 200
    assert "oneiro_http_request_seconds_count" in answer.text
    assert "oneiro_slots" not in answer.text
