"""YAML as plain data with the place of every value; small, bounded, and without surprises.

It reads the core schema of YAML 1.2 (only `true`, `false`, `null` and decimal numbers are not text, so `no` and
`2026-11-23` stay what they look like) and refuses anchors, aliases, tags, duplicate keys and deep nesting.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from oneiro.errors import ValidationError

MAX_BYTES = 2 * 1024 * 1024
MAX_NODES = 20_000
MAX_DEPTH = 16

Path = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONSTANTS: dict[str, Any] = {"": None, "~": None, "null": None, "true": True, "false": False}
_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in the text, counted from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Source:
    """Data read from text, and the place of each value by its path."""

    data: Any = None
    places: dict[Path, Place] = field(default_factory=dict)

    def place(self, path: Path) -> Place | None:
        """The place of the value, or of the nearest one around it."""
        while path and path not in self.places:
            path = path[:-1]
        return self.places.get(path)


def dotted(path: Path) -> str:
    """`prompts[0].template`, as errors name fields."""
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return "".join(parts).removeprefix(".")


def load(text: str | bytes) -> Source:
    """Read one YAML document; raises `ValidationError` with field, line and column."""
    try:
        decoded = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    except UnicodeDecodeError as error:
        raise ValidationError(f"The file is not UTF-8 (byte {error.start}).") from None
    if len(decoded.encode(errors="replace")) > MAX_BYTES:
        raise ValidationError(f"The file may have at most {MAX_BYTES} bytes.")
    try:
        return _Reader(yaml.parse(decoded, Loader=_LOADER)).read()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        raise _refused((), place, f"this is not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise _refused((), Place(1, 1), f"this is not YAML: {str(error).splitlines()[0]}") from None


class _Reader:
    """Builds data from YAML events as they come, so that a bomb is refused before it is built."""

    def __init__(self, events: Iterator[Any]) -> None:
        self._events = events
        self._source = Source()
        self._nodes = 0

    def read(self) -> Source:
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _refused((), _place(event), "one document a file, please: there is a second one")
                self._source.data = self._value(next(self._events), ())
        return self._source

    def _value(self, event: Any, path: Path) -> Any:
        self._check(event, path)
        self._source.places[path] = _place(event)
        if isinstance(event, yaml.ScalarEvent):
            return _scalar(event)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        return self._mapping(path)

    def _list(self, path: Path) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, (*path, len(items))))
        return items

    def _mapping(self, path: Path) -> dict[str, Any]:
        values: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _refused(path, _place(event), "a key must be text")
            self._check(event, path)
            if event.value in values:
                raise _refused((*path, event.value), _place(event), "this key stands here twice")
            values[event.value] = self._value(next(self._events), (*path, event.value))
        return values

    def _check(self, event: Any, path: Path) -> None:
        self._nodes += 1
        if isinstance(event, yaml.AliasEvent) or event.anchor:
            raise _refused(path, _place(event), "anchors and aliases (& and *) are not used in interpreter documents")
        if event.tag:
            raise _refused(path, _place(event), "tags (!) are not used in interpreter documents")
        if len(path) > MAX_DEPTH:
            raise _refused(path, _place(event), f"nested more than {MAX_DEPTH} deep")
        if self._nodes > MAX_NODES:
            raise _refused(path, _place(event), f"more than {MAX_NODES} values")


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


def _scalar(event: Any) -> Any:
    return event.value if event.style else _plain(event.value)


def _plain(value: str) -> Any:
    if value in _CONSTANTS:
        return _CONSTANTS[value]
    if _INTEGER.fullmatch(value):
        return int(value)
    return float(value) if _FLOAT.fullmatch(value) else value


def _refused(path: Path, place: Place, message: str) -> ValidationError:
    error = {"field": dotted(path), "line": place.line, "column": place.column, "message": message}
    where = f"{error['field']}, " if error["field"] else ""
    return ValidationError(f"{where}line {place.line}, column {place.column}: {message}.", errors=[error])


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks, and quotes wherever a plain text would not come back as text."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every value out: aliases are refused when reading."""
        return True


def _text_node(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    block = "\n" in value and not value[0].isspace()
    quoted = not block and not isinstance(_plain(value), str)
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if block else '"' if quoted else None)


_Dumper.add_representer(str, _text_node)


def dump(data: Any) -> str:
    """Write plain data as YAML that `load` reads back as the same data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
