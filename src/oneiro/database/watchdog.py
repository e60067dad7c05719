"""Stops an embedded PostgreSQL when the process that owns it is gone.

The owner starts this file as a process of its own (`python -I -S watchdog.py PGDATA [SOCKET_DIR]`, standard library
only, to stay small) and holds the write end of its standard input. However the owner dies, kill -9 included, the
kernel closes that pipe, and end-of-file is the signal to stop the server. An owner that has stopped the server
itself says so with one byte first.

The watchdog also inherits the owner's lock on the data directory, so that no new owner can start a server there
before the old one is gone.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

FAST_SHUTDOWN_SECONDS = 8.0
IMMEDIATE_SHUTDOWN_SECONDS = 5.0
KILL_SECONDS = 2.0
BIRTH_SECONDS = 1.0
STEP_SECONDS = 0.02


def recorded_pid(lock_file: Path) -> int | None:
    """Process id in the first line of one of PostgreSQL's lock files, None without a usable one."""
    try:
        pid = int(lock_file.read_text(errors="replace").split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    return pid if pid > 1 else None


def _arguments(pid: int) -> str:
    """Return the command line of a living process; a zombie and a missing process have none."""
    proc = Path("/proc")
    if (proc / "self" / "cmdline").exists():
        try:
            return (proc / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="surrogateescape")
        except OSError:
            return ""
    command = ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout  # noqa: S603 - fixed program, a number


def is_server(pid: int, pgdata: Path) -> bool:
    """Whether the process is the PostgreSQL of this data directory, and not a zombie or a stranger with its number."""
    return f"-D {pgdata} " in _arguments(pid) + " "


def postmaster(pgdata: Path) -> int | None:
    """Process id of the living PostgreSQL of this data directory."""
    pid = recorded_pid(pgdata / "postmaster.pid")
    return pid if pid is not None and is_server(pid, pgdata) else None


def stop(pgdata: Path) -> None:
    """Stop the PostgreSQL of this data directory, whoever started it, and wait until it is gone.

    Fast shutdown first (open transactions roll back, a checkpoint is written), then an immediate one, then SIGKILL;
    after either of the last two PostgreSQL recovers from its log at the next start.
    """
    pid = postmaster(pgdata)
    if pid is None:
        return
    for number, seconds in (
        (signal.SIGINT, FAST_SHUTDOWN_SECONDS),
        (signal.SIGQUIT, IMMEDIATE_SHUTDOWN_SECONDS),
        (signal.SIGKILL, KILL_SECONDS),
    ):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not is_server(pid, pgdata):
                return
            time.sleep(STEP_SECONDS)


def _await_birth(pgdata: Path) -> None:
    """Give a server that was started just before its owner died the time to write its process id."""
    end = time.monotonic() + BIRTH_SECONDS
    while postmaster(pgdata) is None and time.monotonic() < end:
        time.sleep(STEP_SECONDS)


def main(pgdata: Path, socket_dir: Path | None) -> None:
    """Wait for the owner's end; stop the server unless the owner has done so."""
    # Only the owner's end counts: a terminal's Ctrl-C or a service manager's SIGTERM goes to all processes at once.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if os.read(sys.stdin.fileno(), 1):
        return
    _await_birth(pgdata)
    stop(pgdata)
    if socket_dir is not None:
        with suppress(OSError):
            socket_dir.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
