"""Figures of analytics, on an embedded PostgreSQL of its own with every commit on disk.

    python bench/analytics.py [--sizes 10000,100000] [--rounds 30] [--messages 6]

For each size of history (`--sizes 10000,1000000` takes ten minutes and 10 GB): how fast it is written, the
dashboard and an interpreter's report from rollups and by a recount of the conversations, and how fast marked hours are
counted. Then what the consumers compute in a second, and what it costs a request to be measured.
"""

import argparse
import math
import os
import platform
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneiro.analytics.agents import subscribers as agents
from oneiro.analytics.conversations import subscribers as conversations
from oneiro.analytics.history import service
from oneiro.analytics.history.models import FIRST, LAST, Plan
from oneiro.analytics.reports.service import Reports
from oneiro.analytics.rollups.service import Rollups
from oneiro.breaker import CircuitBreaker
from oneiro.cli.listen import run
from oneiro.database.embedded import Server, embedded
from oneiro.database.migrate import migrate
from oneiro.database.pool import Database
from oneiro.events.bell import Bell
from oneiro.events.consumers import Consumer, Worker
from oneiro.events.sequencer import Sequencer
from oneiro.events.service import Events
from oneiro.interpreters.overview.service import PlatformOverview
from oneiro.interpreters.seed import load_seeds
from oneiro.metrics import Metrics
from oneiro.monitoring.middleware import Measured

DAYS = 365
EVENTS = 2000
HOURS = 480
Ask = Callable[[], Awaitable[BaseModel]]


@dataclass
class Times:
    """Milliseconds of the same question asked again and again."""

    found: list[float]

    def quantile(self, share: float) -> float:
        ordered = sorted(self.found)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        return f"p50 {self.quantile(0.5):8.1f} ms  p95 {self.quantile(0.95):8.1f} ms"


async def asked(ask: Ask, rounds: int, *, seconds: float = 30.0, warm: int = 3) -> tuple[Times, BaseModel]:
    """At least twice, at most `rounds` times, and no longer than that; also what came last."""
    for _ in range(warm):
        await ask()
    found: list[float] = []
    until = time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        answer = await ask()
        answer.model_dump_json()
        found.append(1000 * (time.perf_counter() - began))
        if len(found) >= rounds or (len(found) > 1 and time.perf_counter() > until):
            return Times(found), answer


