"""Takes the pictures of the README from the running product: `make pictures`.

A whole Oneiro in a directory of its own, on the engine, with a dreamer who tells what is written here.
"""  # noqa: INP001 - a program, no package.

import asyncio
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from palette import shrink
from playwright.async_api import Browser, Page, async_playwright, expect

from oneiro.app import local_dreamer
from oneiro.cli.stack import Stack, local_stack
from oneiro.settings import Settings

HERE = Path(__file__).parent
PHONE, DESK = (390, 844), (1280, 800)
SPEED = 50
FLAGS = ("--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1")
# Days ago, and the dream.
NIGHTS = (
    (24, "I was walking along the sea with my grandmother. An owl flew over the waves, and I was calm."),
    (17, "A house by the sea, with one room too many. I was afraid to open the door."),
    (9, "The owl sat in the kitchen of my childhood house. My grandmother laughed at it."),
    (3, "I swam out, and the sea was warm. There was a door standing in the water."),
)
TONIGHT = "I found a door in the sea. Behind it my grandmother was pouring tea, and the water waited outside."

# The machine may be busy with other things.
expect.set_options(timeout=60_000)


async def take() -> None:
    """Take them all."""
    with tempfile.TemporaryDirectory(prefix="oneiro-pictures-") as made:
        settings = Settings(data_dir=_open(Path(made)) / "data")
        async with local_stack(settings, port=0, speed=SPEED) as stack, async_playwright() as playwright:
            chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
            browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            await _visit(browser, stack)
            await browser.close()


def _open(place: Path) -> Path:
    """As root, PostgreSQL runs as another account, which has to pass."""
    place.chmod(0o711)
    return place


async def _visit(browser: Browser, stack: Stack) -> None:
    context = await browser.new_context(locale="en-GB", reduced_motion="reduce")
    page = await context.new_page()
    await page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    await page.goto(stack.api_url)
    await expect(page.get_by_role("radio")).to_have_count(2)
    await _keep(page, "arriving")
    await page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    await _talk(page)
    await _keep(page, "talking")
    _remember(stack)
    await page.goto(f"{stack.api_url}/journal")
    owl = page.locator("details", has_text="owl")
    await owl.locator("summary").click()
    await page.get_by_role("heading", name="Your nights").evaluate("it => scrollTo(0, it.offsetTop - 24)")
    await _keep(page, "nights")


async def _talk(page: Page) -> None:
    await page.get_by_role("radio", name="Lakshmi").check()
    await page.get_by_role("button", name="Write instead").click()
    await page.get_by_label("The year you were born").fill("1984")
    await page.get_by_role("button", name="Agree and begin").click()
    said = page.locator(".line.interpreter:not(.open, .pondering)")
    await expect(said).to_have_count(1)
    entry = page.get_by_label("Write to Lakshmi")
    await entry.fill(TONIGHT)
    await entry.press("Enter")
    await expect(said).to_have_count(2)
    await expect(page.locator(".state")).to_have_text("Lakshmi is reading")
    await entry.blur()


def _remember(stack: Stack) -> None:
    """Dreams of other nights; the API knows no dream but today's."""
    with psycopg.connect(stack.database_url, autocommit=True) as conn:
        conn.execute("SET ROLE service_role")
        for days, dream in NIGHTS:
            then = datetime.now(UTC) - timedelta(days=days)
            conn.execute(
                "INSERT INTO dreams (user_id, content, created_at) VALUES (%s, %s, %s)", (local_dreamer(), dream, then)
            )


async def _keep(page: Page, name: str) -> None:
    await page.evaluate("Promise.all(document.getAnimations().map((one) => one.finished.catch(() => 0)))")
    picture = shrink(await page.screenshot())
    (HERE / f"{name}.png").write_bytes(picture)


if __name__ == "__main__":
    asyncio.run(take())
