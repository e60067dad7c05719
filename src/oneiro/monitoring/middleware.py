"""Measures how long requests take, by the template of their route, and begins their traces."""

import time
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneiro import tracing
from oneiro.metrics import OTHER, Metrics

UNMATCHED: Final = "unmatched"
# Asked every few seconds by machines: not worth a trace.
UNTRACED: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Measured:
    """Observes each request once its answer begins: a stream of events is not a slow request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        method = scope["method"] if scope["method"] in _METHODS else OTHER

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = _template(scope)
                self._metrics.request(route, method, message["status"], time.perf_counter() - began)
                tracing.answered(method, route, message["status"])
            await send(message)

        if scope["path"] in UNTRACED:
            await self._app(scope, receive, watched)
            return
        with tracing.request(method, scope["headers"]):
            await self._app(scope, receive, watched)


def _template(scope: Scope) -> str:
    """The path as it is declared, `/v1/dreams/{dream_id}`; never what was asked for.

    A route knows its own part of it; what stands before that is the prefix of its router, which has no parameters.
    """
    declared = getattr(scope.get("route"), "path", None)
    if not isinstance(declared, str):
        return UNMATCHED
    asked = scope["path"].split("/")
    prefix = asked[1 : len(asked) - declared.count("/")] if ":path}" not in declared else []
    return "".join(f"/{part}" for part in prefix) + declared
