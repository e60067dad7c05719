"""The official JavaScript SDK in a real Chromium, on a page of another origin that is none of ours."""

import json
import math
import shutil
import struct
import wave
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect
from starlette.applications import Starlette
from starlette.staticfiles import StaticFiles
from starlette.types import Message, Receive, Scope, Send

from oneiro.cli.listen import bind, listening

pytestmark = pytest.mark.browser

HEARD = "I dreamed of a red door in the sea"
RATE = 16_000
SOON = 30_000
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
    # Whatever the page or the SDK would ask another host for cannot be found.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """What the microphone hears, over and over: four seconds of silence, a voice-like hum, and a long silence."""
    hum = [
        round(9000 * (0.6 + 0.4 * math.sin(8 * math.pi * at / RATE)) * math.sin(360 * math.pi * at / RATE))
        for at in range(int(1.6 * RATE))
    ]
    samples = [0] * (4 * RATE) + hum + [0] * (60 * RATE)
    place = tmp_path / "hum.wav"
    with wave.open(str(place), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return place


@pytest.fixture
async def browser(spoken: Path) -> AsyncIterator[Browser]:
    """A Chromium of the machine, else Playwright's own, with a microphone that hears a file."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    flags = [*FLAGS, f"--use-file-for-fake-audio-capture={spoken}"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=flags)
        yield browser
        await browser.close()


class Site:
    """Somebody's page, served with the Content-Security-Policy that the how-to names."""

    def __init__(self, files: Path, oneiro: str) -> None:
        self._files = StaticFiles(directory=files, html=True)
        self._policy = f"default-src 'self'; connect-src {oneiro} {oneiro.replace('http', 'ws', 1)}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"content-security-policy", self._policy.encode()))
            await send(message)

        await self._files(scope, receive, with_policy)


class Watched:
    """What the page asked for and sent, and what went wrong on it."""

    def __init__(self, page: Page) -> None:
        self.faults: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.came: list[dict[str, Any]] = []
        page.on("console", lambda message: self.faults.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("request", lambda request: self._address(request.url))
        page.on("websocket", self._socket)

    def _address(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"data", "blob"} and parts.hostname != "127.0.0.1":
            self.faults.append(f"foreign: {url}")

    def _socket(self, socket: Any) -> None:
        self._address(socket.url)
        assert urlsplit(socket.url).path == "/v1/relay"
        socket.on("framesent", lambda raw: self.sent.append(json.loads(raw)))
        socket.on("framereceived", lambda raw: self.came.append(json.loads(raw)))

    def sound(self) -> int:
        """Bytes of speech that came, in base64."""
        return sum(len(frame["audio_event"]["audio_base_64"]) for frame in self.came if frame["type"] == "audio")


async def test_the_javascript_sdk_speaks_and_listens(
    build: Callable[..., Awaitable[Any]],
    bundle: Callable[[str], Path],
    section: Callable[[str], str],
    browser: Browser,
) -> None:
    files = bundle(section("talk-aloud.js"))
    sock = bind("127.0.0.1", 0, what="the test's page")
    place = await build(speed=5, origin=f"http://127.0.0.1:{sock.getsockname()[1]}")
    (files / "oneiro.js").write_text(f"window.oneiro = {json.dumps({'url': place.url, 'token': place.token})};")
    app = Starlette()
    app.mount("/", Site(files, place.url))
    async with listening(app, sock, grace=1) as site:
        page = await browser.new_page()
        watched = Watched(page)
        await page.goto(site.url)
        await page.get_by_role("button", name="Speak").click()
        await expect(page.locator("output")).to_have_text("speaking", timeout=SOON)
        heard = page.locator("li", has_text=f"user: {HEARD}").first
        await expect(heard).to_be_visible(timeout=SOON)
        reply = heard.locator("xpath=following-sibling::li[starts-with(., 'agent: ')]").first
        await expect(reply).to_be_visible(timeout=SOON)
        await page.get_by_role("button", name="End").click()
        await expect(page.locator("output")).to_have_text("closed: user", timeout=SOON)
        await page.close()

    assert watched.faults == []
    assert [frame for frame in watched.sent if "user_audio_chunk" in frame]
    assert watched.sound() > 0
    conversation = await place.ended()
    assert conversation["end_reason"] == "user_ended"
    kept = await place.lines(conversation["conversation_id"])
    # On a busy machine the hum may come in two pieces, or before the greeting has begun, which then is not spoken.
    assert {text for sender, text in kept if sender == "user"} == {HEARD}
    senders = [sender for sender, _ in kept]
    assert "interpreter" in senders[senders.index("user") :]
