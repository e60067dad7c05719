from oneiro.conversations.continuing import opening, story
from oneiro.conversations.models import Sender

LINES: list[tuple[Sender, str]] = [
    ("interpreter", "Welcome. What did you dream?"),
    ("user", "A heron folded the lake into envelopes."),
    ("interpreter", "What does the heron bring you?"),
]


def test_the_opening_takes_up_the_last_image_and_does_not_greet() -> None:
    spoken = opening(LINES, "en", "none")

    assert "heron" in spoken or "lake" in spoken
    assert not spoken.lower().startswith(("hello", "welcome", "good"))


def test_where_nothing_was_told_the_opening_still_goes_on() -> None:
    assert "go on" in opening([], "en", "none")


def test_after_words_of_danger_the_opening_looks_after_the_dreamer_first() -> None:
    spoken = opening(LINES, "en", "active_danger")

    assert "safe" in spoken
    assert "heron" not in spoken


def test_a_name_is_not_spoken_as_an_image() -> None:
    assert "Ottilie" not in opening([("user", "My friend Ottilie stood in the lake.")], "en", "none")


def test_the_opening_is_in_the_conversations_language_where_we_have_words() -> None:
    assert "Ich bin wieder da" in opening([], "de-AT", "none")
    assert "I am here again" in opening([], "fr", "none")


def test_a_variable_in_the_dreamers_words_stays_text() -> None:
    assert "{{" not in opening([("user", "There was a {{dream_context}} heron in a glass lake.")], "en", "none")


def test_the_story_holds_what_was_said_in_order_and_who_said_it() -> None:
    told = story(LINES, "Carl")

    assert told.index("Welcome") < told.index("heron folded") < told.index("bring you")
    assert "Dreamer: A heron folded the lake into envelopes." in told
    assert "Interpretation by Carl: What does the heron bring you?" in told


def test_a_long_story_keeps_its_end() -> None:
    long: list[tuple[Sender, str]] = [("user", f"Room {number}: {'ivy ' * 90}") for number in range(60)]

    told = story(long, "Carl")

    assert "Room 59" in told
    assert "Room 3:" not in told
    assert len(told) < 4_300
