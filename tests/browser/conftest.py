"""The talk page in a real Chromium, before a whole Oneiro: PostgreSQL, engine, API and pages on loopback."""

import asyncio
import json
import math
import re
import shutil
import struct
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # It brings no types.
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect
from psycopg import sql
from pydantic import SecretStr

from oneiro.app import Surroundings, create_app, local_dreamer
from oneiro.auth import issue_token
from oneiro.cli.listen import bind, listening
from oneiro.database.embedded import Server
from oneiro.engine.app import running
from oneiro.engine.faults import Fault
from oneiro.engine.settings import EngineSettings
from oneiro.interpreters.agents.stand_in import EngineAddress
from oneiro.relay.limits import Limits
from oneiro.safety.cards import guardrail
from oneiro.settings import Settings
from oneiro.web.pages import STATIC

SHOTS = Path(__file__).parent / "shots"
SIZES = {"390": (390, 844), "1280": (1280, 800)}
EDGES = {"360": (360, 640), "1600": (1600, 900)}
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


READY = re.compile("is (reading|listening)")

# The machine may be busy; what is waited for comes soon or not at all.
expect.set_options(timeout=20_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


def _copy(postgres: Server, template: str, name: str) -> None:
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
        conn.execute(copy)


@pytest.fixture(scope="session")
def template(seeded: str) -> str:
    """Each test gets a copy of it."""
    return seeded


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
    user_id: UUID
    engine: str
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def watch(self) -> None:
        context = self.page.context
        context.on("console", self._console)
        context.on("weberror", lambda error: self.faults.append(f"error: {error.error}"))
        # Also what the service worker asks for.
        context.on("request", lambda request: self._request(request.url))
        self.page.on("websocket", lambda socket: self._request(socket.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(part in message.text for part in self.expected):
            self.faults.append(f"console: {message.text}")

    def _request(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1":
            self.faults.append(f"foreign: {address}")

    def token(self, *, operator: bool = False) -> str:
        """A token as a host application would issue it, for this dreamer or for an operator."""
        who, now = uuid4() if operator else self.user_id, datetime.now(UTC)
        return issue_token(SECRET, user_id=who, operator=operator, ttl=timedelta(hours=1), now=now)

    async def ask(self, method: str, path: str, body: Any = None, *, operator: bool = False) -> Any:
        """The API beside the page, as the same dreamer in another place, or as an operator."""
        headers = {"Authorization": f"Bearer {self.token(operator=operator)}"}
        async with httpx.AsyncClient(base_url=f"{self.url}/v1", headers=headers, trust_env=False, timeout=30) as client:
            answer = await client.request(method, path, json=body)
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    async def strike(self, *faults: Fault) -> None:
        """From now on the platform has these faults."""
        body = {"faults": [fault.model_dump(exclude={"struck"}, exclude_none=True) for fault in faults]}
        async with httpx.AsyncClient(base_url=self.engine, headers={"xi-api-key": "k"}, trust_env=False) as client:
            answer = await client.put("/engine/faults", json=body)
        assert answer.is_success, answer.text

    async def open(self, path: str = "/") -> Page:
        await self.page.goto(self.url + path)
        return self.page

    async def begin(self, name: str = "Carl", *, aloud: bool = False) -> None:
        """From the first page through the consent into the conversation."""
        await self.page.get_by_role("radio", name=name).check()
        await self.page.get_by_role("button", name=f"Speak with {name}" if aloud else "Write instead").click()
        await self.agree()

    async def agree(self) -> None:
        await self.page.get_by_label("The year you were born").fill("1984")
        await self.page.get_by_role("button", name=re.compile("Agree")).click()

    async def say(self, words: str) -> None:
        await self.ready()
        entry = self.page.get_by_label(re.compile("^Write to"))
        await entry.fill(words)
        await entry.press("Enter")

    async def ready(self) -> None:
        await expect(self.page.locator(".state")).to_have_text(READY)

    async def answered(self, times: int) -> None:
        """Until the interpreter has spoken so often, and waits again."""
        await expect(self.page.locator(".line.interpreter:not(.open, .pondering)")).to_have_count(times)
        await self.ready()

    async def end(self) -> None:
        await self.page.get_by_role("button", name="End", exact=True).click()

    async def becomes(self, expression: str) -> None:
        """Until this is true on the page; Playwright's own way to wait for it is what the page's policy forbids."""
        async with asyncio.timeout(20):
            while not await self.page.evaluate(expression):  # noqa: ASYNC110 - the page tells nobody.
                await asyncio.sleep(0.05)

    @property
    def conversation_id(self) -> str:
        return self.page.url.rpartition("/")[2]

    async def look(self, name: str, *, edges: bool = False) -> None:
        """Take a picture at both sizes, and let axe look at one of them: it sees no sizes, only what there is."""
        SHOTS.mkdir(exist_ok=True)
        await self.page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished.catch(() => 0)))")
        for size, (width, height) in (SIZES | EDGES if edges else SIZES).items():
            await self.page.set_viewport_size({"width": width, "height": height})
            await self.page.screenshot(path=SHOTS / f"{name}-{size}.png", full_page="/talk/" not in self.page.url)
            wide = await self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} at {size} is {wide} px too wide"
        found = await Axe().run(self.page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"
        await self.page.set_viewport_size({"width": 390, "height": 844})


@dataclass(frozen=True)
class Plan:
    """How a house is built. Those that have nothing unusual are shared by all tests, each with a dreamer of its own."""

    transport: str = "direct"
    faults: tuple[Fault, ...] = ()
    speed: float = 100
    heard: str | None = None
    local: bool = True
    embedder: str | None = None
    stand_in: bool = False
    guarded: bool = True
    slots: int = 100
    limits: Limits | None = None
    """How long the relay waits."""

    @property
    def usual(self) -> bool:
        return self == Plan(transport=self.transport)


async def _house(stack: AsyncExitStack, plan: Plan, service_url: str) -> tuple[str, str]:
    """Start engine, API and pages; returns the addresses of the pages and of the engine."""
    heard = plan.heard
    engine = EngineSettings(
        guardrail=guardrail if plan.guarded else None,
        speed=plan.speed,
        faults=plan.faults,
        recogniser=None if heard is None else lambda _: heard,
    )
    engine_url = await stack.enter_async_context(running(engine))
    stand_in = None
    if plan.stand_in:
        steady = replace(engine, faults=(), recogniser=None)
        stand_in = EngineAddress(await stack.enter_async_context(running(steady)), "a key")
    settings = Settings(
        database_url=SecretStr(service_url),
        jwt_secret=SecretStr(SECRET),
        elevenlabs_api_key=SecretStr("a key"),
        elevenlabs_base_url=engine_url,
        transport=plan.transport,
        cors_origins=[plan.embedder] if plan.embedder else [],
        max_concurrent_calls=plan.slots,
    )
    app = create_app(settings, Surroundings(simulated=True, local=plan.local, stand_in=stand_in))
    if plan.limits:
        app.state.relay._limits = plan.limits
    sock = bind("127.0.0.1", 0, what="the test")
    stack.callback(sock.close)
    listened = await stack.enter_async_context(listening(app, sock, grace=1, leaving=app.state.tail.close))
    return listened.url, engine_url


Street = Callable[[str], Awaitable[str]]


@pytest.fixture(scope="session")
async def street(postgres: Server, template: str) -> AsyncIterator[Street]:
    """Houses that stand for the whole session, one for each transport; gives their addresses."""
    known: dict[str, str] = {}
    async with AsyncExitStack() as stack:

        async def at(transport: str) -> str:
            if transport not in known:
                known[transport], _ = await _house(stack, Plan(transport=transport), _ground(stack, postgres, template))
            return known[transport]

        yield at


def _ground(stack: AsyncExitStack, postgres: Server, template: str) -> str:
    """A database for one house, gone after the house; its address."""
    name = f"house_{uuid4().hex}"
    _copy(postgres, template, name)
    stack.callback(_drop, postgres, name)
    return postgres.url(name, user="oneiro_service")


def _drop(postgres: Server, name: str) -> None:
    with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
        conn.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


Enter = Callable[..., Awaitable[Visit]]


@pytest.fixture
async def enter(street: Street, browser: Browser, postgres: Server, template: str) -> AsyncIterator[Enter]:
    """Opens the door of a house to a new dreamer; afterwards nothing foreign was met, and nothing broke unnoticed."""
    assert (STATIC / "index.html").is_file(), "the pages are not built: make ui"
    visits: list[Visit] = []
    async with AsyncExitStack() as stack:

        async def door(*, expected: tuple[str, ...] = (), script: str | None = None, **unusual: Any) -> Visit:
            plan = Plan(**unusual)
            engine = ""
            if plan.usual:
                url = await street(plan.transport)
            else:
                url, engine = await _house(stack, plan, _ground(stack, postgres, template))
            context = await browser.new_context(
                viewport={"width": 390, "height": 844}, locale="en-GB", reduced_motion="reduce"
            )
            stack.push_async_callback(context.close)
            context.set_default_timeout(15_000)
            who = uuid4() if plan.usual else local_dreamer()
            visit = Visit(await context.new_page(), url, who, engine, expected=expected)
            if plan.usual:
                await _sign_in(context, visit.token())
            if script:
                await context.add_init_script(script)
            visit.watch()
            visits.append(visit)
            return visit

        yield door
    assert [fault for visit in visits for fault in visit.faults] == []


async def _sign_in(context: BrowserContext, token: str) -> None:
    """In a house that is shared the sign-in of this machine would be the same dreamer for all."""
    await context.add_init_script(f"if (origin !== 'null') sessionStorage['oneiro.token'] ??= {json.dumps(token)};")
