"""Traces: where the time of a conversation goes, from the request for it to the consumers of its events.

Off until a recorder is installed, and then every function here returns at once; `oneiro.otel` is the one recorder.
Attributes hold ids of conversations, interpreters, codes and counts, never what was said and never who said it. The
place in a trace travels as W3C `traceparent`: with a transaction (`oneiro.traceparent`), and so with the rows of
`conversations` and `system_events`.
"""

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from importlib import import_module
from typing import Any, Final, ParamSpec, Protocol, TypeVar
from urllib.parse import urlsplit
from uuid import UUID

from oneiro.errors import SetupError

Value = str | int | float | bool | UUID
Headers = Iterable[tuple[bytes, bytes]]
P = ParamSpec("P")
R = TypeVar("R")

_NOTHING: Final = nullcontext()


class Recorder(Protocol):
    """Takes spans; a `parent` is a W3C `traceparent`, and may be none."""

    def span(self, name: str, attributes: dict[str, Value]) -> AbstractContextManager[None]:
        """A span under the current one."""
        ...

    def continued(self, name: str, parent: str | None, attributes: dict[str, Value]) -> AbstractContextManager[None]:
        """A span under one of another time or process, linked to the current one."""
        ...

    def request(self, method: str, headers: Headers) -> AbstractContextManager[None]:
        """The first span of a new trace, linked to the caller's own."""
        ...

    def answered(self, name: str, route: str, status: int) -> None:
        """What became of the request."""
        ...

    def past(self, name: str, seconds: float, outcome: str, attributes: dict[str, Value]) -> None:
        """A span that ends now."""
        ...

    def note(self, attributes: dict[str, Value]) -> None:
        """Attributes of the current span."""
        ...

    def happened(self, name: str) -> None:
        """A moment within the current span."""
        ...

    def traceparent(self) -> str | None:
        """The current place."""
        ...


_recorder: Recorder | None = None


def start(endpoint: str | None) -> None:
    """Send spans to the collector at `endpoint` from now on, once for a process; None: leave everything as it is.

    Raises `SetupError` when the extra `otel` is not installed or the endpoint is no address.
    """
    if not endpoint or _recorder is not None:
        return
    if urlsplit(endpoint).scheme not in {"http", "https"}:
        raise SetupError("OTEL_EXPORTER_OTLP_ENDPOINT must begin with http:// or https://")
    try:
        otel = import_module("oneiro.otel")  # Only here, since its libraries are an extra.
    except ImportError:
        raise SetupError(
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces need an extra: pip install 'oneiro[otel]'"
        ) from None
    install(otel.to_collector(endpoint))


def install(recorder: Recorder | None) -> None:
    """Have spans taken by this recorder; None: by nobody."""
    global _recorder  # noqa: PLW0603 - one for a process, like the environment that switches it on.
    _recorder = recorder


def span(name: str, **attributes: Value) -> AbstractContextManager[None]:
    """Measure a block as a part of what goes on around it."""
    return _NOTHING if _recorder is None else _recorder.span(name, attributes)


def continued(name: str, traceparent: str | None, **attributes: Value) -> AbstractContextManager[None]:
    """Measure a block as a part of what was begun earlier or elsewhere; without a traceparent it begins a trace."""
    return _NOTHING if _recorder is None else _recorder.continued(name, traceparent, attributes)


def request(method: str, headers: Headers) -> AbstractContextManager[None]:
    """Measure a request.

    It begins a trace of its own: whoever calls from outside must decide neither whether we record nor in whose
    trace. The trace that the caller names in its headers is linked.
    """
    return _NOTHING if _recorder is None else _recorder.request(method, headers)


def answered(method: str, route: str, status: int) -> None:
    """Name the request's span, once its route is known: by the route's template, never by the path."""
    if _recorder is not None:
        _recorder.answered(f"{method} {route}", route, status)


def past(name: str, seconds: float, outcome: str = "ok", **attributes: Value) -> None:
    """Note what took so long and is over now; `outcome` is `ok` or an error's code."""
    if _recorder is not None:
        _recorder.past(name, seconds, outcome, attributes)


def note(**attributes: Value) -> None:
    """Add attributes to the current span."""
    if _recorder is not None:
        _recorder.note(attributes)


def happened(name: str) -> None:
    """Mark a moment in the current span: an event was written."""
    if _recorder is not None:
        _recorder.happened(name)


def traceparent() -> str | None:
    """The current place in a trace, as W3C has it; None outside of any."""
    return None if _recorder is None else _recorder.traceparent()


def traced(name: str) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Coroutine[Any, Any, R]]]:
    """Measure every call of an asynchronous function."""

    def decorated(function: Callable[P, Awaitable[R]]) -> Callable[P, Coroutine[Any, Any, R]]:
        @wraps(function)
        async def measured(*args: P.args, **kwargs: P.kwargs) -> R:
            with span(name):
                return await function(*args, **kwargs)

        return measured

    return decorated
