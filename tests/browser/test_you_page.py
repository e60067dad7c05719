"""What is hers: to take along, to delete for good, and what comes back in her nights."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import psycopg
from playwright.async_api import expect

from oneiro.database.embedded import Server

Enter = Callable[..., Awaitable[Any]]

NIGHTS = (
    "I stood beside a black lake and was afraid of the water. My grandmother waved.",
    "The lake again, frozen this time. I was afraid, and a white owl watched me.",
    "An owl flew through my childhood house. My grandmother opened the window.",
)


async def test_everything_can_be_taken_along_and_then_deleted(enter: Enter) -> None:
    visit = await enter()
    for text in NIGHTS:
        await visit.ask("POST", "/dreams", {"content": text})
    page = await visit.open("/you")
    await visit.look("you", edges=True)
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Download everything").click()
    taken = json.loads((await (await download.value).path()).read_text())
    assert sorted(dream["content"] for dream in taken["dreams"]) == sorted(NIGHTS)

    await page.get_by_role("button", name="Delete everything").click()
    final = page.get_by_role("button", name="Delete everything for good")
    await expect(final).to_be_disabled()
    await page.get_by_role("button", name="Keep everything").click()
    await expect(final).to_have_count(0)
    assert len((await visit.ask("GET", "/dreams"))["items"]) == len(NIGHTS)

    await page.get_by_role("button", name="Delete everything").click()
    await page.get_by_label("I know that it cannot be brought back.").check()
    await visit.look("erasing")
    await final.click()
    await expect(page.get_by_role("heading", name="Everything is deleted")).to_be_visible()
    await visit.look("erased")
    assert (await visit.ask("GET", "/dreams"))["items"] == []
    left = await page.evaluate("Object.keys(localStorage).filter((key) => key.startsWith('oneiro.'))")
    assert left == ["oneiro.theme"]


def _houses(postgres: Server) -> list[str]:
    """The databases of all houses that stand, in one of which she is."""
    with psycopg.connect(postgres.admin_url) as conn:
        names = conn.execute("SELECT datname FROM pg_database WHERE datname LIKE 'house_%'").fetchall()
    return [postgres.url(name) for (name,) in names]


def _put_nights_between(postgres: Server, user_id: UUID) -> None:
    """As if each dream but the last had been told three nights before the next, in whichever house she is."""
    for url in _houses(postgres):
        with psycopg.connect(url) as conn:
            conn.execute(
                "UPDATE dreams SET created_at = dreams.created_at - told.back * interval '3 days' FROM (SELECT id,"
                " row_number() OVER (ORDER BY created_at DESC) - 1 AS back FROM dreams WHERE user_id = %s) AS told"
                " WHERE dreams.id = told.id",
                (user_id,),
            )


async def test_what_comes_back_in_her_nights_leads_to_the_dreams(enter: Enter, postgres: Server) -> None:
    visit = await enter()
    await visit.ask("POST", "/dreams", {"content": NIGHTS[0]})
    page = await visit.open("/journal")
    nights = page.get_by_role("region", name="Your nights")
    await expect(nights).to_contain_text("Nothing has come back yet.")
    await visit.look("nights-empty")
    for text in NIGHTS[1:]:
        await visit.ask("POST", "/dreams", {"content": text})
    _put_nights_between(postgres, visit.user_id)
    await page.reload()
    await expect(nights.get_by_role("heading", name="Images")).to_be_visible()
    owl = nights.locator("details", has_text="owl")
    await expect(owl).to_contain_text("2 nights")
    await owl.locator("summary").click()
    await visit.look("nights", edges=True)
    await owl.get_by_role("link").first.click()
    await expect(page.locator(".dreamt")).to_contain_text("An owl flew through")


async def test_nights_too_old_to_be_read_are_told_of(enter: Enter, postgres: Server) -> None:
    visit = await enter()
    await visit.ask("POST", "/dreams", {"content": NIGHTS[0]})
    for url in _houses(postgres):
        with psycopg.connect(url) as conn:
            conn.execute(
                "INSERT INTO dreams (user_id, content, created_at) SELECT user_id, 'A long corridor.', created_at -"
                " n * interval '1 day' FROM dreams, generate_series(1, 302) AS n WHERE user_id = %s",
                (visit.user_id,),
            )
    page = await visit.open("/journal")
    nights = page.get_by_role("region", name="Your nights")
    await expect(nights).to_contain_text("Only the latest were read; 3 older ones were not.")


async def test_whoever_uses_keys_stays_where_she_was(enter: Enter) -> None:
    visit = await enter()
    dream = await visit.ask("POST", "/dreams", {"content": NIGHTS[0]})
    page = await visit.open("/journal")
    await page.get_by_role("link", name=re.compile("black lake")).press("Enter")
    await expect(page.get_by_role("main", name="A dream")).to_be_focused()
    delete = page.get_by_role("button", name="Delete this dream")
    await delete.press("Enter")
    await expect(page.get_by_role("group", name="Delete this dream")).to_be_focused()
    await page.get_by_role("button", name="Keep").press("Enter")
    await expect(delete).to_be_focused()
    await page.get_by_role("button", name="Change").press("Enter")
    await expect(page.get_by_role("heading", name="Change the dream")).to_be_focused()
    await page.get_by_role("button", name="Leave it as it was").press("Enter")
    await expect(page.get_by_role("heading", name="A dream")).to_be_focused()
    assert page.url.endswith(dream["id"])


async def test_the_year_of_birth_is_asked_once_and_kept(enter: Enter) -> None:
    visit = await enter()
    page = await visit.open()
    await page.get_by_role("button", name="Write instead").click()
    await page.get_by_label("The year you were born").fill("2019")
    await expect(page.get_by_role("alert")).to_contain_text("This place is for grown-ups")
    await expect(page.get_by_role("button", name="Agree and begin")).to_be_disabled()
    await visit.look("consent-young")
    await page.get_by_label("The year you were born").fill("1984")
    await page.get_by_role("button", name="Agree and begin").click()
    await visit.answered(1)
    known = await visit.ask("GET", "/me")
    assert (known["birth_year"], known["region"]) == (1984, "GB")


async def test_a_region_that_she_chose_is_the_one_of_every_help_line(enter: Enter) -> None:
    visit = await enter()
    page = await visit.open("/you")
    await page.get_by_label("Help lines for").select_option("DE")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved.").first).to_be_visible()
    await visit.open("/help")
    await expect(page.get_by_label("Where you are")).to_have_value("DE")
    await visit.open()
    await visit.begin()
    await visit.say("I want to kill myself tonight")
    await expect(page.get_by_role("link", name=re.compile("Emergency services: 112"))).to_be_visible()
