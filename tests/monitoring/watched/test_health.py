"""`/healthz` is the process, `/readyz` whether it can serve: what lags is told and no reason to leave."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg

Watched = Callable[[], Awaitable[Any]]


async def test_a_huge_lag_is_told_and_the_process_stays_ready(watched: Watched, db_url: str) -> None:
    dreamer = await watched()
    with psycopg.connect(db_url, autocommit=True) as conn:
        conn.execute("INSERT INTO event_cursors (consumer, position) VALUES ('left_behind', -1000000)")
    answer = await dreamer.http.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["ready"] is True
    assert answer.json()["lag"]["left_behind"] >= 1_000_000


async def test_a_schema_that_lacks_a_migration_is_not_ready_and_the_process_is_well(
    watched: Watched, db_url: str
) -> None:
    dreamer = await watched()
    with psycopg.connect(db_url, autocommit=True) as conn:
        conn.execute(
            "DELETE FROM oneiro.schema_migrations WHERE version = (SELECT max(version) FROM oneiro.schema_migrations)"
        )
    ready, health = await dreamer.http.get("/readyz"), await dreamer.http.get("/healthz")

    assert (ready.status_code, health.status_code) == (503, 200)
    assert ready.json() == {"ready": False, "database": True, "schema": False, "stopping": False, "lag": {}}


async def test_without_a_database_the_process_is_well_and_not_ready(watched: Watched, db_url: str) -> None:
    dreamer = await watched()
    with psycopg.connect(db_url, autocommit=True) as conn:
        conn.execute("ALTER ROLE oneiro_service NOLOGIN")
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'oneiro_service'")
        try:
            ready, health = await dreamer.http.get("/readyz"), await dreamer.http.get("/healthz")
        finally:
            conn.execute("ALTER ROLE oneiro_service LOGIN")

    assert (ready.status_code, health.status_code) == (503, 200)
    assert ready.json()["database"] is False


FOREIGN = """
import asyncio, httpx
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from oneiro.app import create_app
from oneiro.settings import Settings
kept, provider = InMemorySpanExporter(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(kept))
trace.set_tracer_provider(provider)
app = create_app(Settings(database_url="postgresql://x", elevenlabs_api_key="k", jwt_secret="s" * 32))
async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
        return (await client.get("/healthz?said=quillwort")).status_code
print(asyncio.run(ask()), len(kept.get_finished_spans()))
"""


def test_the_frameworks_own_telemetry_which_would_hold_paths_and_texts_stays_off() -> None:
    ended = subprocess.run([sys.executable, "-c", FOREIGN], capture_output=True, text=True, timeout=60, check=False)

    assert ended.stdout == "200 0\n", ended.stderr
