"""The sandbox that templates are read and rendered in, and how their values become text."""

import json
import time
from collections.abc import Callable
from typing import Any, Final

from jinja2 import StrictUndefined, TemplateRuntimeError, pass_context
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from oneiro.interpreters.variables import neutral

TEXT_FILTERS: Final = ("capitalize", "lower", "title", "trim", "upper")
FILTERS: Final = (*TEXT_FILTERS, "default", "join", "length")
TESTS: Final = ("defined", "none")
BEGIN, END = "\x02", "\x03"  # around a variable left to the platform; documents cannot hold these characters

UNTIL: Final = "render until"  # no name a template could use; CPU time of this thread, so that others cannot spend it


class Placeholder:
    """A value known only in a conversation; in `system` it renders to itself for the platform to fill in."""

    def __init__(self, name: str) -> None:
        self.name = name


def _text(value: Any) -> str:
    """Values as the guide formats them: lists joined with ", ", objects as JSON, nothing as nothing."""
    if isinstance(value, str):
        return neutral(value)
    if value is None:
        return ""
    if isinstance(value, Placeholder):
        return f"{BEGIN}{value.name}{END}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(item) for item in value)
    if isinstance(value, bool | dict):
        return neutral(json.dumps(value, ensure_ascii=False))
    return str(value)


def _timely(work: Callable[..., str]) -> Callable[..., str]:
    """A filter that is refused once the rendering's time is over: loops over long texts spend theirs in filters."""

    @pass_context
    def timely(context: Context, subject: Any) -> str:
        if time.thread_time() > context.get(UNTIL, float("inf")):
            raise TemplateRuntimeError("takes too long")
        return work(subject)

    return timely


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, finalize=_text, trim_blocks=True, lstrip_blocks=True, autoescape=False, cache_size=0
    )
    environment.globals.clear()
    filters = {name: environment.filters[name] for name in FILTERS}
    environment.filters = filters | {name: _timely(filters[name]) for name in TEXT_FILTERS}
    environment.tests = {name: environment.tests[name] for name in TESTS}
    return environment


ENVIRONMENT: Final = _environment()
