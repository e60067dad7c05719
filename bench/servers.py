"""Servers of a bench: processes of their own, waited for, measured by what the kernel says of them, and ended."""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """What all threads of a process have used so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@contextmanager
def serving(command: list[str], port: int, path: str = "/healthz", **surroundings: str) -> Iterator[int]:
    """A Python program that serves on a port; gives its process id as soon as it answers."""
    process = subprocess.Popen([sys.executable, *command], env=os.environ | surroundings, stdout=subprocess.DEVNULL)
    try:
        _wait_for(f"http://127.0.0.1:{port}{path}", process)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except urllib.error.HTTPError:
            return  # It answers, if only that it wants a key.
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    raise SystemExit(f"nothing answers at {url}")