class House:
    """A database with a history of one size."""

    def __init__(self, server: Server, size: int) -> None:
        self._name, self._size = f"history_{size}", size
        self._server, self._url = server, server.url(f"history_{size}")
        self._now = datetime.now(UTC)
        self.database = Database(server.url(self._name, user="oneiro_service"), timeout=30.0)

    async def build(self, messages: float) -> None:
        with psycopg.connect(self._server.admin_url, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {self._name}")
        migrate(self._url)
        await self.database.open()
        async with self.database.as_service() as conn:
            await load_seeds(conn)
        began = last = time.perf_counter()

        def advance(_found: int) -> None:
            nonlocal last
            last = time.perf_counter()

        plan = Plan(self._size, self._now, days=DAYS, messages=messages)
        done = await service.load(self._url, plan, advance, trusting=True)
        wrote, counted = last - began, time.perf_counter() - last
        await self._make_agents()
        size = self._look("SELECT pg_database_size(current_database())")
        # As in a database that has come to rest; else what is measured is what the load left to be done.
        self._do("VACUUM ANALYZE")
        self._do("CHECKPOINT")
        print(f"\n{self._size:,} conversations, {done.dreamers:,} dreamers, {DAYS} days, {size / 1e9:.2f} GB")
        print(f"  written                {self._size / wrote:10,.0f} conversations/s")
        print(f"  {done.hours:,} hours counted    {done.hours / counted:10,.0f} hours/s")

    async def _make_agents(self) -> None:
        """One for each conversation, as where every session has an agent of its own; one in fifty fails."""
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute("SET session_replication_role = replica")  # The hours are marked below, once each.
            conn.execute(
                "INSERT INTO agent_metrics (interpreter_id, metric_type, recorded_at, metric_value, metadata)"
                " SELECT interpreter_id, 'agent_creation', ended_at, 300 + 900 * random(),"
                " CASE WHEN random() < 0.98 THEN '{\"success\": true}'::jsonb"
                ' ELSE \'{"success": false, "error": "platform_busy"}\' END'
                " FROM conversation_analytics WHERE ended_at IS NOT NULL"
            )
            conn.execute("INSERT INTO rollups_dirty (hour) SELECT DISTINCT hour FROM rollups_hourly")
        began = time.perf_counter()
        hours = await Rollups(self.database).refresh()
        print(f"\n{hours:,} hours counted again, with agents: {hours / (time.perf_counter() - began):,.0f} hours/s")

    async def reports(self, rounds: int) -> dict[str, Times]:
        """From rollups, and with every hour marked, so that all is read from the conversations."""
        overview = PlatformOverview(self.database, [CircuitBreaker("x")], slots=100, clock=lambda: self._now)
        reports = Reports(self.database, overview, Events(self.database), slots=100, clock=lambda: self._now)

        def report(days: int) -> Ask:
            return lambda: reports.performance("carl", self._now - timedelta(days=days), self._now)

        asks: dict[str, Ask] = {"dashboard": reports.dashboard, "30 days": report(30), "a year": report(DAYS)}
        found: dict[str, Times] = {}
        rolled: dict[str, BaseModel] = {}
        for name, ask in asks.items():
            found[name], rolled[name] = await asked(ask, rounds)
        self._do("INSERT INTO rollups_dirty (hour) SELECT DISTINCT hour FROM rollups_hourly")
        for name, ask in asks.items():
            found[f"{name}, recounted"], raw = await asked(ask, 5, warm=0)
            if name != "dashboard":
                assert raw == rolled[name], "a report from rollups is not what a recount gives"
        self._do("TRUNCATE rollups_dirty")
        return found

    async def count_hours(self) -> None:
        marked = self._look(
            f"WITH m AS (INSERT INTO rollups_dirty (hour) SELECT hour FROM rollups_hourly GROUP BY hour"
            f" ORDER BY hour DESC LIMIT {HOURS} RETURNING hour) SELECT min(hour) FROM m"
        )
        read = self._look("SELECT count(*) FROM conversation_analytics WHERE ended_at >= %s", marked)
        began = time.perf_counter()
        hours = await Rollups(self.database).refresh()
        seconds = time.perf_counter() - began
        print(f"  marked hours counted   {hours / seconds:10,.0f} hours/s, {read / seconds:,.0f} conversations/s")

    async def consume(self, bell: Bell) -> None:
        """The latest conversations computed as if they had just ended."""
        self._do(
            f"CREATE TABLE computed AS SELECT conversation_id FROM conversation_analytics"
            f" ORDER BY ended_at DESC LIMIT {EVENTS}"
        )
        for table in ("conversation_analytics", "agent_metrics"):
            self._do(f"DELETE FROM {table} WHERE conversation_id IN (SELECT conversation_id FROM computed)")
        self._do(
            "INSERT INTO system_events (event_type, entity_type, entity_id, event_data, conversation_id)"
            " SELECT 'conversation.ended', 'conversation', c.id::text,"
            " jsonb_build_object('reason', c.end_reason, 'seconds', 1, 'messages', c.message_count), c.id"
            " FROM conversations AS c WHERE id IN (SELECT conversation_id FROM computed)"
        )
        sequencer = Sequencer(self.database, bell)
        while await sequencer.step():
            pass
        await sequencer.release()
        for consumer in (conversations.CONSUMER, agents.CONSUMER):
            print(f"  consumer {consumer.name:14}{await self._rate(consumer, bell):10,.0f} conversations/s")
        computed = self._look("SELECT count(*) FROM conversation_analytics WHERE id NOT BETWEEN %s AND %s", FIRST, LAST)
        assert computed == EVENTS, computed

    async def _rate(self, consumer: Consumer, bell: Bell) -> float:
        worker = Worker(self.database, bell, consumer)
        began = time.perf_counter()
        while await worker.step():
            pass
        seconds = time.perf_counter() - began
        await worker.release()
        return EVENTS / seconds

    async def close(self) -> None:
        await self.database.close()
        with psycopg.connect(self._server.admin_url, autocommit=True) as admin:
            admin.execute(f"DROP DATABASE {self._name} WITH (FORCE)")

    def _do(self, statement: str) -> None:
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute(statement.encode())

    def _look(self, statement: str, *values: object) -> float:
        with psycopg.connect(self._url, autocommit=True) as conn:
            row = conn.execute(statement.encode(), values).fetchone()
        assert row is not None
        found: float = row[0]
        return found


async def measured(rounds: int = 15, calls: int = 4000) -> None:
    """What the middleware of metrics adds to a request, traces off; the quietest of some rounds."""
    scope: Scope = {"type": "http", "method": "GET", "path": "/x", "headers": [(b"host", b"x")] * 8}

    async def answering(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def silent() -> Message:
        return {"type": "http.request"}

    async def nowhere(_message: Message) -> None:
        pass

    found: dict[str, list[float]] = {"without": [], "with": []}
    apps: dict[str, ASGIApp] = {"without": answering, "with": Measured(answering, Metrics())}
    for _ in range(rounds):
        for name, app in apps.items():
            began = time.perf_counter()
            for _ in range(calls):
                await app(scope, silent, nowhere)
            found[name].append((time.perf_counter() - began) / calls * 1e6)
    without, with_ = min(found["without"]), min(found["with"])
    print(f"\na request, not measured {without:.2f} µs, measured {with_:.2f} µs: it costs {with_ - without:.2f} µs")


async def bench(options: argparse.Namespace, place: Path) -> None:
    sizes = sorted({int(size) for size in options.sizes.split(",")})
    before: tuple[int, dict[str, Times]] | None = None
    async with embedded(place / "data", options={"max_wal_size": "4GB"}) as server:
        with psycopg.connect(server.admin_url) as admin:
            version = admin.info.server_version // 10000
        load = os.getloadavg()[0]
        print(f"Python {platform.python_version()}, PostgreSQL {version}, {os.cpu_count()} cores, load {load:.1f}")
        for size in sizes:
            house = House(server, size)
            await house.build(options.messages)
            found = await house.reports(options.rounds)
            for name, times in found.items():
                growth = ""
                if before is not None:
                    factor = times.quantile(0.5) / before[1][name].quantile(0.5)
                    growth = f"  grows with n^{math.log(factor) / math.log(size / before[0]):.2f}"
                print(f"  {name:23}{times}{growth}")
            await house.count_hours()
            if size == sizes[0]:
                await house.consume(Bell(server.url(f"history_{size}", user="oneiro_service")))
            await house.close()
            before = (size, found)
    await measured()


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of analytics.")
    parser.add_argument("--sizes", default="10000,100000")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--messages", type=float, default=6.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="oneiro-bench-") as place:
        Path(place).chmod(0o711)
        run(bench(options, Path(place)))


if __name__ == "__main__":
    main()
