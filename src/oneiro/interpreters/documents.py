"""Documents as files, changes and schema: YAML ⇄ model, merge patches, differences, JSON Schema."""

import copy
import difflib
from typing import Any

import pydantic
from pydantic_core import ErrorDetails

from oneiro.errors import ValidationError
from oneiro.interpreters import yaml_text
from oneiro.interpreters.models import (
    APPROACH,
    COLOUR,
    IDENTIFIER,
    INTERPRETER_ID,
    PROMPT_NAME,
    InterpreterDocument,
    Part,
)

_MAX_ERRORS = 50
_MESSAGES = {
    "missing": "this is required",
    "model_type": "must be an object with keys",
    "model_attributes_type": "must be an object with keys",
    "dict_type": "must be an object with keys",
    "tuple_type": "must be a list",
    "string_type": "must be text (in quotes, if it looks like a number or like true, false or null)",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "too_long": "may have at most {max_length} entries",
    "string_too_long": "may have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}
_PATTERNS = {
    INTERPRETER_ID: "must be 2 to 31 lower-case letters, digits and hyphens, and begin with a letter",
    PROMPT_NAME: "must be up to 40 lower-case letters, digits, hyphens and underscores",
    IDENTIFIER: "must be up to 40 lower-case letters, digits and underscores, and begin with a letter",
    APPROACH: "must be one word of up to 40 characters",
    COLOUR: "must be a colour like #8b7cf6",
}


def parse(text: str | bytes) -> InterpreterDocument:
    """Read a YAML (or JSON) document; raises `ValidationError` whose errors hold field, line, column, message."""
    source = yaml_text.load(text)
    return _validated(source.data, source)


def from_data(data: Any) -> InterpreterDocument:
    """Check plain data, as it came in a request; raises `ValidationError` whose errors hold field and message."""
    return _validated(data, yaml_text.Source(data))


def dump(document: InterpreterDocument) -> str:
    """The document as YAML, complete and in the order of the model."""
    return yaml_text.dump(document.data())


def merge(document: InterpreterDocument, changes: Any) -> InterpreterDocument:
    """Apply an RFC 7396 merge patch; prompts are matched by (type, name), and `deleted: true` removes one."""
    if not isinstance(changes, dict):
        raise invalid("changes", "must be an object")
    data = document.data()
    if "id" in changes and changes["id"] != document.id:
        raise invalid("id", f"an interpreter keeps its id: {document.id}")
    if isinstance(changes.get("prompts"), list):
        prompts = _merged_prompts(data["prompts"], changes["prompts"])
        changes = {**changes, "prompts": prompts}
    return from_data(merge_patch(data, changes))


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: objects are merged, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def differences(before: Any, after: Any, path: yaml_text.Path = ()) -> list[dict[str, Any]]:
    """What differs between two documents' data: `{"field", "before", "after"}`, prompts named by type/name."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = [*before, *(key for key in after if key not in before)]
        pairs = ((key, before.get(key), after.get(key)) for key in keys)
        if not path:
            pairs = ((key, *_by_prompt(key, old, new)) for key, old, new in pairs)
        return [found for key, old, new in pairs for found in differences(old, new, (*path, key))]
    return [] if before == after else [{"field": yaml_text.dotted(path), "before": before, "after": after}]


def json_schema() -> dict[str, Any]:
    """The JSON Schema that lets an editor complete and check the YAML."""
    schema = InterpreterDocument.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _by_prompt(key: str, before: Any, after: Any) -> tuple[Any, Any]:
    if key != "prompts":
        return before, after
    return tuple({f"{item['type']}/{item['name']}": item for item in items or ()} for items in (before, after))  # type: ignore[return-value]  # two in, two out


def _merged_prompts(prompts: list[dict[str, Any]], patches: list[Any]) -> list[dict[str, Any]]:
    merged = {(prompt["type"], prompt["name"]): prompt for prompt in prompts}
    seen: set[tuple[Any, Any]] = set()
    for index, patch in enumerate(patches):
        if not isinstance(patch, dict) or not isinstance(patch.get("type"), str):
            raise invalid(f"prompts[{index}]", "must be an object with a type")
        key = (patch["type"], patch.get("name", "default"))
        if not isinstance(key[1], str) or key in seen:
            raise invalid(f"prompts[{index}]", f"{key[0]}/{key[1]} is named twice or by something other than text")
        seen.add(key)
        _patch_prompt(merged, key, patch, index)
    return list(merged.values())


def _patch_prompt(
    merged: dict[tuple[str, str], dict[str, Any]], key: tuple[str, str], patch: dict[str, Any], index: int
) -> None:
    deleted = patch.get("deleted", False)
    if not isinstance(deleted, bool):
        raise invalid(f"prompts[{index}].deleted", "must be true or false")
    if deleted and key not in merged:
        raise invalid(f"prompts[{index}]", f"there is no prompt {key[0]}/{key[1]} to delete")
    if deleted:
        del merged[key]
    else:
        changes = {name: value for name, value in patch.items() if name != "deleted"}
        merged[key] = merge_patch(merged.get(key, {"name": key[1]}), changes)


def _validated(data: Any, source: yaml_text.Source) -> InterpreterDocument:
    try:
        return InterpreterDocument.model_validate(data)
    except pydantic.ValidationError as error:
        details = error.errors(include_url=False, include_context=True)[:_MAX_ERRORS]
    errors = [_explained(detail, source) for detail in details]
    errors.sort(key=lambda found: (found.get("line", 0), found.get("column", 0)))
    first = errors[0]
    line = f", line {first['line']}" if "line" in first else ""
    where = f"{first['field'] or 'document'}{line}"
    end = "" if first["message"].endswith("?") else "."
    raise ValidationError(f"The interpreter document is not valid: {where}: {first['message']}{end}", errors=errors)


def _explained(detail: ErrorDetails, source: yaml_text.Source) -> dict[str, Any]:
    path = _data_path(detail["loc"], source.data)
    place = source.place(path)
    error: dict[str, Any] = {"field": yaml_text.dotted(path)}
    if place:
        error |= {"line": place.line, "column": place.column}
    return error | {"message": _message(detail, path)}


def _data_path(loc: yaml_text.Path, data: Any) -> yaml_text.Path:
    """Keep the steps that lead through the data: a union adds steps of its own at the end."""
    path: list[str | int] = []
    for step in loc:
        if isinstance(data, dict) and isinstance(step, str):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            break
        path.append(step)
    return tuple(path)


def _message(detail: ErrorDetails, path: yaml_text.Path) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if isinstance(detail["input"], str):  # Bounds behind another validator are reported without the word "string".
        kind = {"too_long": "string_too_long", "too_short": "string_too_short"}.get(kind, kind)
    if kind == "extra_forbidden":
        return f"there is no such key here{_suggestion(path)}"
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"must match {context['pattern']}")
    plain = _MESSAGES.get(kind)
    if plain:
        return plain.format(**context)
    text = detail["msg"].removeprefix("Value error, ")
    return text[0].lower() + text[1:]


def _suggestion(path: yaml_text.Path) -> str:
    known = _known_keys(InterpreterDocument, path[:-1])
    close = difflib.get_close_matches(str(path[-1]) if path else "", known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known are {', '.join(known)}" if known else ""


def _known_keys(model: type[Part], path: yaml_text.Path) -> list[str]:
    for step in path:
        if isinstance(step, int):
            continue
        found = _part_within(model.model_fields[step].annotation) if step in model.model_fields else None
        if found is None:
            return []
        model = found
    return list(model.model_fields)


def _part_within(annotation: Any) -> type[Part] | None:
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return annotation
    inner = (_part_within(argument) for argument in getattr(annotation, "__args__", ()))
    return next((found for found in inner if found is not None), None)


def invalid(field: str, message: str) -> ValidationError:
    """The error of one field."""
    return ValidationError(f"{field}: {message}.", errors=[{"field": field, "message": message}])
