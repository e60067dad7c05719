"""A dreamer's way through the page, as she takes it."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import expect

from oneiro.engine.faults import Drop, Status

Enter = Callable[..., Awaitable[Any]]

DREAM = (
    "I dreamed that I was walking beside a black lake at night, and a white owl stood on the water as if on glass. "
    "Suddenly my grandmother waved from the far shore."
)

# Within this the fake microphone has hummed twice: a slow machine may miss the first time.
HEARD_MS = 60_000

NO_MICROPHONE = """
navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException("no", "NotAllowedError"));
"""


@pytest.mark.parametrize("transport", ["direct", "relay"])
async def test_a_written_dream_goes_from_the_first_word_into_the_journal(enter: Enter, transport: str) -> None:
    visit = await enter(transport=transport)
    page = await visit.open()
    shown = transport == "direct"
    await expect(page.get_by_role("heading", name="Tell me your dream")).to_be_visible()
    await expect(page.get_by_role("radio")).to_have_count(2)
    await expect(page.get_by_text("Demo", exact=True)).to_be_visible()
    if shown:
        await visit.look("home", edges=True)
    await page.get_by_role("radio", name="Lakshmi").check()
    await page.get_by_role("button", name="Write instead").click()
    if shown:
        await visit.look("consent")
    await visit.agree()
    await visit.answered(1)
    await expect(page.get_by_text("You are talking with Lakshmi, an AI")).to_be_visible()
    await expect(page.get_by_text("Demo", exact=True)).to_be_visible()
    await visit.say(DREAM)
    await visit.answered(2)
    if shown:
        await visit.look("talk-written", edges=True)
    await visit.end()

    await expect(page.get_by_role("heading", name="What was said")).to_be_visible()
    await expect(page.locator(".images")).to_contain_text("owl")
    await expect(page.get_by_label("Dream", exact=True)).to_have_value(DREAM)
    await page.get_by_role("radio", name="4 of 5").check()
    if shown:
        await visit.look("after")
    await expect(page.locator(".stars .lit")).to_have_count(4)
    await page.get_by_label("A word, if you like").fill("The owl stayed with me.")
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_text("Thank you. Very good")).to_be_visible()
    await page.get_by_role("button", name="Keep it").click()
    await expect(page.get_by_text("It is in your journal.")).to_be_visible()

    await page.get_by_role("link", name="Journal").last.click()
    await expect(page.locator("section", has_text="Dreams").locator(".shelf li")).to_have_count(1)
    if shown:
        await visit.look("journal", edges=True)
    await page.get_by_role("link", name=re.compile("With Lakshmi")).click()
    await expect(page.locator(".line.user")).to_have_text(re.compile("white owl"))
    await expect(page.locator(".line.interpreter")).to_have_count(2)
    await expect(page.get_by_role("radio", name="4 of 5")).to_be_checked()
    if shown:
        await visit.look("conversation")


async def test_a_spoken_conversation_is_interrupted_heard_and_answered(enter: Enter) -> None:
    visit = await enter(speed=1, heard="I dreamed of a red door in the sea")
    page = await visit.open()
    await page.get_by_role("button", name="Speak with Carl").click()
    await visit.look("consent-voice")
    async with page.expect_response(re.compile("/v1/conversations$")) as start:
        await visit.agree()
    whole = (await (await start.value).json())["opening"]
    await expect(page.locator(".state")).to_contain_text("Carl is speaking")
    await expect(page.locator(".line.user")).to_have_text(re.compile("red door in the sea"), timeout=HEARD_MS)
    await expect(page.locator(".line.user ~ .line.interpreter:not(.pondering)")).to_have_count(1)
    await expect(page.locator(".state")).to_contain_text("Carl is speaking")
    # First of all: a reply does not last for ever, and pictures take their time.
    await page.get_by_role("button", name="Be quiet for now").click()
    await expect(page.get_by_role("button", name="Be quiet for now")).to_have_count(0)
    # The greeting was cut where the dreamer began to speak; on a slow machine before its first word.
    await expect(page.locator(".line.interpreter", has_text=whole)).to_have_count(0)
    await visit.look("talk-aloud")
    mute = page.get_by_role("button", name="Mute")
    await mute.click()
    await expect(page.get_by_role("button", name="Unmute")).to_be_visible()
    await expect(page.get_by_role("status")).to_contain_text("Your microphone is closed")
    await visit.end()
    await expect(page.get_by_label("Dream", exact=True)).to_have_value(re.compile("red door"))


async def test_a_long_reply_is_read_from_its_beginning(enter: Enter) -> None:
    visit = await enter()
    page = await visit.open()
    await page.set_viewport_size({"width": 390, "height": 560})
    await visit.begin()
    for times in (2, 3):
        await visit.say(DREAM)
        await visit.answered(times)
        first = page.locator(".line.interpreter").last.locator(".who")
        await expect(first).to_be_in_viewport()
        # Without being told, she sees that there is more below, and gets there.
        await page.get_by_role("button", name="To the newest words").click()
        await expect(page.get_by_role("button", name="To the newest words")).to_have_count(0)


async def test_without_a_microphone_one_writes(enter: Enter) -> None:
    visit = await enter(script=NO_MICROPHONE)
    page = await visit.open()
    await visit.begin(aloud=True)
    await expect(page.locator(".whisper")).to_contain_text("keeps the microphone closed, so we write")
    await visit.answered(1)
    await visit.look("talk-without-microphone")
    await visit.say(DREAM)
    await visit.answered(2)


@pytest.mark.parametrize("transport", ["direct", "relay"])
async def test_a_reload_finds_the_conversation_and_the_unsent_words_again(enter: Enter, transport: str) -> None:
    visit = await enter(transport=transport)
    page = await visit.open()
    await visit.begin()
    await visit.say(DREAM)
    await visit.answered(2)
    await page.get_by_label("Write to Carl").fill("and then I")
    await page.reload()
    await expect(page.locator(".line.user")).to_have_text(re.compile("white owl"))
    await expect(page.get_by_label("Write to Carl")).to_have_value("and then I")
    await visit.say("and then I woke up")
    await expect(page.locator(".line.user")).to_have_count(2)
    await expect(page.locator(".line.interpreter").last).to_be_visible()


@pytest.mark.parametrize("transport", ["direct", "relay"])
async def test_a_broken_line_is_found_again_by_itself(enter: Enter, transport: str) -> None:
    visit = await enter(transport=transport, faults=(Drop(kind="drop", frame=9, times=1),), expected=("WebSocket",))
    page = await visit.open()
    await visit.begin()
    await expect(page.locator(".whisper")).to_have_text("The line is back.")
    await visit.ready()
    await visit.look("talk-back")
    await visit.say("The owl looked at me.")
    await expect(page.locator(".line.interpreter").last).to_be_visible()


async def test_a_spoken_conversation_asks_for_a_hand_after_a_reload(enter: Enter) -> None:
    visit = await enter(speed=1)
    page = await visit.open()
    await visit.begin(aloud=True)
    await expect(page.locator(".state")).to_contain_text(re.compile("Carl is (speaking|listening)"))
    await page.reload()
    await expect(page.get_by_role("heading", name="You were in the middle of a conversation")).to_be_visible()
    await visit.look("threshold")
    await page.get_by_role("button", name="Go on in writing").click()
    await expect(page.locator(".state")).to_contain_text("Carl is reading")


async def test_resting_and_going_on(enter: Enter) -> None:
    visit = await enter()
    page = await visit.open()
    await visit.begin()
    await visit.answered(1)
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator(".state")).to_contain_text("Resting.")
    await visit.look("talk-resting")
    await page.get_by_role("button", name="Go on").click()
    await visit.ready()
    await visit.say(DREAM)
    await expect(page.locator(".line.user")).to_have_count(1)


async def test_whoever_leaves_is_not_listened_to_and_finds_the_way_back(enter: Enter) -> None:
    visit = await enter()
    page = await visit.open()
    await visit.begin()
    await visit.say(DREAM)
    await visit.answered(2)
    await page.get_by_role("link", name="Back, and let this conversation rest").click()
    await expect(page.get_by_role("heading", name="Tell me your dream")).to_be_visible()
    await page.reload()
    await page.get_by_role("link", name="Go on where you stopped").click()
    await expect(page.locator(".line.user")).to_have_text(re.compile("white owl"))
    await visit.ready()


async def test_while_the_platform_is_down_the_dream_is_kept(enter: Enter) -> None:
    visit = await enter(faults=(Status(kind="status", status=503),), expected=("503",))
    page = await visit.open()
    await page.get_by_label("Your dream, if you like to write it down first").fill(DREAM)
    await page.reload()
    await expect(page.get_by_label("Your dream, if you like to write it down first")).to_have_value(DREAM)
    await visit.begin()
    await expect(page.get_by_role("alert")).to_contain_text("Your dream is safe")
    await visit.look("platform-down")
    await page.get_by_role("link", name="Open the journal").click()
    await page.get_by_role("link", name=re.compile("black lake")).click()
    await expect(page.get_by_text("Suddenly my grandmother waved")).to_be_visible()


@pytest.mark.parametrize("transport", ["direct", "relay"])
async def test_words_of_danger_bring_the_card_and_hang_up_on_nobody(enter: Enter, transport: str) -> None:
    visit = await enter(transport=transport)
    page = await visit.open()
    await visit.begin()
    await visit.say("I want to kill myself tonight")
    card = page.get_by_role("region", name="Your safety comes first, right now")
    await expect(card).to_be_visible()
    await expect(card.get_by_role("link", name="Call 999")).to_have_attribute("href", "tel:999")
    await expect(page.get_by_role("button", name="End", exact=True)).to_be_visible()
    await visit.answered(2)
    near = page.get_by_role("link", name="Emergency services: 999")
    await expect(near).to_be_in_viewport()
    if transport == "direct":
        await visit.look("talk-card")
    await visit.say("I am safe now")
    await visit.answered(3)
    await card.get_by_role("button", name="Put this aside").click()
    await expect(card).to_have_count(0)
    await expect(page.get_by_role("link", name="Help lines")).to_be_visible()
