from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from oneiro.errors import ValidationError
from oneiro.interpreters import prompts
from oneiro.interpreters.models import InterpreterDocument
from oneiro.interpreters.variables import sample_values

Make = Callable[..., InterpreterDocument]
FULL = sample_values(full=True)
EMPTY = sample_values(full=False)


def fault(document: InterpreterDocument) -> dict[str, Any]:
    with pytest.raises(ValidationError) as caught:
        prompts.validate(document)
    assert caught.value.errors
    return caught.value.errors[0]


def test_a_greeting_that_fails_on_a_dreamers_values_still_greets(prompted: Make) -> None:
    fails = '{% if user_name == "Ann" and "x" in interpreter.voice.voice_id %}x{% endif %}'
    document = prompted(fails + "Welcome, {{ user_name }}.", kind="greeting")

    assert prompts.render_spoken(document, "greeting", FULL | {"user_name": "Bo"}) == "Welcome, Bo."
    assert "Ann" in prompts.render_spoken(document, "greeting", FULL | {"user_name": "Ann"})


def body(document: InterpreterDocument) -> str:
    prompts.validate(document)
    return prompts.render_system(document, "PROTOCOL").partition("\n\nPROTOCOL")[0]


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ interpreter.__class__ }}",
        "{{ interpreter.name.__class__.__init__.__globals__ }}",
        "{{ interpreter['__class__'] }}",
        "{{ interpreter|attr('__class__') }}",
        "{{ '{0.__class__}'.format(interpreter) }}",
        "{{ '%s'|format(interpreter) }}",
        "{{ interpreter|map(attribute='__class__')|list }}",
        "{{ self.__init__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ lipsum }}",
        "{{ namespace() }}",
        "{{ ().__class__ }}",
        "{{ interpreter.items() }}",
        "{{ interpreter.pop('name') }}",
        "{% set x = 1 %}",
        "{% macro f() %}{% endmacro %}",
        "{% import 'default' as x %}",
        "{% extends 'default' %}",
        "{% block x %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% with x = 1 %}{% endwith %}",
        "{% autoescape true %}{% endautoescape %}",
        "{% for i in range(10) %}{% endfor %}",
        "{% for c in interpreter.name %}{% endfor %}",
        "{% for c in interpreter.name or interpreter.personality.traits %}{% endfor %}",
        "{% for c in (interpreter.name if interpreter.id else interpreter.personality.traits) %}{% endfor %}",
        "{% for k in interpreter %}{% endfor %}",
        "{{ 'a' * 1000000000 }}",
        "{{ 9 ** 99999999 }}",
        "{{ interpreter.name ~ interpreter.name }}",
        "{{ interpreter.name|replace('a', 'b' ) }}",
        "{{ interpreter.name|center(99999999) }}",
        "{{ interpreter.name|join('xxxxxxxx') }}",
        "{{ interpreter.prompts }}",
        "{{ [1, 2] }}",
        "{{ interpreter.personality.traits[9] }}",
        "{{ 'x' if interpreter.name }}",
        "{{ max_turn_length > interpreter.name }}",
        "{{ interpreter.name is callable }}",
        "{{ '\\x02opening\\x03' }}",
    ],
)
@pytest.mark.parametrize("kind", ["system", "closing"])
def test_everything_beyond_the_closed_part_is_refused(prompted: Make, template: str, kind: str) -> None:
    error = fault(prompted(f"fine\n{template}", kind))
    assert (error["field"], error["prompt"], error["line"]) == ("prompts[0].template", f"{kind}/default", 2)
    assert error["message"]


