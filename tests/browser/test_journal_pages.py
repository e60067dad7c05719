"""The pages around a conversation: journal, export, help, sign-in; by keyboard and by day."""

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from playwright.async_api import expect
from starlette.applications import Starlette
from starlette.responses import HTMLResponse
from starlette.routing import Route

from oneiro.auth import issue_token
from oneiro.cli.listen import bind, listening
from oneiro.web.pages import STATIC

SECRET = "a secret of at least thirty-two bytes"
Enter = Callable[..., Awaitable[Any]]

DREAM = (
    "I dreamed that I was walking beside a black lake at night, and a white owl stood on the water as if on glass. "
    "Suddenly my grandmother waved from the far shore."
)


async def test_a_dream_is_written_down_talked_about_and_deleted(enter: Enter) -> None:
    visit = await enter()
    page = await visit.open()
    await page.get_by_label("Your dream, if you like to write it down first").fill(DREAM)
    await page.get_by_role("button", name="Only keep it in my journal").click()
    await expect(page.locator(".dreamt")).to_have_text(DREAM)
    await visit.look("dream")
    await page.get_by_role("link", name="Talk on about this dream").click()
    await expect(page.get_by_text("About your dream")).to_be_visible()
    await visit.look("home-about-a-dream")
    await visit.begin()
    await visit.answered(1)
    await visit.say("The owl was the strangest of it.")
    await visit.answered(2)
    await visit.end()
    await page.get_by_role("link", name="Read it again").click()
    await page.get_by_role("button", name="Delete this conversation").click()
    await visit.look("deletion")
    await page.get_by_role("button", name="Delete for good").click()
    await expect(page.get_by_role("heading", name="Conversations")).to_have_count(0)
    await page.get_by_role("link", name=re.compile("black lake")).click()
    await page.get_by_role("button", name="Delete this dream").click()
    await page.get_by_role("button", name="Delete for good").click()
    await expect(page.get_by_text("Nothing here yet.")).to_be_visible()
    await visit.look("journal-empty")


async def test_the_keyboard_alone_is_enough(enter: Enter) -> None:
    visit = await enter()
    page = await visit.open()
    await page.get_by_role("radio", name="Carl").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("radio", name="Lakshmi")).to_be_checked()
    for _ in range(3):  # The field, speaking, writing.
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()  # Opening, it puts the focus where it wants it.
    await page.get_by_label("The year you were born").focus()
    await page.keyboard.type("1984")
    await page.keyboard.press("Enter")
    await visit.answered(1)
    await page.keyboard.press("Tab")
    while not await page.evaluate("document.activeElement.matches('textarea')"):
        await page.keyboard.press("Tab")
    await page.keyboard.type(DREAM)
    await page.keyboard.press("Enter")
    await visit.answered(2)
    spoken = page.get_by_role("status")
    await expect(spoken).to_have_text(re.compile("is reading|Lakshmi:"))


async def test_by_day_and_on_the_quiet_pages(enter: Enter) -> None:
    visit = await enter()
    page = await visit.open("/help")
    await expect(page.get_by_role("link", name="Call 116 123")).to_be_visible()
    await visit.look("help")
    await page.get_by_role("button", name="Light for the day").click()
    await visit.look("help-day")
    await visit.open()
    await expect(page.get_by_role("radio")).to_have_count(2)
    await visit.look("home-day")
    await visit.begin("Lakshmi")
    await visit.say(DREAM)
    await visit.answered(2)
    await visit.look("talk-day")


async def test_a_host_app_signs_its_dreamer_in_by_the_fragment(enter: Enter) -> None:
    visit = await enter()
    token = issue_token(SECRET, user_id=uuid4(), ttl=timedelta(hours=1), now=datetime.now(UTC))
    await visit.open()
    page = await visit.open(f"/you?from=app#token={token}")
    await page.get_by_label("What may we call you?").fill("Ines")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved.").first).to_be_visible()
    assert "token" not in page.url
    await page.reload()
    await expect(page.get_by_label("What may we call you?")).to_have_value("Ines")
    await page.evaluate("sessionStorage.clear()")
    await page.reload()
    await expect(page.get_by_label("What may we call you?")).to_have_value("")


HOST_PAGE = """<!doctype html><title>A journal</title><link rel="icon" href="data:," />
<iframe src="{url}/you" allow="microphone" title="Talk"></iframe>
<script>
addEventListener("message", ({{ data, origin, source }}) => {{
  if (origin === "{url}" && data.type === "oneiro.needs_token") {{
    source.postMessage({{ type: "oneiro.token", token: "{token}" }}, origin);
  }}
}});
</script>"""


async def test_a_host_app_signs_its_dreamer_in_by_a_message(enter: Enter) -> None:
    with bind("127.0.0.1", 0, what="the host app") as sock:
        host = f"http://127.0.0.1:{sock.getsockname()[1]}"
        visit = await enter(local=False, embedder=host)
        token = issue_token(SECRET, user_id=uuid4(), ttl=timedelta(hours=1), now=datetime.now(UTC))
        content = HTMLResponse(HOST_PAGE.format(url=visit.url, token=token))
        async with listening(Starlette(routes=[Route("/", lambda _: content)]), sock, grace=1):
            await visit.page.goto(f"{host}/")
            inside = visit.page.frame_locator("iframe")
            await expect(inside.get_by_label("What may we call you?")).to_be_visible()


async def test_without_a_session_the_page_asks_to_be_opened_from_the_app(enter: Enter) -> None:
    visit = await enter(local=False, expected=("404", "401"))
    page = await visit.open("/journal")
    await expect(page.get_by_role("heading", name="Please sign in")).to_be_visible()
    await visit.look("signed-out")


def test_the_scripts_of_the_page_are_small() -> None:
    packed = [path.stat().st_size for path in (STATIC / "assets").glob("*.js.gz")]
    assert packed
    assert sum(packed) <= 60 * 1024


# The browser tells of a paint a moment after it.
FIRST_PAINT = """
    () => new Promise((told) => new PerformanceObserver((list) => {
        const [first] = list.getEntriesByName("first-contentful-paint");
        if (first) told(first.startTime);
    }).observe({ type: "paint", buffered: true }))
"""


async def test_the_first_words_stand_there_within_a_second(enter: Enter) -> None:
    visit = await enter()
    painted = []
    for _ in range(4):  # The machine may be busy; the page is not to blame for that.
        page = await visit.open("/help")
        await expect(page.get_by_role("heading", name="People who listen")).to_be_visible()
        painted.append(await page.evaluate(FIRST_PAINT))
    assert min(painted) <= 1000
