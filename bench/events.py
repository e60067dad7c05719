"""Figures of the event layer, on an embedded PostgreSQL of its own with every commit on disk.

    python bench/events.py [--events 20000] [--replay 100000] [--rate 1000] [--seconds 15]

Prints: events a second through the sequencer and through one consumer (one event a transaction, and a hundred),
the replay of many events, and the time from a writer's commit to the reader of a stream in another process.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
from fastapi import FastAPI

from oneiro.auth import SharedSecret, Tokens, issue_token
from oneiro.cli.listen import bind, listening, run
from oneiro.database.embedded import embedded
from oneiro.database.migrate import migrate
from oneiro.database.pool import Connection, Database
from oneiro.events import routes, store
from oneiro.events.bell import WRITTEN, Bell, mark
from oneiro.events.consumers import Consumer, Worker
from oneiro.events.loops import running
from oneiro.events.models import Event
from oneiro.events.sequencer import Sequencer
from oneiro.events.service import Events
from oneiro.events.stream import Streams
from oneiro.events.tail import Tail

SECRET = "a secret of at least thirty-two bytes"
WRITERS = 8


async def fill(database: Database, count: int) -> None:
    async with database.as_service() as conn:
        await conn.execute(
            """
            INSERT INTO system_events (event_type, entity_type, entity_id, event_data, conversation_id)
            SELECT 'conversation.message_received', 'conversation', c.id::text,
                   jsonb_build_object('n', n, 'sender', 'user', 'chars', 80, 'session', 1), c.id
            FROM generate_series(1, %s) AS n,
                 LATERAL (SELECT ('00000000-0000-4000-8000-' || lpad((n %% 500)::text, 12, '0'))::uuid AS id) AS c
            """,
            (count,),
        )


async def stamp(database: Database, bell: Bell) -> float:
    sequencer = Sequencer(database, bell)
    began, stamped = time.monotonic(), 0
    while found := await sequencer.step():
        stamped += found
    await sequencer.release()
    return stamped / (time.monotonic() - began)


async def count_chars(conn: Connection, event: Event) -> None:
    """What a small analytics consumer does: one row changed for each event."""
    await conn.execute(
        "INSERT INTO bench_chars VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET chars = bench_chars.chars + %s",
        (event.conversation_id, event.data["chars"], event.data["chars"]),
    )


async def consume(database: Database, bell: Bell, name: str, together: int) -> tuple[float, float]:
    """Events a second, and seconds, for one consumer from the first event to the last."""
    async with database.as_service() as conn:
        head = await store.head(conn)
    worker = Worker(database, bell, Consumer(name, [], count_chars, together=together))
    began = time.monotonic()
    while await worker.step():
        pass
    seconds = time.monotonic() - began
    await worker.release()
    return head / seconds, seconds


async def write(conn: Connection, numbers: list[int]) -> None:
    await conn.execute(
        """
        INSERT INTO system_events (event_type, entity_type, entity_id, event_data)
        SELECT 'breaker.opened', 'breaker', 'bench', jsonb_build_object('n', n, 'name', 'bench')
        FROM unnest(%s::int[]) AS n
        """,
        (numbers,),
    )
    mark(conn, WRITTEN)


class Latencies:
    """Writers in this process and a reader of the stream of another one; Linux gives both the same clock."""

    def __init__(self, database: Database, bell: Bell, rate: int, seconds: int) -> None:
        self._database = database
        self._bell = bell
        self._rate = rate
        self._count = rate * seconds
        self._committed: dict[int, float] = {}
        self._read: dict[int, float] = {}
        self.commits = 0

    async def measure(self, port: int) -> list[float]:
        token = issue_token(SECRET, user_id=None, ttl=timedelta(hours=1), now=datetime.now(UTC))
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "GET /v1/admin/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n"
        writer.write(f"{head}Authorization: Bearer {token}\r\n\r\n".encode())
        await reader.readuntil(b"retry: 2000\n\n")
        await asyncio.sleep(0.5)
        began = time.monotonic()
        async with asyncio.timeout(self._count / self._rate * 4 + 10), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen(reader))
            for first in range(WRITERS):
                tasks.create_task(self._write(first, began))
        self.took = max(self._committed.values()) - began
        writer.transport.abort()
        return sorted(self._read[n] - at for n, at in self._committed.items())

    async def _write(self, first: int, began: float) -> None:
        """Commit what became due since the last commit, as ingest does: under load several events at once."""
        due = list(range(first, self._count, WRITERS))
        while due:
            await asyncio.sleep(max(0.0, began + due[0] / self._rate - time.monotonic()))
            ripe = max(1, bisect_right(due, (time.monotonic() - began) * self._rate))
            async with self._database.as_service() as conn:
                await write(conn, due[:ripe])
            self._committed |= dict.fromkeys(due[:ripe], time.monotonic())
            self.commits += 1
            self._bell.committed(conn)
            due = due[ripe:]

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while len(self._read) < self._count:
            line = await reader.readline()
            if line.startswith(b"data: "):
                self._read[json.loads(line[6:])["data"]["n"]] = time.monotonic()


async def serve(url: str) -> None:
    """The other process: sequencer, tail and streams."""
    database, bell = Database(url), Bell(url)
    await database.open()
    tail = Tail(database, bell)
    app = FastAPI()
    app.state.tokens = Tokens(SharedSecret(SECRET), audience="authenticated")
    app.state.events = Events(database)
    app.state.streams = Streams(database, tail, clock=lambda: datetime.now(UTC))
    app.include_router(routes.router, prefix="/v1")
    sock = bind("127.0.0.1", 0, what="the bench")
    async with running(bell, Sequencer(database, bell), tail), listening(app, sock) as served:
        await tail.started.wait()
        await bell.listening.wait()
        print(served.url.rpartition(":")[2], flush=True)
        await served.task


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def latencies(url: str, database: Database, rate: int, seconds: int) -> None:
    bell = Bell(url)
    server = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", url, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    port = int(await server.stdout.readline())
    try:
        async with running(bell):
            bench = Latencies(database, bell, rate, seconds)
            before = cpu_seconds(server.pid)
            found = await bench.measure(port)
            cpu = 1e6 * (cpu_seconds(server.pid) - before) / len(found)
    finally:
        server.kill()
        await server.wait()
    cuts = statistics.quantiles(found, n=100)
    print(
        f"commit → stream at {len(found) / bench.took:,.0f} events/s in {bench.commits / bench.took:,.0f} commits/s:"
        f" p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, worst {found[-1] * 1000:.1f} ms;"
        f" sequencer, tail and stream took {cpu:.0f} µs of CPU an event; load {os.getloadavg()[0]:.1f}"
    )


async def bench(options: argparse.Namespace, place: Path) -> None:
    async with embedded(place / "data") as server:
        with psycopg.connect(server.admin_url, autocommit=True) as admin:
            admin.execute("CREATE DATABASE bench")
            version = admin.info.server_version // 10000
        migrate(server.url("bench"))
        with psycopg.connect(server.url("bench"), autocommit=True) as admin:
            admin.execute("CREATE TABLE bench_chars (id uuid PRIMARY KEY, chars bigint)")
            admin.execute("GRANT ALL ON bench_chars TO service_role")
        url = server.url("bench", user="oneiro_service")
        database, bell = Database(url), Bell(url)
        await database.open()
        print(f"Python {platform.python_version()}, PostgreSQL {version}, {platform.machine()}, fsync on")
        await latencies(url, database, options.rate, options.seconds)
        with psycopg.connect(server.url("bench"), autocommit=True) as admin:
            admin.execute("TRUNCATE system_events CASCADE")
            admin.execute("DELETE FROM event_cursors")
        await fill(database, options.events)
        print(f"sequencer: {await stamp(database, bell):,.0f} events/s")
        rate, _ = await consume(database, bell, f"one-{uuid4().hex}", 1)
        print(f"one consumer, one event a transaction: {rate:,.0f} events/s")
        await fill(database, max(0, options.replay - options.events))
        await stamp(database, bell)
        rate, seconds = await consume(database, bell, f"replay-{uuid4().hex}", 100)
        print(f"replay of {options.replay:,} events, a hundred a transaction: {seconds:.1f} s, {rate:,.0f} events/s")
        await database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Figures of the event layer.")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--replay", type=int, default=100_000)
    parser.add_argument("--rate", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=15)
    parser.add_argument("--serve", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        run(serve(options.serve))
        return
    with tempfile.TemporaryDirectory(prefix="oneiro-bench-") as place:
        Path(place).chmod(0o711)
        run(bench(options, Path(place)))


if __name__ == "__main__":
    main()
