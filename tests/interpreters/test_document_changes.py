from collections.abc import Callable
from typing import Any

import pytest

from oneiro.errors import ValidationError
from oneiro.interpreters import documents
from oneiro.interpreters.models import InterpreterDocument

Make = Callable[..., InterpreterDocument]


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [  # The examples of RFC 7396, appendix A.
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"a": "foo"}, None, None),
        ({"a": "foo"}, "bar", "bar"),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_works_as_the_rfc_shows(target: Any, patch: Any, merged: Any) -> None:
    assert documents.merge_patch(target, patch) == merged


def test_a_change_leaves_everything_else_alone(make: Make) -> None:
    before = make()
    after = documents.merge(before, {"personality": {"conversation_style": {"response_length": "brief"}}})
    assert documents.differences(before.data(), after.data()) == [
        {"field": "personality.conversation_style.response_length", "before": "moderate", "after": "brief"}
    ]


def test_lists_are_replaced_whole(make: Make) -> None:
    assert documents.merge(make(), {"personality": {"traits": ["loud"]}}).personality.traits == ("loud",)


def test_prompts_are_matched_by_type_and_name(make: Make) -> None:
    before = make()
    after = documents.merge(
        before,
        {
            "prompts": [
                {"type": "system", "template": "New."},
                {"type": "system", "name": "tone", "template": "Softly."},
                {"type": "closing", "template": "Goodbye."},
            ]
        },
    )
    assert [(prompt.type, prompt.name, prompt.template) for prompt in after.prompts] == [
        ("system", "default", "New."),
        ("system", "tone", "Softly."),
        ("closing", "default", "Goodbye."),
    ]
    fewer = documents.merge(after, {"prompts": [{"type": "system", "name": "tone", "deleted": True}]})
    assert [(prompt.type, prompt.name) for prompt in fewer.prompts] == [("system", "default"), ("closing", "default")]
    assert documents.merge(after, {"prompts": None}).prompts == ()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ([], "changes"),
        ({"id": "eda"}, "id"),
        ({"prompts": [{"type": "system", "name": "gone", "deleted": True}]}, "prompts[0]"),
        ({"prompts": [{"type": "system", "deleted": "yes"}]}, "prompts[0].deleted"),
        ({"prompts": [{"template": "x"}]}, "prompts[0]"),
        ({"prompts": [{"type": "system", "name": 5}]}, "prompts[0]"),
        ({"prompts": [{"type": "system", "template": "x"}] * 2}, "prompts[1]"),
        ({"prompts": ["x"]}, "prompts[0]"),
        ({"prompts": {"a": 1}}, "prompts"),
        ({"name": None}, "name"),
        ({"voice": {"stability": 3}}, "voice.stability"),
    ],
)
def test_a_change_that_does_not_fit_is_refused_by_field(make: Make, changes: Any, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        documents.merge(make(), changes)
    assert caught.value.errors
    assert caught.value.errors[0]["field"] == field


def test_differences_name_prompts_by_type_and_name(make: Make) -> None:
    before = make()
    after = documents.merge(before, {"prompts": [{"type": "system", "template": "New."}]})
    assert [found["field"] for found in documents.differences(before.data(), after.data())] == [
        "prompts.system/default.template"
    ]
