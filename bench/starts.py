"""Starts of conversations beside one bare insert, and beside the guide's own design; upstream calls per start.

    .venv/bin/python bench/starts.py [--seconds 2] [--rounds 3] [--together 8] [--quick] [--relay] [--profile FILE]

Every server is a process of its own (`bare.py`, `guide_design.py`, and the whole API), on one embedded PostgreSQL with
its durable defaults, before one engine in which every call takes 120 ms. A start is that of a known dreamer with a
dream, in writing. Measured are one client that starts one conversation after the other, and several at a time; the
servers in turn, round after round, so that what else the machine does meets all of them. Calls upstream are counted by
the engine. Between measurements conversations end and slots are given back.
"""

import argparse
import asyncio
import cProfile
import itertools
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psycopg
from bare import serve
from load import Figures, as_fast_as_possible, once, request
from pydantic import SecretStr
from servers import cpu_seconds, free_port, serving

from oneiro.app import create_app
from oneiro.auth import issue_token
from oneiro.cli.listen import run
from oneiro.database.embedded import embedded
from oneiro.database.migrate import migrate
from oneiro.database.pool import Database
from oneiro.interpreters.seed import load_seeds
from oneiro.settings import Settings

SECRET = "a secret of the bench, at least thirty-two bytes long"
DREAMERS = 500
UPSTREAM_SECONDS = 0.12
DREAM = "I stood on a bridge of glass above the sea, and below me my grandmother swam with a white whale. " * 5
HERE = Path(__file__).parent
Dreamer = tuple[UUID, UUID]


async def serve_ours(port: int, engine_url: str) -> None:
    settings = Settings(
        database_url=SecretStr(os.environ["BENCH_DATABASE_URL"]),
        jwt_secret=SecretStr(SECRET),
        elevenlabs_api_key=SecretStr("bench"),
        elevenlabs_base_url=engine_url,
        transport="relay",
        allow_direct=True,
        max_concurrent_calls=1_000_000,
    )
    await serve(create_app(settings, worker=False), port)


def serve_profiled(port: int, engine_url: str, place: str) -> None:
    """The same, with a profile of its main thread, from the first measurement on, written to a file when it ends."""
    profile = cProfile.Profile(time.thread_time)  # What it computes, not how long others are in its way.

    async def until_told() -> None:
        serving_ours = asyncio.ensure_future(serve_ours(port, engine_url))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving_ours.cancel)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, profile.enable)
        await asyncio.wait([serving_ours])
        with suppress(asyncio.CancelledError):
            serving_ours.result()

    run(until_told())
    profile.disable()
    profile.dump_stats(place)


@dataclass
class Row:
    """What is measured, and what was found: alone and together, a figure a round."""

    name: str
    port: int
    pid: int
    requests: Iterator[bytes]
    alone: list[Figures] = field(default_factory=list)
    together: list[Figures] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    upstream: int = 0

    @property
    def starts(self) -> int:
        return sum(len(figures.latencies) for figures in self.alone + self.together)

    @property
    def errors(self) -> int:
        return sum(figures.errors for figures in self.alone + self.together)


def middle(found: list[Figures], share: float) -> float:
    return statistics.median(figures.quantile(share) for figures in found)


class Upstream:
    """The engine, in which every call takes its time and is counted."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, headers={"xi-api-key": "bench"}, trust_env=False, timeout=30)

    def begin(self) -> None:
        latency = {"kind": "latency", "seconds": UPSTREAM_SECONDS, "path": "/v1/*"}
        self._http.put("/engine/faults", json={"faults": [latency]}).raise_for_status()

    def calls(self) -> int:
        count: int = self._http.get("/engine/faults").raise_for_status().json()["faults"][0]["struck"]
        return count


def ours(dreamers: list[Dreamer], transport: str) -> Iterator[bytes]:
    now, made = datetime.now(UTC), []
    for user_id, dream_id in dreamers:
        body = {"interpreter_id": "carl", "dream_id": str(dream_id), "text_only": True, "transport": transport}
        token = issue_token(SECRET, user_id=user_id, ttl=timedelta(hours=1), now=now)
        made.append(request("/v1/conversations", json.dumps(body).encode(), token))
    return itertools.cycle(made)


def guides(dreamers: list[Dreamer]) -> Iterator[bytes]:
    bodies = [
        {"interpreter_id": "carl", "user_id": str(user_id), "dream_id": str(dream_id)} for user_id, dream_id in dreamers
    ]
    return itertools.cycle(request("/conversations", json.dumps(body).encode()) for body in bodies)


async def people(url: str) -> list[Dreamer]:
    """Dreamers, each with a dream."""
    database = Database(url)
    await database.open()
    made = [(uuid4(), uuid4()) for _ in range(DREAMERS)]
    async with database.as_service() as conn:
        await load_seeds(conn)
        for user_id, dream_id in made:
            await conn.execute("INSERT INTO profiles (user_id, name) VALUES (%s, 'Ada')", (user_id,))
            await conn.execute(
                "INSERT INTO dreams (id, user_id, title, content, symbols) VALUES (%s, %s, 'The bridge', %s, %s)",
                (dream_id, user_id, DREAM, ["bridge", "sea", "whale"]),
            )
    await database.close()
    return made


class Bench:
    def __init__(self, options: argparse.Namespace, admin_url: str, upstream: Upstream) -> None:
        self._options, self._admin_url, self._upstream = options, admin_url, upstream

    async def warm(self, row: Row) -> None:
        """One start that is not measured: the very first makes voices and agents, the guide's again one of its own."""
        assert await once(row.port, next(row.requests)) < 300

    async def round(self, rows: list[Row]) -> None:
        for connections in (1, self._options.together):
            for row in rows:
                await self.warm(row)
                if self._options.profile and row.name == "oneiro, relay":
                    os.kill(row.pid, signal.SIGUSR1)
                self._upstream.begin()
                before = cpu_seconds(row.pid)
                seconds = self._options.seconds
                figures = await as_fast_as_possible(row.port, row.requests, connections=connections, seconds=seconds)
                row.cpu.append(1e6 * (cpu_seconds(row.pid) - before) / len(figures.latencies))
                row.upstream += self._upstream.calls()
                (row.alone if connections == 1 else row.together).append(figures)
                await self.settle(row)

    async def settle(self, row: Row) -> None:
        """Conversations end: slots are given back, and the guide's agents of new dreams deleted."""
        with psycopg.connect(self._admin_url, autocommit=True) as conn:
            conn.execute("DELETE FROM conversation_slots")
        if row.name == "guide, a new dream":
            async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
                (await client.post(f"http://127.0.0.1:{row.port}/end")).raise_for_status()


