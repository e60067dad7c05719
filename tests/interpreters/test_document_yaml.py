from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneiro.errors import ValidationError
from oneiro.interpreters import documents, yaml_text
from oneiro.interpreters.models import InterpreterDocument

Make = Callable[..., InterpreterDocument]

ADA = """\
id: ada
name: Ada
full_name: Ada of the Night Desk
description: A patient listener
personality:
  approach: cognitive
  traits: [no, on, 2026-11-23, 1:30, 0x1f]
prompts:
  - type: system
    template: |
      You are {{ interpreter.name }}.
      Listen.
"""

storable = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Co", "Cn"]) | st.sampled_from("\n\t'\"#:-{}[]&*!|>%@` ")
)
plain_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.floats(allow_nan=False, allow_infinity=False)
    | storable,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(storable, inner, max_size=4),
    max_leaves=12,
)


def refused(text: str | bytes) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        documents.parse(text)
    return caught.value


def test_only_core_words_and_decimals_are_not_text() -> None:
    assert documents.parse(ADA).personality.traits == ("no", "on", "2026-11-23", "1:30", "0x1f")


def test_a_document_comes_back_from_its_own_yaml() -> None:
    document = documents.parse(ADA)
    assert documents.parse(documents.dump(document)) == document
    assert "template: |\n" in documents.dump(document)


@settings(deadline=None)
@given(plain_data)
def test_any_data_comes_back_from_its_yaml(data: Any) -> None:
    assert yaml_text.load(yaml_text.dump(data)).data == data


def test_errors_name_field_line_and_column() -> None:
    error = refused(ADA.replace("cognitive", "cognitive\n  approch: x").replace("name: Ada\n", "name: 5\n", 1))
    assert error.errors
    assert error.errors == [
        {"field": "name", "line": 2, "column": 7, "message": error.errors[0]["message"]},
        {
            "field": "personality.approch",
            "line": 7,
            "column": 12,
            "message": "there is no such key here; did you mean approach?",
        },
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a [x]\nb: *a", "anchors and aliases"),
        ("a: &a 1", "anchors and aliases"),
        ("a: !!python/object/apply:os.system [id]", "tags"),
        ("a: !include x", "tags"),
        ("a: 1\nb: 2\na: 3", "a, line 3, column 1: this key stands here twice"),
        ("a: 1\n---\nb: 2", "second one"),
        ("? [a]\n: 1", "a key must be text"),
        ("a: [1, 2", "not YAML"),
        ("a: \x07", "not YAML"),
        ("{a: " * 100_000, "nested more than"),
        ("{" * 100_000, "a key must be text"),
        ("[" * 100_000, "nested more than"),
        ("- a\n" * 100_000, "more than 20000 values"),
        ("a: " + "x" * 2_100_000, "at most 2097152 bytes"),
        (b"\xff\xfe\xfa", "not UTF-8"),
        ("", "must be an object"),
        ("[]", "must be an object"),
        ("just text", "must be an object"),
    ],
)
def test_what_is_no_document_is_refused_in_plain_words(text: str | bytes, says: str) -> None:
    assert says in refused(text).detail


def test_a_billion_laughs_stop_at_the_first_anchor() -> None:
    bomb = "a: &a [lol, lol]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
    )
    assert "line 1, column 4" in refused(bomb).detail


@settings(deadline=None)
@given(st.text(max_size=200) | st.binary(max_size=200))
def test_whatever_is_read_gives_a_document_or_a_validation_error(text: str | bytes) -> None:
    with pytest.raises(ValidationError):
        documents.parse(text)
