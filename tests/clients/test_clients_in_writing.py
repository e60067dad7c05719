"""The official SDKs in writing, by the how-to's own programs in processes of their own."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

DREAM = "I dreamt that a swan carried my house across a river."
Run = Callable[..., Awaitable[Any]]
Section = Callable[[str], str]


@pytest.fixture
async def talk(run: Run, place: Any, section: Section, node: Path, modules: Path) -> Any:
    """`talk.mjs` of the how-to, running."""
    (modules / "talk.mjs").write_text(section("talk.mjs"), "utf-8")
    return await run(place, node, modules / "talk.mjs")


async def test_the_javascript_sdk_in_node_talks_and_ends(talk: Any, place: Any) -> None:
    opening = await talk.until("agent: ")
    await talk.say(DREAM)
    reply = await talk.until("agent: ")

    assert await talk.end() == 0
    assert talk.printed[-1] == "closed: user"
    conversation = await place.ended()
    assert (conversation["end_reason"], conversation["interpreter_id"]) == ("user_ended", "carl")
    assert await place.lines(conversation["conversation_id"]) == [
        ("interpreter", opening),
        ("user", DREAM),
        ("interpreter", reply),
    ]


async def test_a_line_of_danger_shows_the_card_and_the_conversation_goes_on(talk: Any, place: Any) -> None:
    await talk.until("agent: ")
    await talk.say("I want to kill myself tonight.")
    card = await talk.until("card: ")
    answered = await talk.until("agent: ")
    await talk.say("I am with my sister now.")
    await talk.until("agent: ")

    assert await talk.end() == 0
    assert card.startswith("Your safety comes first, right now.")
    assert "safe" in answered
    conversation = await place.ended()
    assert (conversation["safety_tier"], conversation["end_reason"]) == ("active_danger", "user_ended")
    assert len(await place.lines(conversation["conversation_id"])) == 5


async def test_a_platform_that_breaks_away_closes_with_1012_and_the_program_resumes(talk: Any, place: Any) -> None:
    await talk.until("agent: ")
    await talk.say(DREAM)
    await talk.until("agent: ")
    await place.restart_engine()
    assert await talk.until("closed: ") == "1012"
    going_on = await talk.until("agent: ")
    await talk.say("The swan looked at me.")
    await talk.until("agent: ")

    assert await talk.end() == 0
    conversation = await place.ended()
    assert (conversation["connection_count"], conversation["end_reason"]) == (2, "user_ended")
    lines = await place.lines(conversation["conversation_id"])
    assert [sender for sender, _ in lines] == ["interpreter", "user", "interpreter"] * 2
    assert lines[3] == ("interpreter", going_on)
    assert going_on != lines[0][1]


async def test_the_python_sdk_talks_and_ends(run: Run, place: Any, section: Section, tmp_path: Path) -> None:
    program = tmp_path / "talk.py"
    program.write_text(section("talk.py"), "utf-8")
    talk = await run(place, sys.executable, program)
    opening = await talk.until("agent: ")
    await talk.say(DREAM)
    reply = await talk.until("agent: ")

    assert await talk.end() == 0
    conversation = await place.ended()
    assert conversation["end_reason"] == "user_ended"
    assert await place.lines(conversation["conversation_id"]) == [
        ("interpreter", opening),
        ("user", DREAM),
        ("interpreter", reply),
    ]
