"""Templates are bounded in size, loops and time, so that nobody waits for one in the night."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from oneiro.errors import ValidationError
from oneiro.interpreters import prompts
from oneiro.interpreters.models import InterpreterDocument
from oneiro.interpreters.variables import sample_values

Make = Callable[..., InterpreterDocument]
FULL = sample_values(full=True)


def fault(document: InterpreterDocument) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        prompts.validate(document)
    assert caught.value.errors
    return caught.value.errors[0]


def body(document: InterpreterDocument) -> str:
    prompts.validate(document)
    return prompts.render_system(document, "PROTOCOL").partition("\n\nPROTOCOL")[0]


def bomb_of_includes() -> list[dict[str, str]]:
    below = {"default": "p1", "p1": "p2", "p2": "p3"}
    wide = [
        {"type": "system", "name": name, "template": f"{{% include '{inner}' %}}" * 1000}
        for name, inner in below.items()
    ]
    return [*wide, {"type": "system", "name": "p3", "template": "x{{ interpreter.name }}" * 100}]


TRAITS = "{% for a$ in interpreter.personality.traits %}"


@pytest.mark.parametrize(
    "bomb",
    [
        "".join(TRAITS.replace("$", str(n)) for n in range(5)) + "x" + "{% endfor %}" * 5,
        TRAITS.replace("$", "1") + TRAITS.replace("$", "2") + "{{ interpreter.name }}" * 1000 + "{% endfor %}" * 2,
        "{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}",
        "{{ " + "not " * 8000 + "1 }}",
        "{% if 1 %}" * 1500 + "{% endif %}" * 1500,
        "{{ interpreter" + ".name" * 6000 + " }}",
        "{{ " + "9" * 30_000 + " }}",
        "{{ 1" + " and 1" * 5000 + " }}",
        "{{ interpreter.name" + "|upper" * 5000 + " }}",
    ],
)
def test_bombs_are_refused_within_a_moment(make: Make, bomb: str) -> None:
    started = time.process_time()
    fault(make(prompts=[{"type": "system", "template": bomb}]))
    assert time.process_time() - started < 2


LOOPS = TRAITS.replace("$", "") + TRAITS.replace("a$", "b")
LETTERS = "- " * 5000
DREARY = [
    LOOPS + "{% if dream_context" + "|title" * 30 + " %}{% endif %}{% endfor %}{% endfor %}",
    LOOPS + "{% if dream_title or dream_context|upper %}{% endif %}{% endfor %}{% endfor %}",
    LOOPS + f"{{% if '{LETTERS}'|title %}}{{% endif %}}{{% endfor %}}{{% endfor %}}",
    LOOPS
    + f"{{% if interpreter.personality.traits|join('{LETTERS}')|title %}}{{% endif %}}{{% endfor %}}{{% endfor %}}",
    LOOPS + f"{{% if last_time|default('{LETTERS}', true)|title %}}{{% endif %}}{{% endfor %}}{{% endfor %}}",
    LOOPS + f"{{% if '{'a' * 99}b' in dream_context %}}{{% endif %}}{{% endfor %}}{{% endfor %}}",
    "{% if dream_context|title %}{% endif %}" * 800,
]


@pytest.mark.parametrize("bomb", DREARY)
def test_filters_on_long_texts_are_counted_by_their_length(prompted: Make, bomb: str) -> None:
    started = time.process_time()
    assert "too many steps" in fault(prompted(bomb, "greeting"))["message"]
    assert time.process_time() - started < 2


def test_stand_ins_are_counted_by_their_length_too(prompted: Make) -> None:
    variables = {"last_time": {"default": "word " * 400}}
    bomb = LOOPS + "{% if last_time|title %}{% endif %}{% endfor %}{% endfor %}"
    assert "too many steps" in fault(prompted(bomb, "greeting", variables=variables))["message"]


def test_a_text_does_not_stand_in_for_a_list_to_loop_over(prompted: Make) -> None:
    bomb = "{% for a in interpreter.personality.expertise|default('xxx', true) %}{% endfor %}"
    assert "cannot stand for each other" in fault(prompted(bomb, "greeting"))["message"]


def test_the_dearest_filters_allowed_take_no_longer_than_a_moment(make: Make) -> None:
    personality = {"approach": "x", "traits": [f"t{n}" for n in range(32)]}
    line = "{% if dream_context|title %}{% endif %}"
    greeting = {"type": "greeting", "template": TRAITS.replace("$", "") + line * 2 + "{% endfor %}Hello."}
    document = make(personality=personality, prompts=[greeting])
    words = FULL | {"dream_context": "I go on. " * 1700}
    prompts.validate(document)
    started = time.process_time()
    assert prompts.render_spoken(document, "greeting", words) == "Hello."
    assert time.process_time() - started < 1


def test_a_release_of_before_a_rule_became_stricter_still_greets(prompted: Make) -> None:
    document = prompted("{% set x = 1 %}Hi.", "follow_up")
    assert prompts.render_spoken(document, "follow_up", FULL).startswith("Hello again Ольга")


def test_more_than_its_time_is_not_given_to_a_rendering(prompted: Make) -> None:
    """Words far longer than the journal lets them be: the dreamer is greeted all the same."""
    document = prompted("{% if dream_context" + "|title" * 30 + " %}Hi.{% endif %}", "greeting")
    prompts.validate(document)
    started = time.process_time()
    assert prompts.render_spoken(document, "greeting", FULL | {"dream_context": "a b " * 250_000}).startswith("Hello")
    assert time.process_time() - started < 5


def test_a_bomb_of_includes_is_refused_within_a_moment(make: Make) -> None:
    started = time.process_time()
    fault(make(prompts=bomb_of_includes()))
    assert time.process_time() - started < 2


def test_the_most_expensive_allowed_template_renders_within_a_moment(make: Make) -> None:
    personality = {"approach": "x", "traits": [f"t{n}" for n in range(32)]}
    line = "{% if a == b and a in interpreter.personality.traits %}{% endif %}"
    loops = TRAITS.replace("$", "") + TRAITS.replace("a$", "b")
    template = f"{loops}{line * 9}{{% endfor %}}{{% endfor %}}x"
    started = time.process_time()
    assert body(make(personality=personality, prompts=[{"type": "system", "template": template}])) == "x"
    assert time.process_time() - started < 2


def test_output_over_64_kilobytes_is_refused(make: Make) -> None:
    personality = {"approach": "x", "traits": [f"t{n}" for n in range(32)]}
    template = "{% for t in interpreter.personality.traits %}" + "x" * 3000 + "{% endfor %}"
    error = fault(make(personality=personality, prompts=[{"type": "system", "template": template}]))
    assert "65536 bytes" in error["message"]


LOOPED = """
{% for trait in interpreter.personality.traits %}
{% for field in interpreter.personality.expertise %}{{ trait }}, {{ field }}: {{ dream_context }}{% endfor %}
{% endfor %}
"""


@pytest.mark.parametrize("kind", ["greeting", "follow_up", "closing"])
def test_first_words_that_a_long_dream_would_make_huge_are_refused_when_they_are_published(
    make: Make, kind: str
) -> None:
    document = make(
        personality={"approach": "cognitive", "traits": ["calm", "exact"], "expertise": ["work", "sleep"]},
        prompts=[{"type": "system", "template": "x"}, {"type": kind, "template": LOOPED}],
    )
    with pytest.raises(ValidationError) as caught:
        prompts.validate(document)
    assert caught.value.errors == [
        {
            "field": "prompts[1].template",
            "prompt": f"{kind}/default",
            "line": 1,
            "message": "renders to more than 65536 bytes when a dream is as long as it may be",
        }
    ]


@pytest.mark.parametrize("kind", ["greeting", "follow_up", "closing"])
def test_a_dream_of_any_length_may_be_told_once(prompted: Make, kind: str) -> None:
    prompts.validate(prompted("{{ dream_context }} {{ interpretation_summary }} {{ user_name }}", kind))
