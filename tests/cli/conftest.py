"""The command line as people use it: processes of its own, an environment without leftovers."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def environment(reachable_dir: Path, tmp_path: Path) -> dict[str, str]:
    """An environment that holds nothing of ours but a data directory for this test."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL", "TMPDIR"}}
    data = reachable_dir / tmp_path.name
    return kept | {"HOME": str(tmp_path), "ONEIRO_DATA_DIR": str(data), "COLUMNS": "100", "PYTHONWARNINGS": "error"}


@pytest.fixture
def oneiro(environment: dict[str, str], tmp_path: Path) -> Run:
    """Runs a command to its end."""

    def run(*args: str, said: str = "", seconds: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "oneiro", *args],
            input=said,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
            cwd=tmp_path,
            env=environment | variables,
        )

    return run
