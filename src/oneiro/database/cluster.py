"""One PostgreSQL server as a child process: make its data directory, start it, wait for it, stop it."""

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from oneiro.database import watchdog
from oneiro.database.binaries import Binaries
from oneiro.database.ownership import Account, open_private, own_directory
from oneiro.errors import SetupError

PORT = 5432
SUPERUSER = "postgres"
LONGEST_SOCKET_PATH = 103
LARGEST_LOG_BYTES = 10 * 1024 * 1024
FREE_BYTES = 150 * 1024 * 1024
# Recovery after a crash replays at most max_wal_size of log.
START_SECONDS = 90.0
STEP_SECONDS = 0.01

# The log must never hold what a dreamer said. Errors can quote values, their DETAIL quotes rows, and a crashed
# backend's DETAIL quotes its statement: so only server events are logged, tersely, and never a statement.
PRIVACY = {
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
    "log_statement": "none",
    "log_min_error_statement": "panic",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
SETTINGS = PRIVACY | {
    "listen_addresses": "",
    "port": str(PORT),
    "max_connections": "100",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "idle_in_transaction_session_timeout": "60s",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_destination": "stderr",
    "logging_collector": "off",
}


def choose_socket_dir(data_dir: Path, account: Account | None) -> Path:
    """Make the directory of the socket, 0700: in the data directory, or a private temporary one.

    macOS allows 103 bytes for the path of a socket.
    """
    near = data_dir / "s"
    if _fits(near):
        own_directory(near, account)
        return near
    for place in (tempfile.gettempdir(), "/tmp", "/var/tmp"):  # noqa: S108 - mkdtemp makes a private directory there
        if _fits(Path(place) / "oneiro-12345678"):
            made = Path(tempfile.mkdtemp(prefix="oneiro-", dir=place))
            own_directory(made, account)
            return made
    raise SetupError(f"{data_dir} is too long for a socket, and so is the temporary directory: set TMPDIR to /tmp.")


def remove_socket_dir(directory: Path) -> None:
    """Remove a temporary socket directory; anything that is not a server's own file stays, and so does its place."""
    with suppress(OSError):
        for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
            (directory / name).unlink(missing_ok=True)
        directory.rmdir()


def _fits(directory: Path) -> bool:
    return len(os.fsencode(directory / f".s.PGSQL.{PORT}")) <= LONGEST_SOCKET_PATH


def _environment() -> dict[str, str]:
    """Our environment without the PG… variables meant for clients, in a language whose messages we can read."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line or "FATAL" in line or "PANIC" in line]
    return (errors or lines or ["no reason given"])[-1]


class Cluster:
    """PostgreSQL on `data_dir/pgdata`, run by `account` (None: ourselves), reached by the socket directory alone.

    `options` are further server settings; the log is `data_dir/postgres.log`.
    """

    def __init__(
        self, data_dir: Path, socket_dir: Path, binaries: Binaries, account: Account | None, options: Mapping[str, str]
    ) -> None:
        self.pgdata = data_dir / "pgdata"
        self.log_path = data_dir / "postgres.log"
        self._socket_dir = socket_dir
        self._binaries = binaries
        self._account = account
        self._settings = SETTINGS | {"unix_socket_directories": f'"{socket_dir}"'} | dict(options)
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def running(self) -> bool:
        """Whether the server's process lives; also reaps it when it has ended."""
        return self._process is not None and self._process.poll() is None

    def initialise(self) -> None:
        """Make the cluster when there is none; it appears whole or not at all.

        Raises SetupError for a cluster of another major version, a full disk and a failed initdb.
        """
        home = self.pgdata.parent
        for half_made in home.glob("pgdata-*"):
            shutil.rmtree(half_made, ignore_errors=True)
        version_file = self.pgdata / "PG_VERSION"
        if version_file.exists():
            self._compare(version_file.read_text().strip())
            return
        if self.pgdata.exists():
            raise SetupError(f"{self.pgdata} exists but is no PostgreSQL data directory: move it away.")
        if shutil.disk_usage(home).free < FREE_BYTES:
            raise SetupError(f"The disk of {home} is full: a new database needs {FREE_BYTES // 1024**2} MB.")
        fresh = Path(tempfile.mkdtemp(prefix="pgdata-", dir=home))
        try:
            own_directory(fresh, self._account)
            self._initdb(fresh)
            fresh.rename(self.pgdata)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _compare(self, made_by: str) -> None:
        if made_by != str(self._binaries.major):
            raise SetupError(
                f"{self.pgdata} was made by PostgreSQL {made_by}, these binaries are {self._binaries.major}: set "
                f"ONEIRO_POSTGRES_BIN to a PostgreSQL {made_by}, or dump and restore the data."
            )

    def _initdb(self, pgdata: Path) -> None:
        command = [str(self._binaries.folder / "initdb"), "-D", str(pgdata), "-U", SUPERUSER, "-A", "trust"]
        command += ["--encoding=UTF8", "--no-instructions"]
        if self._binaries.major >= 17:
            # The built-in provider gives the same C.UTF-8 on every system; libc has it on some only.
            command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        else:
            command += ["--locale=C.UTF-8"]
        if self._settings.get("fsync") == "off":
            command += ["--no-sync"]
        done = subprocess.run(  # noqa: S603 - a program that we found
            command,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=_environment(),
            **(self._account.popen() if self._account else {}),
        )
        if done.returncode != 0:
            raise SetupError(f"PostgreSQL could not make its data directory: {_last_line(done.stderr)}")

    def launch(self) -> None:
        """Start the server's process; `ready` then waits for it."""
        for lock_file in (self.pgdata / "postmaster.pid", self._socket_dir / f".s.PGSQL.{PORT}.lock"):
            self._drop_stale(lock_file)
        command = [str(self._binaries.folder / "postgres"), "-D", str(self.pgdata)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        log = self._open_log()
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a program that we found
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_environment(),
                start_new_session=True,
                **(self._account.popen() if self._account else {}),
            )
        finally:
            os.close(log)

    def _drop_stale(self, lock_file: Path) -> None:
        """Remove a lock file whose process number has since gone to a stranger, which PostgreSQL would respect."""
        pid = watchdog.recorded_pid(lock_file)
        if pid is None or watchdog.is_server(pid, self.pgdata):
            return
        with suppress(ProcessLookupError):
            with suppress(PermissionError):
                os.kill(pid, 0)
            lock_file.unlink(missing_ok=True)

    def _open_log(self) -> int:
        if self.log_path.exists() and self.log_path.stat().st_size > LARGEST_LOG_BYTES:
            self.log_path.replace(self.log_path.with_name("postgres.log.1"))
        descriptor = open_private(self.log_path, os.O_WRONLY | os.O_APPEND)
        self._log_start = os.fstat(descriptor).st_size
        return descriptor

    async def ready(self) -> None:
        """Wait until the server takes connections; raises SetupError with its last words when it ends instead."""
        clock = asyncio.get_running_loop()
        end = clock.time() + START_SECONDS
        while not self._says_ready():
            if not self.running:
                raise SetupError(f"PostgreSQL did not start: {self.last_words()} (log: {self.log_path})")
            if clock.time() > end:
                raise SetupError(f"PostgreSQL was not ready after {START_SECONDS:.0f} s (log: {self.log_path})")
            await asyncio.sleep(STEP_SECONDS)

    def _says_ready(self) -> bool:
        """The postmaster writes its state into the eighth line of its lock file."""
        try:
            lines = (self.pgdata / "postmaster.pid").read_text(errors="replace").splitlines()
        except OSError:
            return False
        ours = self._process is not None and lines[:1] == [str(self._process.pid)]
        return ours and lines[7:8] != [] and lines[7].strip() == "ready"

    def last_words(self) -> str:
        """The last error line of the log since the latest start."""
        with self.log_path.open(errors="replace") as log:
            log.seek(self._log_start)
            return _last_line(log.read(LARGEST_LOG_BYTES))

    async def stop(self) -> None:
        """Fast shutdown, and wait; after some seconds an immediate one, then SIGKILL."""
        for number, seconds in (
            (signal.SIGINT, watchdog.FAST_SHUTDOWN_SECONDS),
            (signal.SIGQUIT, watchdog.IMMEDIATE_SHUTDOWN_SECONDS),
            (signal.SIGKILL, watchdog.KILL_SECONDS),
        ):
            if self._process is None or self._process.poll() is not None:
                return
            self._process.send_signal(number)
            end = asyncio.get_running_loop().time() + seconds
            while self.running and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110 - a process sets no event
                await asyncio.sleep(STEP_SECONDS)
