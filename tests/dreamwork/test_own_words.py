import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneiro.dreamwork import imagery, phrases


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ("I opened a heavy wooden door and left", "a heavy wooden door"),
        ("There was a municipal swimming bath here", "a municipal swimming bath"),
        ("I saw a burning piano", "a burning piano"),
        ("my grandmother's kitchen smelled of soap", "my grandmother's kitchen"),
        ("The photocopier was humming", "photocopier"),
        ("she gave me a jar of bees", "a jar of bees"),
    ],
)
def test_a_noun_phrase_is_taken_whole(text: str, phrase: str) -> None:
    assert phrase in [found.words for found in phrases.noun_phrases(text)]


@pytest.mark.parametrize("text", ["it was a thing", "I had the time", "that was the kind", "I wish I knew"])
def test_vague_words_are_no_image(text: str) -> None:
    assert phrases.noun_phrases(text) == ()


@pytest.mark.parametrize(
    ("text", "image", "expected"),
    [
        ("Well, the cellar was full of black water, and I ran.", "water", "the cellar was full of black water"),
        ("I was so scared I could not move and then I woke.", "move", "I was so scared I could not move"),
        ("It came in and took my hands.", "hands", "It came in and took my hands"),
    ],
)
def test_a_clause_is_quoted_from_its_subject_to_its_end(text: str, image: str, expected: str) -> None:
    at = text.index(image)
    clause = phrases.clause(text, at, at + len(image))
    assert clause is not None
    assert clause.words == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("It reminds me of my grandmother's kitchen, I guess.", "my grandmother's kitchen"),
        ("maybe it would say: let me out.", "let me out"),
        ("I think of the sea", "the sea"),
    ],
)
def test_an_answer_is_quoted_without_its_lead_in(answer: str, expected: str) -> None:
    told = phrases.telling(answer)
    assert told is not None
    assert told.words == expected


def test_the_most_vivid_image_is_neither_the_first_nor_the_most_frequent() -> None:
    text = (
        "I was in a room, a room with a table, and then another room with a table. "
        "Suddenly a huge black snake came out of the clock. I was terrified. There was a chair in the room."
    )
    assert "snake" in imagery.find(text)[0].quote


def test_what_speaks_weighs_more_than_what_stands_about() -> None:
    text = "There was a dog by the gate. A crow said my name."
    assert imagery.find(text)[0].quote == "A crow said my name"


def test_what_was_not_there_is_no_image() -> None:
    best = imagery.find("There was no snake at all, only a small wooden boat on the river.")[0]
    assert "snake" not in best.quote


def test_a_death_in_waking_life_is_not_taken_for_an_image() -> None:
    best = imagery.find("A white owl spoke to me. My father died last year.")[0]
    assert "owl" in best.quote


@given(st.text(max_size=500))
def test_every_span_is_verbatim_and_free_of_marks(text: str) -> None:
    spans = [*phrases.noun_phrases(text)]
    told = phrases.telling(text)
    if told:
        spans.append(told)
    for span in spans:
        assert text[span.start : span.end] == span.words
        assert not set(span.words) & set('"?!.\n')
    for image in imagery.find(text):
        assert image.quote in text
        assert image.short in text
