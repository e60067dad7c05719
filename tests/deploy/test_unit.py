"""The systemd unit: accepted by systemd where it is there, and patient enough for calls to finish."""

import configparser
import inspect
import shutil
import subprocess
from pathlib import Path

from oneiro.cli import COMMANDS
from oneiro.cli.listen import listening
from oneiro.relay.limits import Limits
from oneiro.settings import Settings

UNIT = Path(__file__).parents[2] / "deploy" / "oneiro.service"


def unit() -> configparser.ConfigParser:
    parsed = configparser.ConfigParser(interpolation=None, strict=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # The library's way to keep capitals.
    parsed.read_string(UNIT.read_text())
    return parsed


def test_the_unit_runs_a_command_of_ours_and_waits_for_calls_to_finish() -> None:
    service = unit()["Service"]
    program, command = service["ExecStart"].split()

    assert Path(program).name == "oneiro"
    assert command in COMMANDS
    limits, drain = Limits(), Settings.model_fields["drain_seconds"].default
    grace = inspect.signature(listening).parameters["grace"].default
    # The drain with what its calls write, the server's open requests, and calls that were still not over.
    longest = drain + limits.settling + grace + limits.settling + limits.writing
    assert drain + 90 <= int(service["TimeoutStopSec"])
    assert longest < int(service["TimeoutStopSec"])
    assert service["DynamicUser"] == "yes"


def test_systemd_where_it_is_there_accepts_the_unit(tmp_path: Path) -> None:
    # The program is not installed where the tests run; systemd looks for it.
    written = tmp_path / UNIT.name
    written.write_text(UNIT.read_text().replace(unit()["Service"]["ExecStart"], "/bin/sh -c true"))
    analyze = shutil.which("systemd-analyze")
    ended = [
        subprocess.run([tool, "verify", str(written)], capture_output=True, text=True, timeout=60, check=False)
        for tool in (analyze,)
        if tool is not None
    ]

    # What it says of other units of this machine is not ours.
    assert [line for done in ended for line in done.stderr.splitlines() if UNIT.name in line] == []
    assert unit().sections() == ["Unit", "Service", "Install"]
