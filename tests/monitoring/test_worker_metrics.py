"""`oneiro worker --metrics-port`: a real worker on a real database, and who may read its figures."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest

from oneiro.auth import issue_token

SECRET = "a secret of at least thirty-two bytes"
WITHIN = 60
Started = Callable[..., tuple[subprocess.Popen[str], str]]


@pytest.fixture
def worker(service_url: str, tmp_path: Path) -> Iterator[Started]:
    """Starts a worker and gives it back with what it said until it was at work."""
    processes: list[subprocess.Popen[str]] = []
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL", "TMPDIR"}}
    environment = kept | {
        "HOME": str(tmp_path),
        "ONEIRO_DATABASE_URL": service_url,
        "ONEIRO_JWT_SECRET": SECRET,
        "ELEVENLABS_API_KEY": "a key",
        "ONEIRO_DRAIN_SECONDS": "1",
        "PYTHONUNBUFFERED": "1",
    }

    def start(*options: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "oneiro", "worker", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=tmp_path,
            env=environment,
        )
        processes.append(process)
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "The worker is at work" in line:
                break
        return process, said

    yield start
    for process in processes:
        process.kill()
        process.wait(WITHIN)
        assert process.stdout is not None
        process.stdout.close()


def address(said: str) -> str:
    found = re.search(r"Metrics are at (http://127\.0\.0\.1:\d+)/metrics", said)
    assert found, said
    return found[1]


def scraped(url: str, **headers: str) -> httpx.Response:
    return httpx.get(f"{url}/metrics", headers=headers, timeout=WITHIN)


def told(text: str, series: str) -> float | None:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


def test_a_worker_tells_its_own_figures_and_those_of_the_whole(worker: Started, db_url: str) -> None:
    process, said = worker("--metrics-port", "0")
    url = address(said)
    with psycopg.connect(db_url, autocommit=True) as conn:
        conn.execute("INSERT INTO jobs (kind, state) VALUES ('nobody.knows', 'dead')")

    # It looks at its loop again and again; sooner or later a scrape finds that it did.
    lag, until = None, time.monotonic() + WITHIN
    while not lag and time.monotonic() < until:
        answer = scraped(url)
        lag = told(answer.text, "oneiro_event_loop_lag_seconds_count")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert lag
    assert told(answer.text, 'oneiro_breaker_state{name="agents"}') == 0
    assert told(answer.text, 'oneiro_jobs{state="dead"}') == 1
    assert told(answer.text, 'oneiro_consumer_lag_events{consumer="analytics"}') is not None
    assert httpx.get(f"{url}/v1/interpreters", timeout=WITHIN).status_code == 404
    process.terminate()
    assert process.wait(WITHIN) == 0


def test_from_elsewhere_only_an_operator_reads_a_worker_s_figures(worker: Started) -> None:
    url = address(worker("--metrics-port", "0")[1])

    def bearer(*, operator: bool) -> str:
        now = datetime.now(UTC)
        return f"Bearer {issue_token(SECRET, user_id=uuid4(), operator=operator, ttl=timedelta(hours=1), now=now)}"

    passed_on = {"X-Forwarded-For": "192.0.2.7"}
    assert scraped(url, **passed_on).status_code == 401
    assert scraped(url, Host="worker.example").status_code == 401
    assert scraped(url, Authorization=bearer(operator=False), **passed_on).status_code == 403
    assert scraped(url, Authorization=bearer(operator=True), **passed_on).status_code == 200


def test_a_worker_that_is_not_asked_listens_on_nothing(worker: Started) -> None:
    process, said = worker()
    assert "Metrics are at" not in said
    opened = [str(link.readlink()) for link in Path(f"/proc/{process.pid}/fd").iterdir()]
    inodes = {found[1] for found in (re.fullmatch(r"socket:\[(\d+)\]", link) for link in opened) if found}
    assert inodes, "it is connected to the database"
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        if Path(f"/proc/net/{table}").exists()
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    listening = "0A"
    assert [row for row in rows if row[3] == listening and row[9] in inodes] == []


def test_a_port_that_is_taken_ends_the_worker_with_one_line(worker: Started) -> None:
    url = address(worker("--metrics-port", "0")[1])
    process, said = worker("--metrics-port", url.rpartition(":")[2])
    assert process.wait(WITHIN) == 1
    assert "is in use" in said
    assert "the worker's metrics" in said
