"""Hostile and broken input over HTTP: a problem that names the field, and nothing half published."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from oneiro.interpreters import documents

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
SignIn = Callable[..., httpx.AsyncClient]

SIGMUND = documents.parse((Path(__file__).parents[2] / "docs" / "examples" / "sigmund.yaml").read_bytes()).data()
TABLES = (
    "interpreter_configs",
    "interpreter_releases",
    "interpreter_personalities",
    "interpreter_voices",
    "interpreter_prompts",
    "platform_agents",
    "system_events",
)


@pytest.fixture
def operator(sign_in: SignIn) -> httpx.AsyncClient:
    return sign_in(operator=True)


async def state(look: Look) -> list[Any]:
    """How many rows every table has that publishing writes, and which releases are in charge."""
    counts = [(await look(f"SELECT count(*) AS n FROM {table}"))[0]["n"] for table in TABLES]
    return [*counts, await look("SELECT id, version, is_active FROM interpreter_configs ORDER BY id")]


def deep(levels: int, *, lists: bool = False) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value] if lists else {"a": value}
    return value


ESCAPES = [
    "{{ ''.__class__ }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ interpreter.__init__.__globals__ }}",
    "{{ interpreter['__class__'] }}",
    "{{ interpreter.items() }}",
    "{{ '{0.__class__}'.format(interpreter) }}",
    "{{ '%s'|format(interpreter) }}",
    "{{ self.__dict__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ cycler.__init__ }}",
    "{{ namespace(a=1) }}",
    "{{ config }}",
    "{% set x = ''.__class__ %}",
    "{% import 'os' as os %}",
    "{% include '/etc/passwd' %}",
    "{% extends 'default' %}",
    "{% macro f() %}{% endmacro %}",
    "{% for i in range(999999999) %}x{% endfor %}",
    "{% for c in 'x' * 999999999 %}x{% endfor %}",
    "{{ 9 ** 999999999 }}",
    "{{ 'x' * 999999999 }}",
    "{{ interpreter.personality.traits|join('x' * 999999) }}",
    "{{ " + "(" * 400 + "1" + ")" * 400 + " }}",
    "{% if a %}" * 300,
]


async def test_a_template_that_would_leave_its_sandbox_is_refused(operator: httpx.AsyncClient, look: Look) -> None:
    before = await state(look)
    for written in ESCAPES:
        for place, kind in enumerate(("system", "greeting")):
            prompts = [{"type": kind, "template": written}]
            body = {"changes": {"prompts": prompts}, "activate": True}

            answer = await operator.post("/admin/interpreters/carl/releases", json=body)

            assert answer.status_code == 422, written
            assert answer.headers["content-type"] == "application/problem+json"
            [fault, *_] = answer.json()["errors"]
            assert (fault["field"], fault["line"]) == (f"prompts[{place}].template", 1), written
            assert fault["message"]
    assert await state(look) == before


WRONG: list[tuple[dict[str, Any], str]] = [
    (deep(600), "changes"),
    ({"voice": deep(600)}, "changes"),
    ({"prompts": deep(600, lists=True)}, "changes"),
    ({"prompts": [deep(33)]}, "changes"),
    ({"personality": deep(20)}, "personality.a"),
    ({"name": "a\0"}, "name"),
    ({"description": "\ud800"}, "description"),
    ({"voice": {"stability": -0.01}}, "voice.stability"),
    ({"voice": {"stability": "0.5"}}, "voice.stability"),
    ({"voice": {"stability": True}}, "voice.stability"),
    ({"voice": {"similarity_boost": 1.01}}, "voice.similarity_boost"),
    ({"voice": {"style": 1e308}}, "voice.style"),
    ({"voice": {"speaking_rate": 1.21}}, "voice.speaking_rate"),
    ({"voice": {"speaking_rate": 0.855}}, "voice.speaking_rate"),
    ({"voice": {"use_speaker_boost": "yes"}}, "voice.use_speaker_boost"),
    ({"voice": {"voice_id": "../../v1/agents"}}, "voice.voice_id"),
    ({"voice": []}, "voice"),
    ({"personality": {"traits": "calm"}}, "personality.traits"),
    ({"personality": {"traits": ["calm"] * 33}}, "personality.traits"),
    ({"personality": {"traits": [1]}}, "personality.traits[0]"),
    ({"prompts": {"type": "system"}}, "prompts"),
    ({"prompts": [{"type": "sytem", "template": "x"}]}, "prompts[4].type"),
    ({"prompts": [{"type": "system", "template": None}]}, "prompts[0].template"),
    ({"prompts": [{"type": "closing", "template": "x" * 1_000_000}]}, "prompts[3].template"),
]


@pytest.mark.parametrize("path", ["releases", "preview"])
async def test_changes_of_wrong_type_range_or_depth_name_their_field(
    operator: httpx.AsyncClient, look: Look, path: str
) -> None:
    before = await state(look)
    for changes, field in WRONG:
        # Written out here: a client's own JSON refuses half a surrogate.
        body, headers = json.dumps({"changes": changes}), {"Content-Type": "application/json"}
        answer = await operator.post(f"/admin/interpreters/carl/{path}", content=body, headers=headers)
        assert answer.status_code == 422, field
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["errors"][0]["field"] == field
    assert await state(look) == before


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (deep(600), "document"),
        (SIGMUND | {"voice": deep(600, lists=True)}, "document"),
        (SIGMUND | {"id": "sig\0mund"}, "id"),
        (SIGMUND | {"id": "../carl"}, "id"),
        (SIGMUND | {"voice": {"stability": 8}}, "voice.stability"),
        (SIGMUND | {"prompts": [*SIGMUND["prompts"], {"type": "system", "template": "again"}]}, ""),
        (SIGMUND | {"prompts": []}, "prompts"),
        ([SIGMUND], "document"),
        ("id: &a sigmund\nname: *a", "document"),
    ],
)
async def test_a_broken_document_makes_no_interpreter(
    operator: httpx.AsyncClient, look: Look, wrong: Any, field: str
) -> None:
    before = await state(look)
    answer = await operator.post("/admin/interpreters", json={"document": wrong})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"][0]["field"] == field
    assert await state(look) == before


@pytest.mark.parametrize(
    "body",
    [
        b'{"document": ' + b'{"a": ' * 980 + b"1" + b"}" * 981,
        b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
        b'{"document": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"document": {"id": "sigmund"',
        b'{"document": {"voice": {"stability": NaN}}}',
        b'{"document": {"voice": {"stability": 1e999}}}',
        b"\xff\xfe",
        b"",
    ],
)
async def test_a_body_that_is_no_json_or_a_bomb_is_the_callers_fault(
    operator: httpx.AsyncClient, look: Look, body: bytes
) -> None:
    before = await state(look)
    headers = {"Content-Type": "application/json"}
    answer = await operator.post("/admin/interpreters", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["errors"]
    assert await state(look) == before


async def test_first_words_that_a_long_dream_makes_huge_are_refused_with_the_reason(
    operator: httpx.AsyncClient, look: Look
) -> None:
    before = await state(look)
    template = "{% for trait in interpreter.personality.traits %}{{ trait }}: {{ dream_context }} {% endfor %}"
    changes = {"prompts": [{"type": "greeting", "template": template}]}

    answer = await operator.post("/admin/interpreters/carl/releases", json={"changes": changes, "activate": True})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["message"] == (
        "renders to more than 65536 bytes when a dream is as long as it may be"
    )
    assert await state(look) == before


@pytest.mark.parametrize("name", ["José", "李雷", "Ольга", "Zoë 🌙", "👩‍🚀 Ṛta", "ليلى", "O'Brien-Smith"])
async def test_a_name_in_any_script_survives_the_whole_way_of_a_start(
    operator: httpx.AsyncClient, dreamer: httpx.AsyncClient, look: Look, name: str
) -> None:
    """From the profile through the greeting of an interpreter of that name to what the platform is sent."""
    greeting = {"type": "greeting", "template": "{{ user_name_safe }}, {{ user_name }}: {{ interpreter.name }}."}
    changes = {"name": name, "prompts": [greeting]}
    made = await operator.post("/admin/interpreters/carl/releases", json={"changes": changes, "activate": True})
    assert made.status_code == 201, made.text
    assert (await dreamer.patch("/me", json={"name": name})).json()["name"] == name

    started = await dreamer.post("/conversations", json={"interpreter_id": "carl", "text_only": True})

    assert started.status_code == 201, started.text
    shown = started.json()
    assert shown["interpreter_name"] == name
    assert shown["opening"] == f"{name}, {name}: {name}."
    assert shown["dynamic_variables"]["user_name"] == shown["dynamic_variables"]["user_name_safe"] == name
    assert shown["dynamic_variables"]["opening"] == shown["opening"]
    assert await look("SELECT name FROM interpreter_configs WHERE id = 'carl'") == [{"name": name}]
    assert (await dreamer.get("/interpreters/carl")).json()["name"] == name