def show(rows: list[Row], together: int) -> None:
    print(
        f"\n{'':26}{'one at a time':^20}{f'{together} at a time':^30}{'CPU':>8}  upstream\n"
        f"{'':26}{'p50 ms':>10}{'p99 ms':>10}{'starts/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'µs':>8}  calls a start"
    )
    for row in rows:
        rate = statistics.median(figures.rate for figures in row.together)
        print(
            f"{row.name:26}{middle(row.alone, 0.5):10.1f}{middle(row.alone, 0.99):10.1f}{rate:10.0f}"
            f"{middle(row.together, 0.5):10.1f}{middle(row.together, 0.99):10.1f}{statistics.median(row.cpu):8.0f}"
            f"{row.upstream / row.starts:10.2f}" + (f"  {row.errors} errors" if row.errors else "")
        )
    bare, relayed, *others = rows
    for name, found in (("one at a time", "alone"), (f"{together} at a time", "together")):
        one, ours_, *more = (middle(getattr(row, found), 0.5) for row in (bare, relayed, *others[1:2]))
        beside = f", guide / oneiro {more[0] / ours_:.1f}" if more else ""
        print(f"p50 {name}: oneiro / bare {ours_ / one:.1f} (goal: 3){beside}")
    share = statistics.median(relayed.cpu) / statistics.median(bare.cpu)
    print(f"CPU of the server's process: oneiro / bare {share:.1f}")


async def bench(options: argparse.Namespace, place: Path) -> int:
    engine_port, bare_port, guide_port, our_port = (free_port() for _ in range(4))
    engine_url = f"http://127.0.0.1:{engine_port}"
    async with embedded(place / "postgres") as postgres:
        with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
            conn.execute("CREATE DATABASE oneiro")
            version = conn.execute("SHOW server_version").fetchone()
        assert version is not None
        migrate(postgres.url("oneiro"))
        url = postgres.url("oneiro", user="oneiro_service")
        dreamers = await people(url)
        load = os.getloadavg()[0]
        print(f"Python {platform.python_version()}, PostgreSQL {version[0]}, {os.cpu_count()} cores, load {load:.1f}")
        serve_command = [
            __file__,
            "--serve",
            str(our_port),
            engine_url,
            *([options.profile] if options.profile else []),
        ]
        with ExitStack() as stack:
            stack.enter_context(serving(["-m", "oneiro", "engine", "--port", str(engine_port)], engine_port))
            admin = {"BENCH_DATABASE_URL": postgres.url("oneiro")}
            bare = stack.enter_context(serving([str(HERE / "bare.py"), str(bare_port)], bare_port, **admin))
            guide_command = [str(HERE / "guide_design.py"), str(guide_port), engine_url]
            guide = stack.enter_context(serving(guide_command, guide_port, **admin))
            mine = stack.enter_context(serving(serve_command, our_port, BENCH_DATABASE_URL=url))
            upstream = Upstream(engine_url)
            upstream.begin()
            inserts = itertools.repeat(request("/insert", json.dumps({"content": DREAM[:110]}).encode()))
            rows = [
                Row("one bare insert", bare_port, bare, inserts),
                Row("oneiro, relay", our_port, mine, ours(dreamers, "relay")),
                Row("oneiro, direct", our_port, mine, ours(dreamers, "direct")),
                Row("guide, a new dream", guide_port, guide, guides(dreamers)),
                Row("guide, the same again", guide_port, guide, guides(dreamers[:1])),
            ]
            rows = rows[:2] if options.relay else rows
            running = Bench(options, postgres.url("oneiro"), upstream)
            for _ in range(options.rounds):
                await running.round(rows)
    show(rows, options.together)
    print(f"load after: {os.getloadavg()[0]:.1f}")
    return 1 if rows[1].upstream or any(row.errors for row in rows) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--together", type=int, default=8, help="clients at a time")
    parser.add_argument("--quick", action="store_true", help="one short round, for a machine that others use")
    parser.add_argument("--relay", action="store_true", help="only the bare insert and the relayed start")
    parser.add_argument("--profile", metavar="FILE", help="write a profile of the API here (and slow it down)")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 1.0, 1
    place = Path(tempfile.mkdtemp(prefix="oneiro-bench-"))
    place.chmod(0o711)
    try:
        return asyncio.run(bench(options, place))
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        port, engine_url, *profile = sys.argv[2:]
        if profile:
            serve_profiled(int(port), engine_url, profile[0])
        else:
            run(serve_ours(int(port), engine_url))
        sys.exit(0)
    sys.exit(main())
