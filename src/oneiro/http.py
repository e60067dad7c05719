"""What every route shares: problem documents, who is calling, bounded bodies, pages of a list."""

import asyncio
import base64
import binascii
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from urllib.parse import parse_qsl
from uuid import UUID

import structlog
from fastapi import Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneiro.auth import Identity, Tokens
from oneiro.errors import NotFound, OneiroError, SecurityError, TooLarge, Unauthenticated, ValidationError

log = structlog.get_logger()

PROBLEM_JSON = "application/problem+json"
MAX_BODY = 256 * 1024


class Problem(BaseModel):
    """An error as RFC 9457 has it, with a code for programs and whether trying again can help."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    retryable: bool = False
    retry_after: float | None = None
    errors: list[dict[str, Any]] | None = None


def problem(error: OneiroError) -> JSONResponse:
    """The problem document of an error, with `Retry-After` and `WWW-Authenticate` where they belong."""
    body = Problem(
        type=f"urn:oneiro:problem:{error.code}",
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        retryable=error.retryable,
        retry_after=error.retry_after,
        errors=error.errors,
    )
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        body.model_dump(exclude_none=True), status_code=error.status, headers=headers, media_type=PROBLEM_JSON
    )


def install_problems(app: FastAPI) -> None:
    """Render the errors of the app as problem documents."""

    @app.exception_handler(OneiroError)
    async def _ours(_request: Request, error: OneiroError) -> JSONResponse:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # What was sent is not repeated: it may be a dream.
        said = [(_field(item["loc"]), item["msg"].removeprefix("Value error, ")) for item in error.errors()]
        found = [{"field": field, "message": message} for field, message in said]
        listed = "; ".join(f"{item['field']}: {item['message']}" for item in found[:3])
        return problem(ValidationError(f"The request is not valid. {listed}", errors=found))

    @app.exception_handler(HTTPException)
    async def _http(_request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # So FastAPI answers a body that its reader gave up on.
            said = "is no JSON that can be read: it is not UTF-8, or nested too deeply"
            return problem(ValidationError(f"The body {said}.", errors=[{"field": "body", "message": said}]))
        title = HTTPStatus(error.status_code).phrase
        body = Problem(title=title, status=error.status_code, detail=title, code=title.lower().replace(" ", "_"))
        return JSONResponse(
            body.model_dump(exclude_none=True),
            status_code=error.status_code,
            headers=error.headers,
            media_type=PROBLEM_JSON,
        )


class Faults:
    """Answers what nobody foresaw with a problem document, and notes where it happened.

    The exception's own message is not written down: a database's may quote a row.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and catch what escapes."""
        answered = False

        async def watched(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:  # noqa: BLE001 - the last place where anything can be answered.
            places = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
            log.error("request.failed", error=type(error).__name__, where=places[-3:])  # noqa: TRY400 - see above.
            if answered or scope["type"] != "http":
                raise ConnectionAbortedError("the answer broke off") from None
            await problem(OneiroError("This is a fault of ours. It has been noted; please try again."))(
                scope, receive, send
            )


def _field(location: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in location if part not in {"body", "query", "path", "header"}) or "body"


class RememberedTokens:
    """Checks of tokens, remembered for a short while: a client sends the same one with every request.

    A token that has expired is checked again and refused; a key that was taken out of the set is followed after
    `seconds` at the latest. At most `most` are held; refusals are not.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        seconds: float = 30.0,
        most: int = 2000,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._tokens, self._seconds, self._most, self._clock = tokens, seconds, most, clock
        self._known: OrderedDict[str, tuple[float, Identity]] = OrderedDict()

    async def verify(self, token: str) -> Identity:
        """The caller of a valid token; raises `Unauthenticated` with what is wrong."""
        now = self._clock()
        until, known = self._known.get(token, (now, None))
        if known is not None and now < until:
            return known
        caller = await self._tokens.verify(token)
        self._known[token] = min(now + self._seconds, caller.expires_at.timestamp()), caller
        self._known.move_to_end(token)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return caller


_bearer = HTTPBearer(auto_error=False, description="A Supabase-style JWT.")


