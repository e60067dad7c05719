"""`docs/why/from-the-guide.md` accounts for every name of the guide, and tells the truth about ours.

What the page names of ours is recognised by its form: a file (`breaker.py`, `relay/`, with `::name`), a route, a
setting, an event, a metric, a column. Each must exist, or be followed by "(planned)" and not exist.
"""

import importlib
import inspect
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.routing import APIRoute

import oneiro
from oneiro.app import ROUTERS
from oneiro.events.models import EVENT_TYPES

HERE = Path(__file__).parent
SOURCE = Path(oneiro.__file__).parent
PAGE = (HERE.parents[1] / "docs" / "why" / "from-the-guide.md").read_text()
NAMES = [line for line in (HERE / "guide_names.txt").read_text().splitlines() if line and not line.startswith("#")]
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| The guide ")]
CODE = re.compile(r"`([^`]+)`( \(planned\))?")
COLUMN = re.compile(r"([a-z_]+)\.([a-z_]+)(?: = (.+))?")
WORDS = {"system", "greeting", "follow_up", "closing", "user", "interpreter"}  # values of a column, not its default

FORMS = {
    "file": re.compile(r"(?:[a-z_]+/)*(?:[a-z_]+/|[a-z_]+\.(?:py|sql|yaml))(?:::[\w.]+)?"),
    "route": re.compile(r"(?:GET|POST|PUT|PATCH|DELETE) /\S+"),
    "setting": re.compile(r"ONEIRO_[A-Z_]+"),
    "event": re.compile("|".join(re.escape(name) for name in EVENT_TYPES)),
    "metric": re.compile(r"oneiro_[a-z_]+"),
}


def _cells(row: str) -> list[str]:
    return [cell.replace("\\|", "|").strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def _claims() -> set[tuple[str, bool]]:
    """What the page names of ours, and whether it is marked as planned; the guide's own column is left out."""
    ours = [cell for row in ROWS for cell in _cells(row)[1:]]
    prose = [line for line in PAGE.splitlines() if not line.startswith("|")]
    return {(name, bool(planned)) for text in (*ours, *prose) for name, planned in CODE.findall(text)}


def _form(name: str) -> str | None:
    return next((form for form, pattern in FORMS.items() if pattern.fullmatch(name)), None)


@cache
def _source(besides: str) -> str:
    return "\n".join(path.read_text() for path in SOURCE.rglob("*.py") if path != SOURCE / besides)


def _has(owner: Any, name: str) -> bool:
    """Whether it has such an attribute, field or parameter."""
    if hasattr(owner, name) or name in getattr(owner, "__annotations__", {}):
        return True
    return inspect.isclass(owner) and name in inspect.signature(owner).parameters


def _file(name: str) -> bool:
    place, _, inside = name.partition("::")
    if not (SOURCE / place).exists() or not inside:
        return (SOURCE / place).exists()
    owner: Any = importlib.import_module("oneiro." + place.removesuffix(".py").replace("/", "."))
    for step in inside.split("."):
        if not _has(owner, step):
            return False
        owner = getattr(owner, step, None)
    return True


def _route(name: str) -> bool:
    def shape(path: str) -> str:
        return re.sub(r"\{\w+\}", "{}", path)

    method, path = name.split(" ")
    served = {
        (method, shape(f"/v1{route.path}"))
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)  # Sockets have no methods.
        for method in route.methods or ()
    }
    return (method, shape(path)) in served


EXISTS: dict[str, Callable[[str], bool]] = {
    "file": _file,
    "route": _route,
    # A setting that nothing reads, an event that nothing tells and a metric that nothing counts do not exist.
    "setting": lambda name: bool(
        re.search(rf"settings\.{name.removeprefix('ONEIRO_').lower()}\b", _source("settings.py"))
    ),
    "event": lambda name: f'"{name}"' in _source("events/models.py"),
    "metric": lambda name: f'"{name}"' in _source(""),
}


def test_every_name_of_the_guide_has_a_row() -> None:
    accounted = {name for row in ROWS for name, _ in CODE.findall(_cells(row)[0])}
    assert [name for name in NAMES if name not in accounted] == []


def test_every_row_has_a_name_of_the_guide_and_an_answer() -> None:
    known = set(NAMES)
    rows = [_cells(row) for row in ROWS if not row.startswith("|--")]
    assert all(len(cells) == 3 and cells[1] for cells in rows)
    assert [cells[0] for cells in rows if not known & {name for name, _ in CODE.findall(cells[0])}] == []


def test_the_list_names_nothing_twice() -> None:
    assert len(NAMES) == len(set(NAMES)) > 500


@pytest.mark.parametrize("form", FORMS)
def test_what_the_page_names_exists_and_what_is_planned_does_not(form: str) -> None:
    named = [(name, planned) for name, planned in sorted(_claims()) if _form(name) == form]
    assert named
    assert [name for name, planned in named if not planned and not EXISTS[form](name)] == [], "do not exist"
    assert [name for name, planned in named if planned and EXISTS[form](name)] == [], "are no longer planned"


def test_every_column_that_the_page_names_is_in_the_schema_with_the_guide_s_default(db_url: str) -> None:
    with psycopg.connect(db_url) as conn:
        found = conn.execute(
            "SELECT table_name, column_name, column_default FROM information_schema.columns"
            " WHERE table_schema = 'public'"
        ).fetchall()
    schema = {(table, column): (default or "").partition("::")[0] for table, column, default in found}
    tables = {table for table, _, _ in found}
    names = (*NAMES, *(name for name, _ in _claims()))
    named = [match.groups() for match in map(COLUMN.fullmatch, names) if match and match[1] in tables]
    assert len(named) > 100
    assert [(table, column) for table, column, _ in named if (table, column) not in schema] == []
    assert [name for *name, default in named if default not in {None, *WORDS, schema[name[0], name[1]]}] == []


def test_the_guide_s_indexes_exist_and_its_policies_exist_or_are_said_to_be_left_out(db_url: str) -> None:
    with psycopg.connect(db_url) as conn:
        indexes = {row[0] for row in conn.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")}
        policies = {row[0] for row in conn.execute("SELECT policyname FROM pg_policies WHERE schemaname = 'public'")}
    assert [name for name in NAMES if name.startswith("idx_") and name not in indexes] == []
    wanted = {name for name in NAMES if re.fullmatch(r"\w+_(public_read|user_access|service_role)", name)}
    left_out = {f"interpreter_{part}_public_read" for part in ("personalities", "voices", "prompts")}
    assert wanted - policies == left_out
