"""Another interpreter's colours, a page without a connection, and that nobody else is asked for anything."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import expect

Enter = Callable[..., Awaitable[Any]]

SIGMUND = {
    "id": "sigmund",
    "name": "Sigmund",
    "full_name": "Dr. Sigmund Freud",
    "description": "Neurologist of Vienna, founder of psychoanalysis",
    # As hard to read as can be, at night and by day.
    "appearance": {"accent": "#3b1f14", "glow": "#ffe7c4", "tagline": "And what comes to your mind with that?"},
    "personality": {"approach": "freudian", "traits": ["patient", "curious"], "expertise": ["free_association"]},
    "prompts": [
        {"type": "system", "name": "default", "template": "You are {{ interpreter.name }}."},
        {"type": "greeting", "name": "default", "template": "Good evening. Please, lie down, and say what comes."},
    ],
}


async def test_a_third_interpreter_looks_right_without_a_build(enter: Enter) -> None:
    visit = await enter(speed=50)
    await visit.ask("POST", "/admin/interpreters", {"document": SIGMUND, "activate": True}, operator=True)
    page = await visit.open()
    await page.get_by_role("radio", name="Sigmund").check()
    await expect(page.get_by_text("And what comes to your mind with that?")).to_be_visible()
    await visit.look("home-sigmund", edges=True)
    await visit.begin("Sigmund")
    await visit.answered(1)
    await visit.look("talk-sigmund")
    await visit.open()
    await page.get_by_role("button", name="Light for the day").click()
    await visit.look("home-sigmund-day")


async def test_without_a_connection_there_is_still_a_page(enter: Enter) -> None:
    visit = await enter(expected=("ERR_",))
    page = await visit.open()
    await page.evaluate("navigator.serviceWorker.ready.then(() => null)")
    await page.context.set_offline(True)
    await page.goto(f"{visit.url}/journal")
    await expect(page.get_by_role("heading", name="The connection is away")).to_be_visible()
    await visit.look("offline")
    await page.context.set_offline(False)
    await page.get_by_role("link", name="Try again").click()
    await expect(page.get_by_role("heading", name="Tell me your dream")).to_be_visible()


@pytest.mark.parametrize(
    "asks",
    [
        "fetch('https://elsewhere.example/').catch(() => null)",
        "new Promise((done) => { Object.assign(new Image(), { onerror: done, src: 'https://elsewhere.example/i' }); })",
        "new Promise((done) => { new WebSocket('wss://elsewhere.example/').onerror = done; }).catch(() => null)",
    ],
)
async def test_a_page_that_asked_another_host_would_be_noticed(enter: Enter, asks: str) -> None:
    visit = await enter()
    page = await visit.open()
    await page.evaluate(asks)
    assert any("elsewhere.example" in fault for fault in visit.faults)
    visit.faults.clear()
