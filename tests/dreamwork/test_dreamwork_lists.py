from hypothesis import given
from hypothesis import strategies as st

from oneiro.dreamwork import feelings, people, topics
from oneiro.dreamwork.journal import Journal


def test_feelings_are_named_with_the_words_used() -> None:
    found = feelings.find("I felt so lost and terrified, but I wasn't angry.")
    assert [(feeling.name, feeling.words, feeling.denied) for feeling in found] == [
        ("confusion", "lost", False),
        ("terror", "terrified", False),
        ("anger", "angry", True),
    ]


def test_a_word_that_describes_a_thing_is_no_feeling() -> None:
    assert feelings.find("we walked through the lost city and down there was a free seat") == []
    assert feelings.find("my mother was watching, laughing") == []


def test_people_are_known_by_role_and_the_dead_as_dead() -> None:
    found = people.find("My late grandmother stood beside a stranger; my brother laughed.")
    assert [(person.role, person.dead) for person in found] == [
        ("grandmother", True),
        ("stranger", False),
        ("brother", False),
    ]


def test_a_name_is_a_named_person_but_a_day_is_not() -> None:
    found = people.find("On a Monday I met Tobias there")
    assert [(person.role, person.words) for person in found] == [("named", "Tobias")]


def test_themes_come_from_words_and_symbols_on_word_boundaries() -> None:
    tally = topics.tally("My mother was chasing me through our house. I was afraid.")
    assert tally["family"] >= 1
    assert tally["fear"] >= 2
    assert tally["home"] >= 1
    assert list(tally.values()) == sorted(tally.values(), reverse=True)
    assert "work" not in topics.tally("a network of fireworks")


def test_a_theme_mention_points_at_its_words() -> None:
    text = "A wedding in the old church."
    for mention in topics.find(text):
        assert text[mention.start : mention.end] == mention.words
        assert mention.topic in topics.TOPICS


def test_the_journal_keeps_the_dreamers_words_apart_from_others() -> None:
    journal = Journal.read(
        "<<<\nTitle: The lake\nDream: I stood at a green lake.\nA horse drank from it.\n"
        "Symbols: lake, horse\nInterpretation: The horse is your power.\nRemembered: a red coat she lost\n>>>"
    )
    assert journal.dream == "I stood at a green lake.\nA horse drank from it."
    assert journal.remembered == "a red coat she lost"


def test_text_without_labels_is_the_dream() -> None:
    assert Journal.read("I stood at a green lake.").dream == "I stood at a green lake."


@given(st.text(max_size=600))
def test_finding_never_raises_and_points_into_the_text(text: str) -> None:
    spans = [(feeling.start, feeling.end, feeling.words) for feeling in feelings.find(text)]
    spans += [(person.start, person.end, person.words) for person in people.find(text)]
    spans += [(mention.start, mention.end, mention.words) for mention in topics.find(text)]
    assert all(text[start:end] == words for start, end, words in spans)
    Journal.read(text)
