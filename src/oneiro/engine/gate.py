"""What stands before the routes: the API key and the size of a body are checked before anything is read."""

import asyncio
import json
from contextlib import suppress
from typing import Final

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneiro.engine import faults
from oneiro.engine.problems import Refusal
from oneiro.engine.state import Engine

MOST_BODY: Final = 2 * 1024 * 1024
"""Bytes of a request's body."""


class Gate:
    """Every request passes here first, so the faults of HTTP are put in at this place."""

    def __init__(self, app: ASGIApp, engine: Engine) -> None:
        self._app, self._engine = app, engine

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on or refuse it; sockets are admitted by their own route."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await JSONResponse(refusal.body(), refusal.status)(scope, receive, send)
            return
        fault = self._engine.faults.http(scope["method"], scope["path"]) if scope["type"] == "http" else None
        await self._misbehave(fault, scope, receive, send)

    async def _misbehave(self, fault: faults.HttpFault | None, scope: Scope, receive: Receive, send: Send) -> None:
        match fault:
            case faults.Latency():
                await asyncio.sleep(fault.seconds)
            case faults.SlowFirstByte():
                send = _late(send, fault.seconds)
            case faults.NotKept():
                receive = await _without(receive, fault.fields)
            case faults.Status() | faults.Reset() | faults.Malformed():
                if not isinstance(fault, faults.Malformed) and not fault.after_commit:
                    await receive()
                else:
                    await self._app(scope, receive, _nowhere)
                await _spoilt(fault, scope, receive, send)
                return
        await self._app(scope, receive, send)

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


async def _nowhere(message: Message) -> None:
    """An answer that gets lost."""


def _late(send: Send, seconds: float) -> Send:
    async def later(message: Message) -> None:
        if message["type"] == "http.response.start":
            await asyncio.sleep(seconds)
        await send(message)

    return later


async def _without(receive: Receive, fields: list[str]) -> Receive:
    """The request's body as one message without these fields."""
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    with suppress(ValueError):
        body = json.dumps(faults.without(json.loads(body), fields)).encode()
    waiting = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def replayed() -> Message:
        return next(waiting, None) or await receive()

    return replayed


async def _spoilt(
    fault: faults.Status | faults.Reset | faults.Malformed, scope: Scope, receive: Receive, send: Send
) -> None:
    """The answer of a fault; one that breaks off promises more than it sends, and the server ends the connection."""
    if isinstance(fault, faults.Status):
        refusal = Refusal(fault.status, fault.code, "This fault was asked for.", "injected_error")
        headers = {} if fault.retry_after is None else {"Retry-After": f"{fault.retry_after:g}"}
        await JSONResponse(refusal.body(), refusal.status, headers)(scope, receive, send)
        return
    body = b'{"detail": "This is cut o' if isinstance(fault, faults.Malformed) else b""
    length = len(body) if isinstance(fault, faults.Malformed) else 1
    headers_sent = [(b"content-type", b"application/json"), (b"content-length", str(length).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers_sent})
    await send({"type": "http.response.body", "body": body, "more_body": isinstance(fault, faults.Reset)})
