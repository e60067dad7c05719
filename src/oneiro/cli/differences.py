"""Differences of two interpreter documents as people read them."""

import difflib
import json
from collections.abc import Iterator
from typing import Any

from oneiro.interpreters import documents, yaml_text


def lines(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """A heading for each field that differs, and below it what goes (`-`) and what comes (`+`)."""
    for found in documents.differences(before, after):
        yield found["field"]
        yield from (f"    {line}" for line in _change(found["before"], found["after"]))


def _change(before: Any, after: Any) -> Iterator[str]:
    if isinstance(before, str) and isinstance(after, str) and "\n" in before + after:
        changed = difflib.unified_diff(before.splitlines(), after.splitlines(), n=2, lineterm="")
        yield from (line for place, line in enumerate(changed) if place > 1)
        return
    yield from (f"- {line}" for line in _text(before))
    yield from (f"+ {line}" for line in _text(after))


def _text(value: Any) -> list[str]:
    """A value on as many lines as it needs; what is not there has none."""
    if value is None:
        return []
    if isinstance(value, str):
        return value.splitlines() or [""]
    if isinstance(value, dict) and "template" in value:
        return str(value["template"]).splitlines()
    if isinstance(value, dict):
        return yaml_text.dump(value).splitlines()
    return [json.dumps(value, ensure_ascii=False)]