@pytest.mark.parametrize(
    ("template", "line", "says"),
    [
        ("a\n{{ nobody }}", 2, "nobody is unknown"),
        ("{{ interpreter.fullName }}", 1, "did you mean full_name?"),
        ("{% if max_turn_length %}\n\nx", 2, "endif"),
        ("a\nb {{ opening", 2, "unexpected end"),
        ("a\nb }} c", 1, "other half"),
        ("{% endif %}", 1, "endif"),
        ("{% raw %}{{ x }}{% endraw %}", 1, "other half"),
        ("\n{% if user_name %}x{% endif %}", 2, "not used in a condition"),
        ("{{ 'a' if dream_context else 'b' }}", 1, "not used in a condition"),
        ("{% for x in symbols_list %}{% endfor %}", 1, "not used in a loop"),
        ("{{ user_name|upper }}", 1, "not used in a filter"),
        ("{{ user_name or 'you' }}", 1, "not used in an expression"),
        (
            "{% for name in interpreter.personality.traits %}{{ user_name|upper }}{% endfor %}",
            1,
            "not used in a filter",
        ),
        ("{% for opening in interpreter.personality.traits %}{% endfor %}", 1, "opening is taken"),
        ("{% include 'tone' %}", 1, "there is no prompt system/tone"),
        ("{% include 'default' %}", 1, "would include itself"),
        ("{% include opening %}", 1, "an include names a prompt"),
    ],
)
def test_a_system_prompt_is_refused_with_line_and_reason(prompted: Make, template: str, line: int, says: str) -> None:
    error = fault(prompted(template))
    assert error["line"] == line
    assert says in error["message"]


def test_every_faulty_prompt_is_named(make: Make) -> None:
    document = make(
        prompts=[
            {"type": "system", "template": "{{ a }}"},
            {"type": "closing", "template": "fine"},
            {"type": "greeting", "template": "{{ b }}"},
        ]
    )
    with pytest.raises(ValidationError) as caught:
        prompts.validate(document)
    assert [error["field"] for error in caught.value.errors or []] == ["prompts[0].template", "prompts[2].template"]


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("{{ interpreter.full_name }}", "Ada of the Night Desk"),
        ("{{ interpreter.personality.traits }}", "calm, exact"),
        ("{{ interpreter.personality.traits|join(' and ')|upper }}", "CALM AND EXACT"),
        ("{{ interpreter.appearance.accent }}{{ interpreter.voice.voice_id }}.", "#8fa3c8."),
        ("{{ interpreter.voice.use_speaker_boost }} {{ interpreter.voice.speaking_rate }}", "true 0.9"),
        ("{{ interpreter.personality.response_patterns }}", '{"trigger": "t", "response": "r"}'),
        (
            "{% for trait in interpreter.personality.traits %}{{ loop.index }} {{ trait }};{% endfor %}",
            "1 calm;2 exact;",
        ),
        ("{% if interpreter.personality.approach == 'cognitive' %}yes{% else %}no{% endif %}", "yes"),
        ("{% if 'calm' in interpreter.personality.traits and max_turn_length >= 120 %}yes{% endif %}", "yes"),
        ("{{ max_turn_length }} {{ interpreter.personality.expertise|length }}", "120 0"),
        ("{{ opening }} {{dream_context}} {{- user_name -}} x", "{{opening}} {{dream_context}}{{user_name}}x"),
        ("{ {{ user_name }} }", "{ {{user_name}} }"),
        ("{# a note #}kept", "kept"),
        ("{% raw %}50 % of {nights}{% endraw %}", "50 % of {nights}"),
        ("{{ '{{opening}}' }}", "{ {opening} }"),
    ],
)
def test_what_a_system_prompt_may_do(make: Make, template: str, rendered: str) -> None:
    personality = {
        "approach": "cognitive",
        "traits": ["calm", "exact"],
        "response_patterns": [{"trigger": "t", "response": "r"}],
    }
    assert body(make(personality=personality, prompts=[{"type": "system", "template": template}])) == rendered


def test_a_value_of_the_release_is_never_read_as_a_template(make: Make) -> None:
    document = make(name="{{ opening }}", description="{% if x %}{{ interpreter.__class__ }}")
    shown = body(document)
    assert shown == "You are { { opening } }.\n{{dream_context}}"
    assert prompts.required_variables(document) == {"opening", "dream_context"}


def test_protocol_and_profile_end_every_system_prompt(make: Make) -> None:
    rendered = prompts.render_system(make(), "THE PROTOCOL", "de")
    assert rendered.startswith("You are Ada.\n{{dream_context}}\n\nTHE PROTOCOL\n\n")
    assert "language: de" in rendered.partition("THE PROTOCOL")[2]
    assert prompts.prompt_sha256(rendered) != prompts.prompt_sha256(prompts.render_system(make(), "THE PROTOCOL"))


