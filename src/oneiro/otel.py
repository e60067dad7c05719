"""The recorder of traces that speaks OpenTelemetry; the only module that needs the extra `otel`.

What is sampled, the name of the service, batches and headers follow the standard's own `OTEL_…` variables, which the
SDK reads itself.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from oneiro import __version__
from oneiro.errors import OneiroError
from oneiro.tracing import Headers, Value

PATH: Final = "/v1/traces"
_W3C: Final = TraceContextTextMapPropagator()


def to_collector(endpoint: str) -> "Otel":
    """A recorder that sends batches to a collector by OTLP over HTTP; what is left is sent when the process ends."""
    return Otel(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint.rstrip("/") + PATH)))


class Otel:
    """Gives spans to a processor of the SDK."""

    def __init__(self, processor: SpanProcessor) -> None:
        ours = Resource.create({"service.name": "oneiro", "service.version": __version__})
        # What the environment says stands before ours.
        self._provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("oneiro", __version__)

    def close(self) -> None:
        """Send what is left and take nothing more."""
        self._provider.shutdown()

    @contextmanager
    def span(self, name: str, attributes: dict[str, Value]) -> Iterator[None]:
        """A span under the current one."""
        with self._running(self._tracer.start_span(name, attributes=_named(attributes))):
            yield

    @contextmanager
    def continued(self, name: str, parent: str | None, attributes: dict[str, Value]) -> Iterator[None]:
        """A span under one of another time or process, linked to the current one."""
        remote, current = _read(parent), trace.get_current_span().get_span_context()
        context = None
        links: list[Link] = []
        if remote is not None:
            context = trace.set_span_in_context(trace.NonRecordingSpan(remote), Context())
            links = [Link(current)] if current.is_valid and current.trace_id != remote.trace_id else []
        with self._running(self._tracer.start_span(name, context, attributes=_named(attributes), links=links)):
            yield

    @contextmanager
    def request(self, method: str, headers: Headers) -> Iterator[None]:
        """The first span of a new trace, linked to the caller's own."""
        asked = next((value for name, value in headers if name == b"traceparent"), None)
        remote = None if asked is None else _read(asked.decode("latin-1"))
        links: Sequence[Link] = [Link(remote)] if remote is not None else []
        attributes = {"http.request.method": method}
        begun = self._tracer.start_span(method, Context(), kind=SpanKind.SERVER, attributes=attributes, links=links)
        with self._running(begun):
            yield

    def answered(self, name: str, route: str, status: int) -> None:
        """What became of the request."""
        current = trace.get_current_span()
        current.update_name(name)
        current.set_attributes({"http.route": route, "http.response.status_code": status})
        if status >= 500:
            current.set_status(Status(StatusCode.ERROR))

    def past(self, name: str, seconds: float, outcome: str, attributes: dict[str, Value]) -> None:
        """A span that ends now."""
        ended = time.time_ns()
        done = self._tracer.start_span(
            name, attributes=_named({"outcome": outcome} | attributes), start_time=ended - round(seconds * 1e9)
        )
        if outcome != "ok":
            done.set_status(Status(StatusCode.ERROR, outcome))
        done.end(ended)

    def note(self, attributes: dict[str, Value]) -> None:
        """Attributes of the current span."""
        trace.get_current_span().set_attributes(_named(attributes))

    def happened(self, name: str) -> None:
        """A moment within the current span."""
        trace.get_current_span().add_event(name)

    def traceparent(self) -> str | None:
        """The current place."""
        place = trace.get_current_span().get_span_context()
        if not place.is_valid:
            return None
        return f"00-{place.trace_id:032x}-{place.span_id:016x}-{place.trace_flags & 1:02x}"

    @contextmanager
    def _running(self, begun: Span) -> Iterator[None]:
        # The SDK would note an exception with its text, which may quote what was said.
        with trace.use_span(begun, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except asyncio.CancelledError:
                begun.set_attribute("oneiro.cancelled", True)
                raise
            except BaseException as error:
                begun.set_status(Status(StatusCode.ERROR, _code(error)))
                raise


def _code(error: BaseException) -> str:
    return error.code if isinstance(error, OneiroError) else type(error).__name__


def _named(attributes: dict[str, Value]) -> dict[str, str | bool | int | float]:
    return {
        f"oneiro.{key}": value if isinstance(value, str | bool | int | float) else str(value)
        for key, value in attributes.items()
    }


def _read(traceparent: str | None) -> SpanContext | None:
    """A place in a trace; None where it is not written as W3C has it."""
    if traceparent is None:
        return None
    found = trace.get_current_span(_W3C.extract({"traceparent": traceparent}, Context())).get_span_context()
    return found if found.is_valid else None
