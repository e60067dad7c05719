import pytest

from oneiro.conversations.wrapup.telling import draft

HERON = "I dreamt I was in a paper swimming bath and a heron folded the water into envelopes. I felt oddly calm."
SNOW = "Then the heron spoke with my grandmother's voice and the tiles turned into snow."


def test_the_dream_is_kept_in_the_dreamers_own_words_without_the_talk_around_it() -> None:
    said = ["Hi there", HERON, SNOW, "It reminds me of the summer at the coast, when I was little.", "Thanks, goodbye"]

    found = draft(said, "en")

    assert found is not None
    assert found.content == f"{HERON}\n\n{SNOW}"
    assert found.title
    assert found.title[0].isupper()
    assert found.title[1:] in found.content
    assert {"water", "snow"} <= set(found.symbols)


def test_an_image_that_is_narrated_without_the_word_dream_is_a_dream_too() -> None:
    found = draft(["There was a lighthouse in the middle of our kitchen and it was breathing."], "en")

    assert found is not None
    assert "lighthouse" in (found.title or "")


@pytest.mark.parametrize(
    "said",
    [
        [],
        ["Hello Carl, how are you today?", "What does a dream about falling mean?", "Thank you"],
        ["I had a bad day at work and my boss shouted at me."],
        ["I was in the supermarket yesterday and bought milk."],
        ["In the dream I want to die, and awake too: I want to kill myself tonight."],
        ["...", "?", "asdf qwer zxcv"],
    ],
)
def test_where_no_dream_was_told_there_is_no_draft(said: list[str]) -> None:
    assert draft(said, "en") is None


def test_a_line_of_danger_stays_out_of_the_journal() -> None:
    found = draft([HERON, "There was more in the dream. I am awake now, and I am going to kill myself tonight."], "en")

    assert found is not None
    assert found.content == HERON


def test_a_draft_fits_the_journal_and_ends_with_a_whole_line() -> None:
    lines = [HERON, *(f"Then there was room number {number} with {'ivy and ' * 200}moss." for number in range(9))]

    found = draft(lines, "en")

    assert found is not None
    assert len(found.content) <= 5000
    assert found.content.split("\n\n") == lines[: len(found.content.split("\n\n"))]


def test_a_telling_longer_than_the_journal_allows_ends_with_a_whole_word() -> None:
    long = "I dreamt of a heron and " + "then the lake turned into glass and " * 200

    found = draft([long], "en")

    assert found is not None
    assert len(found.content) <= 5000
    assert long.startswith(found.content + " ")


def test_in_a_language_that_we_cannot_read_no_draft_is_made() -> None:
    assert draft(["Ich habe von einem Reiher geträumt, der das Wasser faltete."], "de") is None