def test_a_document_without_a_system_prompt_has_none_to_render(make: Make) -> None:
    with pytest.raises(ValidationError, match="no system prompt"):
        prompts.render_system(make(prompts=[]), "")


def test_declared_constants_belong_to_their_own_prompt(make: Make) -> None:
    document = make(
        prompts=[
            {
                "type": "system",
                "template": "{{ tone }} {% include 'more' %} {{ tone }}",
                "variables": {"tone": {"default": "warm {{opening}}"}},
            },
            {
                "type": "system",
                "name": "more",
                "template": "{% if n > 2 %}{{ tone }}{% endif %}",
                "variables": {"tone": {"default": "cool"}, "n": {"type": "number", "default": 3}},
            },
        ]
    )
    assert body(document) == "warm { {opening} } cool warm { {opening} }"


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"tone": {}}, "declares tone without a default"),
        ({"interpreter": {"default": "x"}}, "declares interpreter, which every template has"),
        ({"user_name": {"default": "you"}}, "declares a default for user_name"),
    ],
)
def test_a_declaration_that_cannot_work_is_refused(prompted: Make, variables: dict[str, Any], says: str) -> None:
    assert says in fault(prompted("x", variables=variables))["message"]


def test_a_default_stands_in_for_an_empty_value_of_the_conversation(prompted: Make) -> None:
    document = prompted("After {{ last_time }}.", "closing", variables={"last_time": {"default": "our talk"}})
    assert prompts.render_spoken(document, "closing", EMPTY) == "After our talk."
    assert prompts.render_spoken(document, "closing", FULL) == "After the lift and the long corridor."


def chain(length: int) -> list[dict[str, str]]:
    names = ["default", *(f"p{number}" for number in range(1, length + 1))]
    links = [f"{name}{{% include '{below}' %}}" for name, below in pairwise(names)]
    return [
        {"type": "system", "name": name, "template": template}
        for name, template in zip(names, [*links, names[-1]], strict=True)
    ]


def test_includes_go_three_levels_deep_and_no_further(make: Make) -> None:
    assert body(make(prompts=chain(3))) == "defaultp1p2p3"
    assert "3 levels" in fault(make(prompts=chain(4)))["message"]


def test_an_include_may_name_another_type_and_keeps_the_rules_of_the_root(make: Make) -> None:
    closing = {"type": "closing", "name": "line", "template": "{% if user_name %}Bye{% endif %}"}
    spoken = make(prompts=[{"type": "greeting", "template": "Hi. {% include 'closing/line' %}"}, closing])
    assert prompts.render_spoken(spoken, "greeting", EMPTY) == "Hi. Bye"
    error = fault(make(prompts=[{"type": "system", "template": "\n{% include 'closing/line' %}"}, closing]))
    assert (error["prompt"], error["line"]) == ("closing/line", 1)


def test_mutual_includes_are_refused(make: Make) -> None:
    pair = [
        {"type": "system", "template": "{% include 'b' %}"},
        {"type": "system", "name": "b", "template": "{% include 'default' %}"},
    ]
    assert "would include itself" in fault(make(prompts=pair))["message"]


def test_without_prompts_the_guides_greeting_is_spoken(make: Make) -> None:
    document = make(prompts=[])
    assert prompts.render_spoken(document, "greeting", FULL) == (
        "Hello Ольга, I'm Ada. How can I help you explore your dreams today?"
    )
    assert "Ada" in prompts.render_spoken(document, "follow_up", EMPTY)
    assert "Goodbye" in prompts.render_spoken(document, "closing", EMPTY)


def test_a_document_without_a_follow_up_greets_again(prompted: Make) -> None:
    assert prompts.render_spoken(prompted("Hi there.", "greeting"), "follow_up", FULL) == "Hi there."


def test_a_greeting_that_renders_to_nothing_gives_way_to_the_guides(prompted: Make) -> None:
    document = prompted("{% if has_dream %}So, your dream.{% endif %}", "greeting")
    assert prompts.render_spoken(document, "greeting", FULL) == "So, your dream."
    assert prompts.render_spoken(document, "greeting", EMPTY).startswith("Hello friend")
