import re

from hypothesis import given
from hypothesis import strategies as st

from oneiro.dreamwork.summary import summarise


def test_a_summary_names_who_how_long_images_feelings_and_the_end() -> None:
    said = [
        ("interpreter", "Welcome. What did you dream?"),
        ("user", "A white owl sat on my father's chair. I was so afraid."),
        ("interpreter", "What does it ask?"),
        ("user", "It would ask me to stay."),
        ("user", "thank you, goodbye"),
    ]
    summary = summarise(said, name="Carl", seconds=312)
    assert summary.startswith("A conversation with Carl, about 5 minutes, in 3 turns.")
    assert "owl" in summary
    assert "fear" in summary
    assert "It ended with a farewell" in summary
    assert "Welcome" not in summary


def test_nobody_is_named_in_a_summary() -> None:
    assert "Tobias" not in summarise([("user", "a bear carried Tobias over a river")], name="Carl", seconds=60)


def test_a_talk_in_which_nothing_was_told_has_a_summary_too() -> None:
    assert summarise([], name="Carl", seconds=3) == "A conversation with Carl, less than a minute. Nothing was told."


@given(st.lists(st.tuples(st.sampled_from(["user", "interpreter"]), st.text(max_size=200)), max_size=6), st.integers())
def test_a_summary_is_never_empty_and_quotes_only_the_dreamer(messages: list[tuple[str, str]], seconds: int) -> None:
    summary = summarise(messages, name="Lakshmi", seconds=seconds)
    told = [text for sender, text in messages if sender == "user"]
    assert summary.endswith(".")
    for quote in re.findall(r'"([^"]*)"', summary):
        assert any(quote in text for text in told)
