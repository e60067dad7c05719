"""The pages about the document that are made from the model: its JSON Schema and its table of keys.

`python -m oneiro.interpreters.reference docs/reference` writes both; a test compares.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from oneiro.interpreters import documents, grammar, templates
from oneiro.interpreters.models import MAX_ITEMS, MAX_TEMPLATE_BYTES
from oneiro.interpreters.sandbox import FILTERS
from oneiro.interpreters.variables import CONVERSATION

SCHEMA_FILE: Final = "interpreter.schema.json"
PAGE_FILE: Final = "interpreter-document.md"

_INTRODUCTION = """\
# The interpreter document

An interpreter is one document: a YAML file in a repository, a release in the database, `document` in the operator
API. This page and [`interpreter.schema.json`](interpreter.schema.json) are made from the model. An editor completes
and checks a file that begins with

```yaml
# yaml-language-server: $schema=interpreter.schema.json
```

A whole interpreter, as small as it can be:

```yaml
id: ada
name: Ada
full_name: Ada of the Night Desk
description: A patient listener who takes a dream image by image
personality: {approach: cognitive}
prompts:
  - type: system
    template: |
      You are {{ interpreter.name }}, an artificial voice. Stay under {{ max_turn_length }} words a turn.
      {{ dream_context }}
```

The file is UTF-8, at most 2 MiB. Only `true`, `false`, `null` and decimal numbers are anything but text, so `no` and
`2026-11-23` stay text. Anchors, aliases, tags and duplicate keys are refused, and so is every key not named here;
an error names field, line and column. Text may be in any script; control characters are refused.

## Keys
"""

_PROMPTS = """\
## Prompts

There are four types. `system` is rendered once a release, when its agent is made. `greeting` and `follow_up` become
the first words of a conversation, `closing` the farewell; these are rendered for each conversation, on one line. The
prompt named `default` of a type is used; `{% include "tone" %}` takes in another one of the same type, and
`{% include "system/tone" %}` one of another type, to three levels. What follows the system prompt is always added:
the crisis protocol and the interpreter's profile.

A template may print values (`{{ interpreter.full_name }}`), choose (`{% if … %}`, `{% elif … %}`, `{% else %}`), and
loop over a list of the release (`{% for trait in interpreter.personality.traits %}`). Lists print joined with ", ",
objects as JSON, nothing as nothing. Calls, arithmetic, assignments and other tags are refused. So is a template of
more than <bytes> bytes (<expanded> with its includes), one that would take more than <cost> steps (each tag, name
and filter is one; a filter or `in` takes one more for every <letters> letters that its text can have; what stands in a
loop counts <items> times, as often as the longest list would repeat it), and one that renders to more than <output>
bytes, also when it repeats a dream that is as long as it may be. Filters: <filters>.

A value is never read as a template, and doubled braces in values are parted by a space.

## Variables

Of the release, in every prompt: `interpreter` (the document without its prompts), `max_turn_length`,
`conversation_guidelines`. A prompt may declare constants of its own under `variables`, each with a default.

Of the conversation: always sent to the platform. In `system` they can only be printed as they are, since the platform
fills them in; conditions, loops and filters on them are refused there. In the other prompts they can be used freely
(only `opening` cannot be used where it is made), and a declared default stands in for an empty one.

| variable | value |
|---|---|
"""

_CHANGES = """
## Changes

`changes` of the operator API are an RFC 7396 merge patch: objects are merged, `null` removes, lists are replaced
whole. Prompts are the exception: each entry of `prompts` is merged into the prompt of the same type and name (name
`default` when left out), and `deleted: true` removes that prompt.
"""


def schema_text() -> str:
    """The JSON Schema as a file."""
    return json.dumps(documents.json_schema(), indent=2, ensure_ascii=False) + "\n"


def page() -> str:
    """The page about the document."""
    schema = documents.json_schema()
    sections = [_section("document", schema)]
    sections += [_section(name, part) for name, part in schema["$defs"].items()]
    bounds = {
        "bytes": str(MAX_TEMPLATE_BYTES),
        "expanded": str(grammar.MAX_EXPANDED_BYTES),
        "cost": str(grammar.MAX_COST),
        "letters": str(grammar.LETTERS_A_STEP),
        "items": str(MAX_ITEMS),
        "output": str(templates.MAX_OUTPUT_BYTES),
        "filters": ", ".join(f"`{name}`" for name in FILTERS),
    }
    prompts = _PROMPTS
    for name, bound in bounds.items():
        prompts = prompts.replace(f"<{name}>", bound)
    variables = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in CONVERSATION.items())
    return "\n".join((_INTRODUCTION, *sections, prompts)) + variables + _CHANGES


def write(folder: Path) -> None:
    """Write both files."""
    (folder / SCHEMA_FILE).write_text(schema_text(), encoding="utf-8")
    (folder / PAGE_FILE).write_text(page(), encoding="utf-8")


def _section(name: str, part: dict[str, Any]) -> str:
    required = part.get("required", [])
    rows = "".join(
        f"| `{key}` | {_type(value)} | {_default(value, key in required)} | {value.get('description', '')} |\n"
        for key, value in part["properties"].items()
    )
    return f"### {name}\n\n{part['description']}\n\n| key | value | default | meaning |\n|---|---|---|---|\n{rows}"


def _type(value: dict[str, Any]) -> str:
    if "$ref" in value:
        return str(value["$ref"]).rpartition("/")[2]
    if "anyOf" in value:
        return " or ".join(_type(one) for one in value["anyOf"])
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    words = {"array": "list", "object": "map", "string": "text"}
    kind = words.get(value["type"], str(value["type"]))
    inner = value.get("items") or next(iter(value.get("patternProperties", {}).values()), None)
    kind += f" of {_type(inner)}" if isinstance(inner, dict) else ""
    return " ".join((kind, *_bounds(value)))


def _bounds(value: dict[str, Any]) -> Iterator[str]:
    if "pattern" in value:
        yield f"`{value['pattern']}`"
    for least, most, unit in (("minimum", "maximum", ""), ("minLength", "maxLength", ""), ("", "maxItems", " entries")):
        if least in value and most in value:
            yield f"{value[least]}…{value[most]}{unit}"
        elif most in value:
            yield f"≤ {value[most]}{unit}"


def _default(value: dict[str, Any], is_required: bool) -> str:  # noqa: FBT001  # a cell of a table, used in one place
    if is_required:
        return "required"
    default = value.get("default", {})
    return "its own" if default and isinstance(default, dict) else f"`{json.dumps(default, ensure_ascii=False)}`"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
