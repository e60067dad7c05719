"""What stands before the routes: the API key and the size of a body are checked before anything is read."""

from typing import Final

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from oneiro.engine.problems import Refusal
from oneiro.engine.state import Engine

MOST_BODY: Final = 2 * 1024 * 1024
"""Bytes of a request's body."""


class Gate:
    """Every request passes here first, so a fault of HTTP would be put in at this place."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app, self._engine = app, engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it; sockets are admitted by their own route."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await JSONResponse(refusal.body(), refusal.status)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope=scope)
        if not self._engine.accepts(headers.get("xi-api-key")) and not _keyless(scope):
            return Refusal(401, "invalid_api_key", "Invalid API key", "authentication_error")
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal() or int(length) > MOST_BODY:
            message = f"A body has at most {MOST_BODY} bytes and says how many."
            return Refusal(413, "request_too_large", message)
        return None


def _keyless(scope: Scope) -> bool:
    """Feedback is posted by the browser, which has no key."""
    path: str = scope["path"]
    return scope["method"] == "POST" and path.startswith("/v1/convai/conversations/") and path.endswith("/feedback")
