from pathlib import Path

from oneiro.interpreters import documents, reference
from oneiro.interpreters.variables import CONVERSATION

DOCS = Path(__file__).parents[2] / "docs" / "reference"
COMMAND = "run: python -m oneiro.interpreters.reference docs/reference"


def test_the_schema_in_the_docs_is_the_models() -> None:
    assert (DOCS / reference.SCHEMA_FILE).read_text(encoding="utf-8") == reference.schema_text(), COMMAND


def test_the_page_in_the_docs_is_the_models() -> None:
    assert (DOCS / reference.PAGE_FILE).read_text(encoding="utf-8") == reference.page(), COMMAND


def test_the_schema_closes_every_object_and_requires_what_the_model_does() -> None:
    schema = documents.json_schema()
    assert schema["required"] == ["id", "name", "full_name", "description", "personality"]
    assert all(part["additionalProperties"] is False for part in (schema, *schema["$defs"].values()))


def test_the_page_names_every_variable_and_no_mark_is_left() -> None:
    page = reference.page()
    assert all(f"| `{name}` |" in page for name in CONVERSATION)
    assert "<" not in page


def test_the_example_on_the_page_is_a_valid_document() -> None:
    example = reference.page().split("```yaml\n")[2].partition("```")[0]
    assert documents.parse(example).id == "ada"
