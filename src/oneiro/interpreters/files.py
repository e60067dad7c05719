"""Interpreter files: read and checked whole, with every fault at its line of the file."""

from typing import Any

from oneiro.errors import ValidationError
from oneiro.interpreters import documents, yaml_text
from oneiro.interpreters.models import InterpreterDocument
from oneiro.interpreters.prompts import validate

HEAD = "# yaml-language-server: $schema={schema}\n"


def read(text: bytes) -> InterpreterDocument:
    """Read a file and check its prompts, too; raises `ValidationError` whose errors hold field, line and message."""
    document = documents.parse(text)
    try:
        validate(document)
    except ValidationError as error:
        source = yaml_text.load(text)
        lines = text.decode("utf-8-sig").splitlines()
        raise ValidationError(
            error.detail, errors=[_placed(found, source, lines) for found in error.errors or []]
        ) from None
    return document


def write(document: InterpreterDocument, schema: str) -> str:
    """The document as a file whose first line names its schema to editors."""
    return HEAD.format(schema=schema) + documents.dump(document)


def _placed(error: dict[str, Any], source: yaml_text.Source, lines: list[str]) -> dict[str, Any]:
    """The error with the line of the file instead of the template's own."""
    index = int(error["field"].removeprefix("prompts[").partition("]")[0])
    place = source.place(("prompts", index, "template"))
    if place is None:
        return error
    # The text of a block begins on the line after its mark.
    is_block = lines[place.line - 1][place.column - 1 : place.column] in {"|", ">"}
    return error | {"line": place.line + error["line"] - (0 if is_block else 1), "template_line": error["line"]}
