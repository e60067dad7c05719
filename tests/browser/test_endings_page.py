"""What a dreamer meets when a line is refused, rests, breaks, or the conversation ends without her."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import expect

from oneiro.engine.faults import Close, Status
from oneiro.relay.limits import Limits

Enter = Callable[..., Awaitable[Any]]

REFUSED = "Asking for a new one"
STUMBLED = "stumbled on our side"
PAUSED = "A short pause on our side"
CROWDED = "Many people are talking just now"
SOCKET = ("WebSocket",)


@pytest.mark.parametrize(("code", "words"), [(1008, REFUSED), (1011, STUMBLED), (1012, PAUSED), (1013, CROWDED)])
async def test_a_closed_line_says_why_and_is_found_again(enter: Enter, code: int, words: str) -> None:
    visit = await enter(faults=(Close(kind="close", frame=4, code=code, times=1),), expected=SOCKET)
    page = await visit.open()
    # What stands there only for a moment is noted as it comes.
    await page.evaluate("""
        window.whispers = [];
        new MutationObserver(() => whispers.push(document.querySelector(".whisper")?.textContent ?? ""))
          .observe(document.body, { subtree: true, childList: true, characterData: true });
    """)
    await visit.begin()
    await expect(page.locator(".whisper")).to_have_text("The line is back.")
    assert any(words in whisper for whisper in await page.evaluate("whispers"))
    await visit.say("The owl looked at me.")
    await expect(page.locator(".line.user")).to_have_count(1)


async def test_when_every_place_is_taken_the_dream_is_kept(enter: Enter) -> None:
    visit = await enter(slots=1, expected=("429",))
    await visit.ask("POST", "/conversations", {"interpreter_id": "carl", "text_only": True})
    page = await visit.open()
    await page.get_by_label("Your dream, if you like to write it down first").fill("I was late for a ship.")
    await visit.begin()
    await expect(page.get_by_role("alert")).to_contain_text("Your dream is safe")
    await visit.look("home-crowded")


async def test_what_the_platform_refuses_under_the_relay_ends_kindly(enter: Enter) -> None:
    visit = await enter(
        transport="relay", faults=(Close(kind="close", frame=12, code=1008),), expected=(*SOCKET, "409")
    )
    page = await visit.open()
    await visit.begin()
    await expect(page.get_by_role("heading", name="It was cut short")).to_be_visible()
    await expect(page.get_by_text("It was broken off by a fault of ours.")).to_be_visible()
    await expect(page.get_by_role("heading", name="How was it")).to_have_count(0)
    await visit.look("after-a-fault")


async def test_while_the_voice_is_away_one_writes_and_is_told(enter: Enter) -> None:
    visit = await enter(transport="relay", stand_in=True, faults=(Status(kind="status", status=503),))
    page = await visit.open()
    await visit.begin(aloud=True)
    await expect(page.locator(".whisper")).to_contain_text("The voice is away for a while, so we write.")
    await visit.answered(1)
    await expect(page.get_by_role("button", name="Mute")).to_have_count(0)
    await visit.look("talk-degraded")
    await visit.say("There was a staircase that only went down.")
    await visit.answered(2)
    talk = await visit.ask("GET", f"/conversations/{visit.conversation_id}")
    assert talk["degraded"]


# Notes every microphone that the page was given, so that a test can ask which of them are still open.
NOTED = """
window.microphones = [];
const given = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wish) => {
  const stream = await given(wish);
  microphones.push(...stream.getTracks());
  return stream;
};
"""
OPEN = "microphones.filter((track) => track.readyState === 'live').length"


async def test_a_voice_that_goes_away_in_the_middle_goes_on_in_writing(enter: Enter) -> None:
    """The agent is known, so the start succeeds; only the relay finds that the platform is away."""
    # A resume may come before the pause is written.
    visit = await enter(transport="relay", stand_in=True, speed=1, script=NOTED, expected=("409",))
    page = await visit.open()
    await visit.begin()
    await visit.answered(1)
    await visit.end()
    await expect(page.get_by_role("heading", name="Thank you for telling it")).to_be_visible()
    await visit.strike(Status(kind="status", status=503))
    await visit.open()
    await page.get_by_role("button", name="Speak with Carl").click()
    await page.get_by_role("button", name=re.compile("Agree")).click()
    await expect(page.locator(".whisper")).to_contain_text("so we write")
    await visit.answered(1)
    await expect(page.get_by_role("button", name="Mute")).to_have_count(0)
    # The microphone is given back, not only muted; and taken again with the voice.
    assert await page.evaluate("microphones.length") > 0
    await visit.becomes(f"{OPEN} === 0")
    await visit.strike()
    await page.get_by_role("button", name="Pause").click()
    await page.get_by_role("button", name="Go on").click()
    await expect(page.get_by_role("button", name="Mute")).to_be_enabled()
    await visit.becomes(f"{OPEN} === 1")
    await visit.end()
    await expect(page.get_by_role("heading", name="Thank you for telling it")).to_be_visible()
    await visit.becomes(f"{OPEN} === 0")


async def test_a_long_silence_closes_softly_and_says_so(enter: Enter) -> None:
    visit = await enter(transport="relay", limits=Limits(silence_written=1.5, farewell=8))
    page = await visit.open()
    await visit.begin()
    await visit.answered(1)
    parting = page.get_by_role("complementary", name="About to close")
    await expect(parting).to_contain_text("It has been quiet for a while")
    await visit.look("talk-parting")
    await expect(page.get_by_role("heading", name="Thank you for telling it")).to_be_visible()
    await expect(page.get_by_text("It closed by itself")).to_be_visible()


@pytest.mark.parametrize("transport", ["direct", "relay"])
async def test_a_conversation_that_ends_elsewhere_is_told_while_it_rests(enter: Enter, transport: str) -> None:
    visit = await enter(transport=transport, expected=("409",))  # Its own pause may come too late.
    page = await visit.open()
    await visit.begin()
    await visit.answered(1)
    await page.get_by_role("button", name="Pause").click()
    await expect(page.locator(".state")).to_contain_text("Resting.")
    await visit.ask("POST", f"/conversations/{visit.conversation_id}/end", {})
    await expect(page.get_by_role("heading", name="Thank you for telling it")).to_be_visible()


@pytest.mark.parametrize("transport", ["direct", "relay"])
async def test_a_conversation_that_ends_elsewhere_is_told_while_it_goes_on(enter: Enter, transport: str) -> None:
    visit = await enter(transport=transport)
    page = await visit.open()
    await visit.begin()
    await visit.answered(1)
    await visit.ask("POST", f"/conversations/{visit.conversation_id}/end", {})
    await expect(page.get_by_role("heading", name="Thank you for telling it")).to_be_visible()


async def test_a_conversation_that_goes_on_in_another_window_is_not_ended_by_the_first(enter: Enter) -> None:
    visit = await enter(transport="relay")
    page = await visit.open()
    await visit.begin()
    await visit.say("I was in a tower without stairs.")
    await visit.answered(2)
    other = await page.context.new_page()
    await other.goto(page.url)
    await expect(other.locator(".line.user")).to_have_text(re.compile("tower without stairs"))
    await expect(page.locator(".state")).to_contain_text("This goes on in another window")
    await visit.look("talk-elsewhere")
    talk = await visit.ask("GET", f"/conversations/{visit.conversation_id}")
    assert talk["status"] == "active"
    await page.get_by_role("button", name="Go on here").click()
    await visit.ready()
    await expect(other.locator(".state")).to_contain_text("This goes on in another window")


async def test_a_stream_that_cannot_be_had_is_not_asked_for_without_end(enter: Enter) -> None:
    visit = await enter(expected=("503", "429", "ERR_"), script=HASTE)
    page = await visit.open()
    await visit.begin()
    await visit.answered(1)
    asked = 0

    async def refuse(route: Any) -> None:
        nonlocal asked
        asked += 1
        await route.fulfill(status=503, json={"code": "platform_unavailable", "detail": "Not now."})

    await page.context.route(re.compile("/events$"), refuse)
    await page.get_by_role("button", name="Pause").click()
    await page.reload()
    await expect(page.get_by_role("button", name="Pause")).to_be_enabled()
    await page.get_by_role("button", name="Pause").click()
    async with asyncio.timeout(20):
        while asked < BOUND:
            await page.wait_for_timeout(50)
    await page.wait_for_timeout(500)
    assert asked == BOUND


# Waits of the page take a thousandth of their time.
HASTE = "const wait = setTimeout; window.setTimeout = (does, ms, ...more) => wait(does, ms / 1000, ...more);"
BOUND = 6
# Within this the fake microphone has hummed twice: a slow machine may miss the first time.
HEARD_MS = 60_000


async def test_a_reply_that_is_held_back_in_danger_is_not_silence(enter: Enter) -> None:
    visit = await enter(transport="relay", speed=1, guarded=False, heard="I want to kill myself tonight")
    page = await visit.open()
    await visit.begin(aloud=True)
    card = page.get_by_role("region", name="Your safety comes first, right now")
    await expect(card).to_be_visible(timeout=HEARD_MS)
    await expect(page.locator(".line.interpreter").last).to_contain_text("please call 999")
    await visit.look("talk-card-aloud")
