"""The talk page in a real Chromium, before a whole Oneiro: PostgreSQL, engine, API and pages on loopback."""

import math
import shutil
import struct
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # It brings no types.
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect
from psycopg import sql
from pydantic import SecretStr

from oneiro.app import Surroundings, create_app
from oneiro.cli.listen import bind, listening
from oneiro.database.embedded import Server
from oneiro.database.pool import Database
from oneiro.engine.app import running
from oneiro.engine.faults import Fault
from oneiro.engine.settings import EngineSettings
from oneiro.interpreters.seed import load_seeds
from oneiro.safety.cards import guardrail
from oneiro.settings import Settings
from oneiro.web.pages import STATIC

SHOTS = Path(__file__).parent / "shots"
SIZES = {"390": (390, 844), "1280": (1280, 800)}
RATE = 16_000
SECRET = "a secret of at least thirty-two bytes"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    # Whatever the page or the browser would ask another host for cannot be found.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


# The machine may be busy; what is waited for comes soon or not at all.
expect.set_options(timeout=20_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
async def template(postgres: Server, template: str) -> str:
    """Name of a database with Carl and Lakshmi; each test gets a copy."""
    name = f"{template}_browser"
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
        conn.execute(copy)
    database = Database(postgres.url(name, user="oneiro_service"))
    await database.open()
    async with database.as_service() as conn:
        await load_seeds(conn)
    await database.close()
    return name


@pytest.fixture(scope="session")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake microphone hears, over and over: a moment of silence, a voice-like hum, a long silence."""
    place = tmp_path_factory.mktemp("sound") / "hum.wav"
    silence, hum = [0] * int(1.2 * RATE), []
    for at in range(int(1.6 * RATE)):
        syllable = 0.6 + 0.4 * math.sin(2 * math.pi * 4 * at / RATE)
        hum.append(round(9000 * syllable * math.sin(2 * math.pi * 180 * at / RATE)))
    samples = silence + hum + [0] * (20 * RATE)
    with wave.open(str(place), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return place


@pytest.fixture(scope="session")
async def browser(spoken: Path) -> AsyncIterator[Browser]:
    """A Chromium of the machine, else Playwright's own, with a microphone that hears a file."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={spoken}"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=flags)
        yield browser
        await browser.close()


@dataclass
class Visit:
    """A page of a dreamer, and what must not have happened on it."""

    page: Page
    url: str
    secret: str
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def watch(self) -> None:
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("request", lambda request: self._request(request.url))
        self.page.on("websocket", lambda socket: self._request(socket.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(part in message.text for part in self.expected):
            self.faults.append(f"console: {message.text}")

    def _request(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1":
            self.faults.append(f"foreign: {address}")

    async def open(self, path: str = "/") -> Page:
        await self.page.goto(self.url + path)
        return self.page

    async def look(self, name: str) -> None:
        """Take a picture at both sizes, and let axe look at one of them: it sees no sizes, only what there is."""
        SHOTS.mkdir(exist_ok=True)
        for size, (width, height) in SIZES.items():
            await self.page.set_viewport_size({"width": width, "height": height})
            await self.page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished.catch(() => 0)))")
            await self.page.screenshot(path=SHOTS / f"{name}-{size}.png")
            wide = await self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} at {size} is {wide} px too wide"
        found = await Axe().run(self.page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        await self.page.set_viewport_size({"width": 390, "height": 844})


Enter = Callable[..., Awaitable[Visit]]


@pytest.fixture
async def enter(service_url: str, browser: Browser) -> AsyncIterator[Enter]:
    """Starts a house (engine, API, pages) and opens its door to a new dreamer; afterwards nothing foreign was met."""
    assert (STATIC / "index.html").is_file(), "the pages are not built: make ui"
    visits: list[Visit] = []
    async with AsyncExitStack() as stack:

        async def door(
            *,
            transport: str = "direct",
            faults: tuple[Fault, ...] = (),
            speed: float = 20,
            heard: str | None = None,
            expected: tuple[str, ...] = (),
            script: str | None = None,
            local: bool = True,
            embedder: str | None = None,
        ) -> Visit:
            engine = EngineSettings(
                guardrail=guardrail,
                speed=speed,
                faults=faults,
                recogniser=None if heard is None else lambda _: heard,
            )
            engine_url = await stack.enter_async_context(running(engine))
            settings = Settings(
                database_url=SecretStr(service_url),
                jwt_secret=SecretStr(SECRET),
                elevenlabs_api_key=SecretStr("a key"),
                elevenlabs_base_url=engine_url,
                transport=transport,
                cors_origins=[embedder] if embedder else [],
            )
            app = create_app(settings, Surroundings(simulated=True, local=local))
            sock = bind("127.0.0.1", 0, what="the test")
            stack.callback(sock.close)
            house = await stack.enter_async_context(listening(app, sock, grace=1))
            context = await browser.new_context(
                viewport={"width": 390, "height": 844}, locale="en-GB", reduced_motion="reduce"
            )
            stack.push_async_callback(context.close)
            context.set_default_timeout(15_000)
            if script:
                await context.add_init_script(script)
            visit = Visit(await context.new_page(), house.url, SECRET, expected=expected)
            visit.watch()
            visits.append(visit)
            return visit

        yield door
    assert [fault for visit in visits for fault in visit.faults] == []
