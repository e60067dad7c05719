"""A whole Oneiro on loopback, and the programs of the how-to as they stand there, run with the SDKs they name."""

import asyncio
import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from pydantic import SecretStr

from oneiro.app import Surroundings, create_app
from oneiro.auth import issue_token
from oneiro.cli.listen import bind, listening
from oneiro.engine.app import running
from oneiro.engine.settings import EngineSettings
from oneiro.safety.cards import guardrail
from oneiro.settings import Settings

ROOT = Path(__file__).parents[2]
HOW_TO = ROOT / "docs" / "how-to" / "official-sdks.md"
MODULES = ROOT / "ui" / "node_modules"
SECRET = "a secret of at least thirty-two bytes"
HEARD = "I dreamed of a red door in the sea"


@pytest.fixture(scope="session")
def template(seeded: str) -> str:
    """Each test gets a copy of it."""
    return seeded


@dataclass
class Place:
    """A dreamer's view of a whole Oneiro."""

    url: str
    engine_url: str
    user_id: UUID = field(default_factory=uuid4)

    @property
    def token(self) -> str:
        return issue_token(SECRET, user_id=self.user_id, ttl=timedelta(hours=1), now=datetime.now(UTC))

    @property
    def surroundings(self) -> dict[str, str]:
        """What the how-to tells to export."""
        return os.environ | {"ONEIRO_URL": self.url, "ONEIRO_TOKEN": self.token, "NO_PROXY": "127.0.0.1"}

    async def _ask(self, path: str) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with httpx.AsyncClient(base_url=f"{self.url}/v1", headers=headers, trust_env=False, timeout=30) as client:
            return (await client.get(path)).raise_for_status().json()

    async def ended(self) -> dict[str, Any]:
        """Her one conversation, as soon as it has come to its end."""
        async with asyncio.timeout(20):
            while (found := await self._conversations())[0]["status"] != "completed":  # noqa: ASYNC110 - over HTTP.
                await asyncio.sleep(0.05)
        assert len(found) == 1
        return found[0]

    async def _conversations(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self._ask("/conversations"))["items"]
        return found

    async def lines(self, conversation_id: str) -> list[tuple[str, str]]:
        """Who said what."""
        items = (await self._ask(f"/conversations/{conversation_id}/messages?limit=100"))["items"]
        return [(line["sender"], line["content"]) for line in items]

    async def restart_engine(self) -> None:
        """The voice platform breaks every socket, and forgets its agents."""
        async with httpx.AsyncClient(trust_env=False, timeout=30, headers={"xi-api-key": "a key"}) as client:
            (await client.post(f"{self.engine_url}/engine/restart")).raise_for_status()


Build = Callable[..., Awaitable[Place]]


@pytest.fixture
async def build(service_url: str) -> AsyncIterator[Build]:
    """Starts a whole Oneiro, which the pages of an origin may call: `build(speed=…, origin=…)`."""
    async with AsyncExitStack() as stack:

        async def built(*, speed: float = 100, origin: str | None = None) -> Place:
            engine = EngineSettings(guardrail=guardrail, speed=speed, recogniser=lambda _: HEARD)
            engine_url = await stack.enter_async_context(running(engine))
            settings = Settings(
                database_url=SecretStr(service_url),
                jwt_secret=SecretStr(SECRET),
                elevenlabs_api_key=SecretStr("a key"),
                elevenlabs_base_url=engine_url,
                transport="relay",
                cors_origins=[origin] if origin else [],
            )
            app = create_app(settings, Surroundings(simulated=True))
            sock = bind("127.0.0.1", 0, what="the test")
            listened = await stack.enter_async_context(listening(app, sock, grace=1, leaving=app.state.tail.close))
            return Place(listened.url, engine_url)

        yield built


@pytest.fixture
async def place(build: Build) -> Place:
    return await build()


@pytest.fixture(scope="session")
def section() -> Callable[[str], str]:
    """The program that the how-to shows under a heading with this name: its code blocks, one after the other."""
    page = HOW_TO.read_text("utf-8")

    def of(name: str) -> str:
        (text,) = re.findall(rf"^## [^\n]*\(`{re.escape(name)}`\)\n(.*?)(?=^## )", page, re.DOTALL | re.MULTILINE)
        blocks: list[str] = re.findall(r"^```(?:js|python)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        assert blocks
        return "\n\n".join(blocks)

    return of


@pytest.fixture(scope="session")
def node() -> Path:
    """The Node with which the pages are built, out of the wheel that `ui/build.py` names."""
    assert (MODULES / "@elevenlabs" / "client").is_dir(), "the pages' packages are not installed: make ui"
    spec = importlib.util.spec_from_file_location("ui_build", ROOT / "ui" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    return Path(program._node()) / "bin" / "node"


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """A directory of somebody who has run `npm install @elevenlabs/client`."""
    (tmp_path / "node_modules").symlink_to(MODULES)
    return tmp_path


class Program:
    """A program of the how-to while it runs: lines in, lines out."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.printed: list[str] = []

    async def until(self, beginning: str) -> str:
        """Read on until a line begins so; returns its rest."""
        assert self._process.stdout is not None
        async with asyncio.timeout(30):
            while line := (await self._process.stdout.readline()).decode():
                self.printed.append(line.rstrip("\n"))
                if line.startswith(beginning):
                    return line.removeprefix(beginning).strip()
        raise AssertionError(f"it ended without a line that begins with {beginning}: {self.printed}")

    async def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        await self._process.stdin.drain()

    async def end(self) -> int:
        """No more lines; returns the program's exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        async with asyncio.timeout(30):
            self.printed += (await self._process.stdout.read()).decode().splitlines()
            return await self._process.wait()

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


Run = Callable[..., Awaitable[Program]]


@pytest.fixture
async def run() -> AsyncIterator[Run]:
    """Starts a program: `run(place, "node", "talk.mjs")`."""
    async with AsyncExitStack() as stack:

        async def started(place: Place, *command: object) -> Program:
            pipe = asyncio.subprocess.PIPE
            words = [str(word) for word in command]
            process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, env=place.surroundings)
            program = Program(process)
            stack.push_async_callback(program.kill)
            return program

        yield started


Site = Callable[[str], Path]


@pytest.fixture
def bundle(node: Path, modules: Path) -> Site:
    """Bundles a script with Vite as any page would be, with nothing of the SDK changed; returns the built site."""

    def built(script: str) -> Path:
        (modules / "talk-aloud.js").write_text(script, "utf-8")
        (modules / "index.html").write_text(PAGE, "utf-8")
        public = modules / "public"
        public.mkdir()
        shutil.copytree(MODULES / "@elevenlabs" / "client" / "worklets", public / "worklets")
        for name in ("oneiro.js", "favicon.ico"):
            (public / name).touch()
        make = partial(subprocess.run, capture_output=True, text=True, check=False, timeout=90)
        done = make([str(node), str(MODULES / "vite" / "bin" / "vite.js"), "build", "--logLevel", "error"], cwd=modules)
        assert done.returncode == 0, done.stderr
        return modules / "dist"

    return built


PAGE = """<!doctype html>
<title>Talk aloud</title>
<button>Speak</button> <output></output> <ol></ol>
<script src="/oneiro.js"></script>
<script type="module" src="/talk-aloud.js"></script>
"""
