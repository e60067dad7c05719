"""Oneiro as it runs in production: each command a process of its own, which can be killed."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

SECRET = "a secret of at least thirty-two bytes"
WEBHOOK_SECRET = "the platform's secret"
WITHIN = 60.0
"""Seconds in which a condition must come true; most take milliseconds, a start on a busy machine ten seconds."""

LISTENS = r"Oneiro listens on (\S+)"
ENGINE_LISTENS = r"The engine listens on (\S+)"

# What runs in a process of ours, and ends with the one that started it, however that one ended: nothing that is
# killed in the middle of a test leaves something behind that keeps the machine busy.
LEASHED = """
import os, runpy, sys, threading

def leashed():
    os.read(0, 1)
    os._exit(1)

threading.Thread(target=leashed, daemon=True).start()
runpy.run_module("oneiro", run_name="__main__", alter_sys=True)
"""

# An owner of PostgreSQL that only does that, and does not give up.
OWNER = """
import asyncio, sys
from pathlib import Path
from oneiro.database.embedded import embedded

async def main(data_dir):
    async with embedded(Path(data_dir), restarts=1000) as server:
        print(f"PostgreSQL is at {server.socket_dir}", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main(sys.argv[1]))
"""


async def until(
    claim: str, true: Callable[[], Awaitable[object]], *, within: float = WITHIN, seen: object = ""
) -> None:
    """Wait for something that must become true; `seen` is told when it does not."""
    end = time.monotonic() + within
    while not await true():
        assert time.monotonic() < end, f"in vain for {within:.0f} s: {claim} {seen or ''}"
        await asyncio.sleep(0.02)


@dataclass
class Process:
    """A running command; what it says goes to a file."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    url: str = ""

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    async def says(self, pattern: str) -> str:
        """The first group of a pattern, once the process has said it."""
        found: re.Match[str] | None = None

        async def heard() -> bool:
            nonlocal found
            found = re.search(pattern, self.said())
            assert found or self.popen.poll() is None, f"{self.name} has ended: {self.said()}"
            return found is not None

        await until(f"{self.name} says {pattern}", heard)
        assert found is not None
        return found[1]

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.popen.kill()
        self.popen.wait(WITHIN)

    async def ended(self, *, within: float = WITHIN) -> int:
        """Its exit code, once it has ended by itself."""
        return await asyncio.to_thread(self.popen.wait, within)


@dataclass
class House:
    """Starts processes on one database; what is still alive at the end is ended."""

    home: Path
    database_url: str
    started: list[Process] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)

    async def engine(self, *, webhook_url: str = "") -> Process:
        """A platform for all that is started later; posts what is over to `webhook_url`."""
        telling = ["--webhook-url", webhook_url] if webhook_url else []
        process = self._run("engine", "--port", "0", "--speed", "100", *telling)
        process.url = await process.says(ENGINE_LISTENS)
        self.settings["ONEIRO_ELEVENLABS_BASE_URL"] = process.url
        return process

    async def serve(self, *options: str, **settings: str) -> Process:
        process = self._run("serve", *options, **settings)
        process.url = await process.says(LISTENS)
        return process

    async def worker(self, **settings: str) -> Process:
        process = self._run("worker", **settings)
        await process.says(r"(The worker is at work)")
        return process

    def _run(self, command: str, *options: str, **settings: str) -> Process:
        name = f"{len(self.started)}-{command}"
        log = self.home / f"{name}.log"
        # PostgreSQL knows its connections by this name.
        environment = _bare() | self._common() | {"PGAPPNAME": name} | self.settings | settings
        with log.open("wb") as out:
            popen = subprocess.Popen(
                [sys.executable, "-c", LEASHED, command, *options],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=self.home,
                env=environment,
            )
        process = Process(name, popen, log)
        self.started.append(process)
        return process

    def _common(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "ONEIRO_DATABASE_URL": self.database_url,
            "ONEIRO_PORT": "0",
            "ONEIRO_JWT_SECRET": SECRET,
            "ELEVENLABS_API_KEY": "a key",
            "ONEIRO_ELEVENLABS_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "ONEIRO_TRANSPORT": "direct",
            "ONEIRO_ALLOW_DIRECT": "true",
            "ONEIRO_DRAIN_SECONDS": "1",
            "ONEIRO_WEBHOOKS_ALLOW_PRIVATE": "true",
        }

    def logs(self) -> str:
        return "".join(process.said() for process in self.started)

    async def end(self) -> None:
        """Ask who is left to stop, and insist."""
        left = [process for process in self.started if process.popen.poll() is None]
        for process in left:
            process.signal(signal.SIGTERM)
        for process in left:
            try:
                await process.ended(within=15)
            except subprocess.TimeoutExpired:
                process.kill()
        for process in self.started:
            assert process.popen.stdin is not None
            process.popen.stdin.close()


@asynccontextmanager
async def house(home: Path, database_url: str) -> AsyncIterator[House]:
    """A house that is empty again at the end."""
    made = House(home, database_url)
    try:
        yield made
    finally:
        await made.end()


@dataclass
class Postgres:
    """A PostgreSQL whose owner is another process: it can be killed, and kept away by holding its owner still."""

    data_dir: Path
    owner: subprocess.Popen[bytes]
    socket_dir: str = ""

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self.socket_dir.replace('/', '%2F')}&port=5432"

    def kill(self) -> None:
        """kill -9 of the postmaster."""
        os.kill(int((self.data_dir / "pgdata" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def hold(self) -> None:
        """Keep the owner from starting it again."""
        self.owner.send_signal(signal.SIGSTOP)

    def let_go(self) -> None:
        self.owner.send_signal(signal.SIGCONT)


@asynccontextmanager
async def owned_postgres(data_dir: Path, log: Path) -> AsyncIterator[Postgres]:
    """A server as production has it, that is: with every commit on disk."""
    with log.open("wb") as out:
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, str(data_dir)],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=_bare() | {"HOME": str(log.parent)},
        )
    postgres = Postgres(data_dir, owner)
    try:
        postgres.socket_dir = await Process("owner", owner, log).says(r"PostgreSQL is at (\S+)")
        yield postgres
    finally:
        postgres.let_go()
        try:
            await asyncio.to_thread(owner.communicate, b"\n", WITHIN)
        except subprocess.TimeoutExpired:
            owner.kill()
            postgres.kill()
            raise


def _bare() -> dict[str, str]:
    """An environment that holds nothing of ours."""
    kept = {
        name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH"}
    }
    return kept | {"PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"}
