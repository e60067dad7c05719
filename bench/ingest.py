"""Durable single-message POSTs a second over HTTP, beside one bare insert on the same server, pool and generator.

    .venv/bin/python bench/ingest.py [--seconds 10] [--connections 64]

An embedded PostgreSQL with its durable defaults, one server process, one generator process, loopback only; everything
is made in a temporary directory and removed. Lines go to 100 conversations of 100 dreamers, one line a request.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
import uvicorn
from load import Figures, as_fast_as_possible, at_rate, request
from pydantic import SecretStr

from oneiro.app import create_app
from oneiro.auth import issue_token
from oneiro.database.embedded import embedded
from oneiro.database.migrate import migrate
from oneiro.database.pool import Database
from oneiro.interpreters.seed import load_seeds
from oneiro.settings import Settings

SECRET = "a secret of the bench, at least thirty-two bytes long"
CONVERSATIONS = 100
LINE = "A heron stood in the hall and folded the lake into envelopes, one for each of my cousins; I was not afraid."
ONEIRO_PORT, BARE_PORT = 8471, 8472


def serve() -> None:
    settings = Settings(
        database_url=SecretStr(os.environ["BENCH_DATABASE_URL"]),
        jwt_secret=SecretStr(SECRET),
        elevenlabs_api_key=SecretStr("unused"),
        elevenlabs_base_url="http://127.0.0.1:9",
    )
    uvicorn.run(create_app(settings), port=ONEIRO_PORT, log_level="warning", access_log=False)


async def conversations(url: str) -> list[tuple[UUID, UUID]]:
    """Open conversations, each of a dreamer of its own."""
    database = Database(url)
    await database.open()
    made = [(uuid4(), uuid4()) for _ in range(CONVERSATIONS)]
    async with database.as_service() as conn:
        await load_seeds(conn)
        for user_id, conversation_id in made:
            await conn.execute("INSERT INTO profiles (user_id) VALUES (%s)", (user_id,))
            await conn.execute(
                """
                INSERT INTO conversations (id, user_id, interpreter_id, transport, status, started_at, release_id)
                SELECT %s, %s, 'carl', 'direct', 'active', now(), id
                FROM interpreter_releases WHERE interpreter_id = 'carl'
                """,
                (conversation_id, user_id),
            )
            await conn.execute("INSERT INTO conversation_sessions (conversation_id) VALUES (%s)", (conversation_id,))
    await database.close()
    return made


def lines(made: list[tuple[UUID, UUID]]) -> Iterator[bytes]:
    now = datetime.now(UTC)
    tokens = [issue_token(SECRET, user_id=user_id, ttl=timedelta(hours=1), now=now) for user_id, _ in made]
    for number in itertools.count():
        place = number % len(made)
        body = {"messages": [{"event_id": f"{number}", "sender": "user", "content": LINE}]}
        path = f"/v1/conversations/{made[place][1]}/messages"
        yield request(path, json.dumps(body).encode(), tokens[place])


def inserts() -> Iterator[bytes]:
    return itertools.repeat(request("/insert", json.dumps({"content": LINE}).encode()))


@asynccontextmanager
async def server(command: list[str], port: int, url: str):  # noqa: ANN201 - a context manager of a process.
    process = subprocess.Popen(  # noqa: ASYNC220 - it is made once, before anything is measured.
        [sys.executable, *command], env={**os.environ, "BENCH_DATABASE_URL": url}
    )
    try:
        await asyncio.to_thread(wait_for, port)
        yield
    finally:
        process.terminate()
        process.wait(10)


def wait_for(port: int) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise SystemExit(f"nothing answers on port {port}")


def show(name: str, fast: Figures, steady: Figures) -> None:
    print(
        f"{name:8} {fast.rate:8.0f}/s   p50 {fast.quantile(0.5):6.1f} ms   p99 {fast.quantile(0.99):6.1f} ms   "
        f"at {steady.rate:.0f}/s: p50 {steady.quantile(0.5):5.1f} ms   p99 {steady.quantile(0.99):5.1f} ms   "
        f"errors {fast.errors + steady.errors}"
    )


async def measure(port: int, requests: Iterator[bytes], options: argparse.Namespace) -> tuple[Figures, Figures]:
    await as_fast_as_possible(port, requests, connections=options.connections, seconds=2)
    fast = await as_fast_as_possible(port, requests, connections=options.connections, seconds=options.seconds)
    steady = await at_rate(port, requests, rate=options.rate, seconds=options.seconds, connections=options.connections)
    return fast, steady


async def run(options: argparse.Namespace, place: Path) -> None:
    here = Path(__file__).parent
    async with embedded(place / "postgres") as postgres:
        with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
            conn.execute("CREATE DATABASE oneiro")
            version = conn.execute("SHOW server_version").fetchone()
            fsync = conn.execute("SHOW fsync").fetchone()
        assert version is not None
        assert fsync == ("on",)
        migrate(postgres.url("oneiro"))
        made = await conversations(postgres.url("oneiro", user="oneiro_service"))
        cores, load = os.cpu_count(), os.getloadavg()[0]
        print(f"Python {platform.python_version()}, PostgreSQL {version[0]}, {cores} cores, load before {load:.1f}")
        async with server([str(here / "bare.py"), str(BARE_PORT)], BARE_PORT, postgres.url("oneiro")):
            bare = await measure(BARE_PORT, inserts(), options)
        show("bare", *bare)
        url = postgres.url("oneiro", user="oneiro_service")
        async with server([str(here / "ingest.py"), "--serve"], ONEIRO_PORT, url):
            ours = await measure(ONEIRO_PORT, lines(made), options)
        show("oneiro", *ours)
        with psycopg.connect(postgres.url("oneiro")) as conn:
            kept = conn.execute("SELECT count(*), (SELECT sum(message_count) FROM conversations) FROM messages")
            row = kept.fetchone()
        print(f"oneiro / bare: {ours[0].rate / bare[0].rate:.0%}; messages kept {row}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    place = Path(tempfile.mkdtemp(prefix="oneiro-bench-"))
    place.chmod(0o711)
    try:
        asyncio.run(run(options, place))
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
