"""Structured logs: an event name and keys, never what a dreamer said."""

import logging
import sys
from typing import Literal

import structlog

from oneiro import tracing

PRIVATE_PREFIX = "pii."


def drop_private(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Drop every key under `pii.`: such a value may be bound for a debugger, it is never written."""
    return {key: value for key, value in event.items() if not key.startswith(PRIVATE_PREFIX)}


def add_trace(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Say to which trace a line belongs, so that one leads to the other."""
    place = tracing.traceparent()
    if place is not None:
        _, event["trace_id"], event["span_id"], _ = place.split("-")
    return event


def configure_logs(log_format: Literal["console", "json"], level: int = logging.INFO) -> None:
    """Send our logs and those of libraries to standard error in one form."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_trace,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        drop_private,
    ]
    last: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    stream = logging.StreamHandler(sys.stderr)
    stream.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                last,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [stream]
    root.setLevel(level)
    # These libraries write addresses with signatures, or whole bodies, at INFO and DEBUG.
    for chatty in ("httpx", "httpcore", "websockets", "elevenlabs", "uvicorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # It warns of every connection that it rolls back, which is how a refused request ends.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
