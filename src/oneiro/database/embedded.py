"""Embedded PostgreSQL: one owner per data directory, shared by every later process on it.

The owner holds the lock file, starts PostgreSQL and a watchdog, restarts a PostgreSQL that was killed, and stops it
at the end. Other processes read the URL file `server.json`, use the running server and leave it alone.
"""

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import structlog

from oneiro.database import watchdog
from oneiro.database.binaries import find_binaries, within_reach
from oneiro.database.cluster import PORT, SUPERUSER, Cluster, choose_socket_dir, remove_socket_dir
from oneiro.database.ownership import open_private, prepare_directory, server_account, try_lock
from oneiro.errors import SetupError

SHARE_SECONDS = 60.0
LOOK_SECONDS = 0.1
RESTARTS_WITHIN_SECONDS = 120.0
LONGEST_PAUSE_SECONDS = 5.0

log = structlog.get_logger()


class Server:
    """A running PostgreSQL; `owner` says whether this process started it and will stop it.

    Facts are what processes on one data directory tell each other in the URL file: `pid`, `admin_url`, `socket_dir`,
    and what is published, such as `api_url`.
    """

    def __init__(self, data_dir: Path, socket_dir: Path, *, owner: bool) -> None:
        self.socket_dir = socket_dir
        self.owner = owner
        self.failed = asyncio.Event()
        self._data_dir = data_dir
        self._path = data_dir / "server.json"
        self._published: dict[str, Any] = {}

    def url(self, database: str, user: str = SUPERUSER) -> str:
        """Return the address of a database of this server; the socket's directory is the only door."""
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}&port={PORT}"

    @property
    def admin_url(self) -> str:
        """Address of the maintenance database, as the superuser."""
        return self.url("postgres")

    @property
    def facts(self) -> dict[str, Any]:
        """What the URL file says now."""
        return _read_facts(self._path)

    def publish(self, **facts: Any) -> None:
        """Tell the other processes; None withdraws a fact. What a process published goes when it ends."""
        self._published |= facts
        with self._alone():
            self._rewrite(self.facts | facts)

    def withdraw(self) -> None:
        """Take back what this process published; the owner removes the URL file."""
        if self.owner:
            self._path.unlink(missing_ok=True)
            return
        ours = self._published.items()
        with self._alone():
            facts = self.facts
            kept = {name: value for name, value in facts.items() if (name, value) not in ours}
            if kept != facts:
                self._rewrite(kept)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep two processes from publishing at the same moment and losing one's facts."""
        descriptor = os.open(self._data_dir, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _rewrite(self, facts: Mapping[str, Any]) -> None:
        text = json.dumps({name: value for name, value in facts.items() if value is not None}, indent=1)
        fresh = self._path.with_name(f"server.json.{os.getpid()}")
        with os.fdopen(open_private(fresh, os.O_WRONLY | os.O_TRUNC), "w") as file:
            file.write(text)
        fresh.replace(self._path)


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


@contextmanager
def _one_line(data_dir: Path) -> Iterator[None]:
    """Turn a refusal of the file system, such as a full disk, into a SetupError."""
    try:
        yield
    except OSError as error:
        raise SetupError(f"{data_dir}: {error.strerror or error}.") from error


@asynccontextmanager
async def embedded(
    data_dir: Path, *, binaries: Path | None = None, options: Mapping[str, str] | None = None, restarts: int = 8
) -> AsyncIterator[Server]:
    """Run PostgreSQL on this directory, or use the one that another process runs on it.

    `binaries` is a folder with `initdb` and `postgres`; `options` are further server settings, used by an owner. A
    PostgreSQL that was killed is started again up to `restarts` times in two minutes; then `Server.failed` is set.
    Raises SetupError with one line: closed directory, foreign version, no binaries, full disk, failed start.
    """
    with _one_line(data_dir):
        data_dir = prepare_directory(data_dir)
        lock, facts = await _lock_or_share(data_dir)
    if lock is None:
        server = Server(data_dir, Path(facts["socket_dir"]), owner=False)
        try:
            yield server
        finally:
            server.withdraw()
        return
    owner = _Owner(data_dir, lock, restarts)
    try:
        with _one_line(data_dir):
            server = await owner.start(binaries, options or {})
        yield server
    finally:
        await owner.stop()


async def _lock_or_share(data_dir: Path) -> tuple[int | None, dict[str, Any]]:
    """Return the lock, or the facts of an owner whose server answers; waits while an owner starts or stops."""
    clock = asyncio.get_running_loop()
    end = clock.time() + SHARE_SECONDS
    while True:
        if (lock := try_lock(data_dir)) is not None:
            return lock, {}
        facts = _read_facts(data_dir / "server.json")
        if "socket_dir" in facts and await _answers(facts.get("admin_url", "")):
            return None, facts
        if clock.time() > end:
            raise SetupError(f"{data_dir} is in use by process {facts.get('pid', '?')}, whose PostgreSQL is silent.")
        await asyncio.sleep(LOOK_SECONDS / 2)


async def _answers(admin_url: str) -> bool:
    try:
        conn = await psycopg.AsyncConnection.connect(admin_url, connect_timeout=5)
    except psycopg.Error:
        return False
    await conn.close()
    return True


class _Owner:
    """The processes of an owner: PostgreSQL, its watchdog, and the task that looks after both."""

    def __init__(self, data_dir: Path, lock: int, restarts: int) -> None:
        self._data_dir = data_dir
        self._pgdata = data_dir / "pgdata"
        self._lock = lock
        self._restarts = restarts
        self._server: Server | None = None
        self._cluster: Cluster | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._supervision: asyncio.Task[None] | None = None

    async def start(self, binaries: Path | None, options: Mapping[str, str]) -> Server:
        """Start everything and write the URL file last."""
        await asyncio.to_thread(self._clear_after_dead_owner)
        account = server_account(self._pgdata)
        found = within_reach(await asyncio.to_thread(find_binaries, binaries), account, self._data_dir)
        socket_dir = choose_socket_dir(self._data_dir, account)
        self._server = server = Server(self._data_dir, socket_dir, owner=True)
        self._cluster = cluster = Cluster(self._data_dir, socket_dir, found, account, options)
        await asyncio.to_thread(cluster.initialise)
        self._watch()
        cluster.launch()
        await cluster.ready()
        server.publish(pid=os.getpid(), admin_url=server.admin_url, socket_dir=str(socket_dir))
        self._supervision = asyncio.create_task(self._supervise(server, cluster))
        return server

    def _clear_after_dead_owner(self) -> None:
        """Stop a server that lost both its owner and its watchdog; remove what a dead owner left."""
        watchdog.stop(self._pgdata)
        url_file = self._data_dir / "server.json"
        if socket_dir := _read_facts(url_file).get("socket_dir"):
            remove_socket_dir(Path(socket_dir))
        url_file.unlink(missing_ok=True)

    def _watch(self) -> None:
        """Start the watchdog. It inherits the lock: nobody else owns the directory before it has finished."""
        assert self._server is not None
        socket_dir = self._server.socket_dir
        temporary = [] if socket_dir.parent == self._data_dir else [str(socket_dir)]
        self._watchdog = subprocess.Popen(  # noqa: S603 - our own file
            [sys.executable, "-I", "-S", watchdog.__file__, str(self._pgdata), *temporary],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,
            pass_fds=(self._lock,),
        )

    async def _supervise(self, server: Server, cluster: Cluster) -> None:
        """Start again what was killed; after too many restarts in a short time set `server.failed` and give up."""
        clock = asyncio.get_running_loop()
        restarts: deque[float] = deque()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._watchdog is None or self._watchdog.poll() is not None:
                self._dismiss_watchdog()
                with suppress(OSError):
                    self._watch()
            if cluster.running:
                continue
            while restarts and restarts[0] < clock.time() - RESTARTS_WITHIN_SECONDS:
                restarts.popleft()
            if len(restarts) == self._restarts:
                log.error("database.lost", reason=cluster.last_words())
                server.failed.set()
                return
            log.warning("database.restarting", attempt=len(restarts) + 1)
            await asyncio.sleep(min(0.05 * 2 ** len(restarts), LONGEST_PAUSE_SECONDS))
            restarts.append(clock.time())
            # Backends of the killed server may still hold its shared memory: then this start ends at once, and the
            # next round tries again.
            with suppress(SetupError, OSError):
                cluster.launch()
                await cluster.ready()

    async def stop(self) -> None:
        """End supervision, PostgreSQL and the watchdog, in this order; then give the directory free."""
        try:
            if self._supervision is not None:
                self._supervision.cancel()
                await asyncio.wait([self._supervision])
            if self._cluster is not None:
                await self._cluster.stop()
            self._dismiss_watchdog()
            if self._server is not None:
                self._server.withdraw()
                remove_socket_dir(self._server.socket_dir)
        finally:
            os.close(self._lock)

    def _dismiss_watchdog(self) -> None:
        if self._watchdog is None or self._watchdog.stdin is None:
            return
        with suppress(OSError):
            self._watchdog.stdin.write(b".")
        self._watchdog.stdin.close()
        self._watchdog.wait()
        self._watchdog = None