def part(name: str) -> Any:
    """A dependency on a part of this process; a plain function would cost each request a visit to a thread."""

    async def found(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(found)


async def identity(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Identity:
    """The caller; raises `Unauthenticated` without a valid token."""
    if credentials is None:
        raise Unauthenticated("Send a token: Authorization: Bearer …")
    caller: Identity = await request.app.state.tokens.verify(credentials.credentials)
    return caller


async def identity_if_any(
    request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Identity | None:
    """The caller, or None without a token; a token that does not hold is still refused."""
    return await identity(request, credentials) if credentials else None


async def operator(caller: Annotated[Identity, Depends(identity)]) -> Identity:
    """The caller, who is an operator or a trusted server; raises `SecurityError` for a dreamer."""
    if not caller.operator:
        raise SecurityError("This is for operators.")
    return caller


Caller = Annotated[Identity, Depends(identity)]
CallerIfAny = Annotated[Identity | None, Depends(identity_if_any)]
Operator = Annotated[Identity, Depends(operator)]


class Stopping(OneiroError):
    """The process is about to end and takes nothing new; another one does."""

    status = 503
    title = "This server is about to stop"
    code = "stopping"
    retryable = True


async def accepting(request: Request) -> None:
    """Raise `Stopping` while the process drains."""
    if request.app.state.stopping.is_set():
        raise Stopping("This server is about to stop. Please try again: another one answers.", retry_after=1.0)


class BoundedBody:
    """Refuses bodies over a bound, by their declared length or as they arrive.

    `larger`: other bounds, by the beginning of a path. `own`: paths whose route reads its body itself, by `body_of`.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit: int = MAX_BODY,
        larger: Mapping[str, int] | None = None,
        own: Collection[str] = (),
    ) -> None:
        self._app = app
        self._limit = limit
        self._larger = larger or {}
        self._own = frozenset(own)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the whole body first, then pass the request on with it."""
        if scope["type"] != "http" or scope["path"] in self._own:
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope["path"])
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        chunks: list[Message] = []
        size, more = 0, True
        too_large = not declared.isdigit() or int(declared) > limit
        while more and not too_large:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # Nobody is there to be answered.
            chunks.append(message)
            size += len(message.get("body", b""))
            more, too_large = message.get("more_body", False), size > limit
        if too_large:
            await problem(too_much(limit))(scope, receive, send)
            return
        await self._app(scope, _replay(chunks, receive), send)

    def _limit_of(self, path: str) -> int:
        return next((limit for begin, limit in self._larger.items() if path.startswith(begin)), self._limit)


def too_much(limit: int) -> TooLarge:
    """The error for a body over its bound."""
    return TooLarge(f"The body may have at most {limit} bytes.")


async def body_of(request: Request, *, limit: int, seconds: float) -> bytes:
    """Read a body up to a bound and for so long; raises `TooLarge`, or `ValidationError` when it does not arrive."""
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                chunks.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise too_much(limit)
    except (TimeoutError, ClientDisconnect):
        raise ValidationError("The body did not arrive.", code="body_incomplete") from None
    return b"".join(chunks)


class StorableAddress:
    """Refuses an address with a NUL character, which neither the database nor a file system can hold.

    In a path nothing can be found by such a name; in a query the field is named.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with what is wrong."""
        error = _unstorable(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
        else:
            await problem(error)(scope, receive, send)


def _unstorable(scope: Scope) -> OneiroError | None:
    if "\0" in scope["path"]:
        return NotFound("There is no such page.")
    if b"%00" in scope["query_string"]:
        named = [name for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if "\0" in name + value]
        errors = [{"field": name.replace("\0", ""), "message": "must not hold the character NUL"} for name in named]
        return ValidationError("The address holds the character NUL.", errors=errors)
    return None


def _replay(chunks: list[Message], receive: Receive) -> Receive:
    waiting = iter(chunks)

    async def replayed() -> Message:
        for message in waiting:
            return message
        return await receive()

    return replayed


class Cursor(NamedTuple):
    """The place in a list after which the next page begins: its last item's time and key."""

    at: datetime
    key: str

    def encode(self) -> str:
        """The cursor as an opaque word."""
        return base64.urlsafe_b64encode(f"{self.at.isoformat()}|{self.key}".encode()).decode().rstrip("=")

    @property
    def uuid(self) -> UUID:
        """The key of a list that is ordered by time and id; raises `ValidationError` for another list's cursor."""
        try:
            return UUID(self.key)
        except ValueError:
            raise _not_ours() from None

    @property
    def number(self) -> int:
        """The key of a list that is ordered by time and number; raises `ValidationError` for another list's cursor."""
        if not self.key.isdecimal() or len(self.key) > 18:
            raise _not_ours()
        return int(self.key)


def _decode(word: str) -> Cursor:
    try:
        at, _, key = base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)).decode().partition("|")
        if "\0" in key:
            raise _not_ours()
        return Cursor(datetime.fromisoformat(at).astimezone(UTC), key)
    except (binascii.Error, UnicodeDecodeError, ValueError, OverflowError):
        raise _not_ours() from None


def _not_ours() -> ValidationError:
    return ValidationError(
        "The cursor is not one of this list; start again without it.",
        errors=[{"field": "cursor", "message": "is not valid"}],
    )


class Page(NamedTuple):
    """Which part of a list is asked for."""

    limit: int
    cursor: Cursor | None


async def page(
    limit: Annotated[int, Query(ge=1, le=100, description="Items on a page.")] = 20,
    cursor: Annotated[str | None, Query(max_length=200, description="`next_cursor` of the page before.")] = None,
) -> Page:
    """The page that the query asks for."""
    return Page(limit, _decode(cursor) if cursor else None)


Paged = Annotated[Page, Depends(page)]


Item = TypeVar("Item")


class ListOf(BaseModel, Generic[Item]):
    """One page of a list."""

    items: list[Item]
    next_cursor: str | None = Field(None, description="Cursor of the next page; null on the last one.")
