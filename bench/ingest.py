"""Durable single-message POSTs a second over HTTP, beside one bare insert on the same server, pool and generator.

    .venv/bin/python bench/ingest.py [--seconds 5] [--rounds 3] [--connections 64] [--worker]

An embedded PostgreSQL with its durable defaults, one server process each, one generator process, loopback only;
everything is made in a temporary directory and removed. Lines go to 100 conversations of 100 dreamers, one line a
request. The two are measured in turn, so that what else the machine does meets both. `--worker`: the server also
stamps events and runs consumers and jobs, as `oneiro serve` does; without it, as with `--no-worker`.
"""

import argparse
import asyncio
import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from bare import serve
from load import Figures, as_fast_as_possible, at_rate, request
from pydantic import SecretStr

from oneiro.app import create_app
from oneiro.auth import issue_token
from oneiro.cli.listen import run
from oneiro.database.embedded import embedded
from oneiro.database.migrate import migrate
from oneiro.database.pool import Database
from oneiro.interpreters.seed import load_seeds
from oneiro.settings import Settings

SECRET = "a secret of the bench, at least thirty-two bytes long"
CONVERSATIONS = 100
LINE = "A heron stood in the hall and folded the lake into paper boats, and my cousins watched; I was not afraid of it."
ONEIRO_PORT, BARE_PORT = 8471, 8472


async def serve_ours() -> None:
    settings = Settings(
        database_url=SecretStr(os.environ["BENCH_DATABASE_URL"]),
        jwt_secret=SecretStr(SECRET),
        elevenlabs_api_key=SecretStr("unused"),
        elevenlabs_base_url="http://127.0.0.1:9",
    )
    app = create_app(settings, worker=os.environ.get("BENCH_WORKER") == "1")
    await serve(app, ONEIRO_PORT)


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


@dataclass
class Server:
    """A process that serves, and what was measured of it."""

    name: str
    port: int
    requests: Iterator[bytes]
    process: subprocess.Popen[bytes]
    fast: list[Figures] = field(default_factory=list)
    steady: list[Figures] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serving(name: str, command: list[str], port: int, url: str, requests: Iterator[bytes]) -> Iterator[Server]:
    process = subprocess.Popen([sys.executable, *command], env={**os.environ, "BENCH_DATABASE_URL": url})
    try:
        wait_for(port)
        yield Server(name, port, requests, process)
    finally:
        process.terminate()
        process.wait(20)


def wait_for(port: int) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1):
                return
        except OSError:  # Refused, or not answered in time by a machine that is busy.
            time.sleep(0.1)
    raise SystemExit(f"nothing answers on port {port}")


def middle(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def show(server: Server) -> None:
    fast, steady = server.fast, server.steady
    print(
        f"{server.name:7}{middle(f.rate for f in fast):6.0f}/s  p50 {middle(f.quantile(0.5) for f in fast):6.1f} ms  "
        f"p99 {middle(f.quantile(0.99) for f in fast):6.1f} ms  server CPU {middle(server.cpu):5.0f} µs a request | "
        f"at {middle(f.rate for f in steady):.0f}/s: p50 {middle(f.quantile(0.5) for f in steady):5.1f} ms  "
        f"p99 {middle(f.quantile(0.99) for f in steady):5.1f} ms | errors {sum(f.errors for f in fast + steady)}"
    )


async def measure(server: Server, options: argparse.Namespace) -> None:
    before = server.cpu_seconds()
    fast = await as_fast_as_possible(
        server.port, server.requests, connections=options.connections, seconds=options.seconds
    )
    server.cpu.append(1e6 * (server.cpu_seconds() - before) / len(fast.latencies))
    server.fast.append(fast)


async def measure_steady(server: Server, options: argparse.Namespace) -> None:
    server.steady.append(
        await at_rate(
            server.port,
            server.requests,
            rate=options.rate,
            seconds=options.seconds,
            connections=options.connections,
        )
    )


async def bench(options: argparse.Namespace, place: Path) -> None:
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
        url = postgres.url("oneiro", user="oneiro_service")
        os.environ["BENCH_WORKER"] = "1" if options.worker else "0"
        bare_command, our_command = [str(here / "bare.py"), str(BARE_PORT)], [str(here / "ingest.py"), "--serve"]
        with (
            serving("bare", bare_command, BARE_PORT, postgres.url("oneiro"), inserts()) as bare,
            serving("oneiro", our_command, ONEIRO_PORT, url, lines(made)) as ours,
        ):
            for server in (bare, ours):
                await as_fast_as_possible(server.port, server.requests, connections=options.connections, seconds=2)
            for _ in range(options.rounds):
                for measured in (measure, measure_steady):
                    for server in (bare, ours):
                        await measured(server, options)
        show(bare)
        show(ours)
        with psycopg.connect(postgres.url("oneiro")) as conn:
            kept = conn.execute("SELECT count(*), (SELECT sum(message_count) FROM conversations) FROM messages")
            row = kept.fetchone()
        share = middle(f.rate for f in ours.fast) / middle(f.rate for f in bare.fast)
        print(f"oneiro / bare: {share:.0%}; load after {os.getloadavg()[0]:.1f}; messages kept, and counted: {row}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", action="store_true", help="stamp events and run consumers and jobs as well")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run(serve_ours())
        return
    place = Path(tempfile.mkdtemp(prefix="oneiro-bench-"))
    place.chmod(0o711)
    try:
        asyncio.run(bench(options, place))
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main()
