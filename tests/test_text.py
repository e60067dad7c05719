import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneiro.errors import ValidationError
from oneiro.text import MAX_MESSAGE, bounded, clean


@given(st.text())
def test_cleaning_twice_is_cleaning_once(value: str) -> None:
    assert clean(clean(value)) == clean(value)


@pytest.mark.parametrize(
    "value", ["José", "李雷", "Ольга", "🌙 moon", "<b>not markup</b>", "{{name}}", "on fire = hot"]
)
def test_what_people_write_stays_as_they_wrote_it(value: str) -> None:
    assert clean(value) == value


def test_what_a_database_cannot_hold_is_left_out() -> None:
    assert clean("a\x00b\ud800c\r\nd") == "abc\nd"


def test_a_long_message_is_refused_with_its_bound_and_never_cut() -> None:
    assert bounded("x" * MAX_MESSAGE, field="content", limit=MAX_MESSAGE) == "x" * MAX_MESSAGE
    with pytest.raises(ValidationError, match="at most 2000 characters, this has 2001"):
        bounded("x" * (MAX_MESSAGE + 1), field="content", limit=MAX_MESSAGE)


@pytest.mark.parametrize("value", ["", "   ", "\n\t", "\x00"])
def test_an_empty_message_is_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="must not be empty"):
        bounded(value, field="content", limit=10)
