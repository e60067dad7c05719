"""Faults on demand: the engine misbehaves as the real platform may, when a test or an operator asks for it.

A fault strikes where it matches, `times` often (else always) and with a `chance`. HTTP faults match a method and a
path pattern; those of the socket are drawn once for each socket, those of the webhook once for each delivery.
"""

import random
import tomllib
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

MOST_FAULTS = 200
Seconds = Annotated[float, Field(ge=0, le=600)]


class _Fault(BaseModel):
    model_config = ConfigDict(extra="forbid")

    times: Annotated[int, Field(ge=1)] | None = None
    chance: Annotated[float, Field(gt=0, le=1)] = 1.0
    struck: Annotated[int, Field(description="How often it has struck; set here.")] = 0


class _Http(_Fault):
    """A fault of HTTP requests whose method and path match; `*` in the path stands for anything."""

    method: str | None = None
    path: str = "/v1/*"


class Latency(_Http):
    """The request is taken up late."""

    kind: Literal["latency"]
    seconds: Seconds


class SlowFirstByte(_Http):
    """The request is done at once, and its answer begins late."""

    kind: Literal["slow_first_byte"]
    seconds: Seconds


class Status(_Http):
    """The answer is an error; `after_commit`: although the request was done.

    Codes of a 429: `rate_limit_exceeded`, `concurrent_limit_exceeded`.
    """

    kind: Literal["status"]
    status: Annotated[int, Field(ge=400, le=599)]
    code: str = "injected_fault"
    retry_after: Seconds | None = None
    after_commit: bool = False


class Reset(_Http):
    """The connection breaks before the first byte of the body; `after_commit`: although the request was done."""

    kind: Literal["reset"]
    after_commit: bool = False


class Malformed(_Http):
    """The answer breaks off in the middle of its JSON, although the request was done."""

    kind: Literal["malformed"]


class NotKept(_Http):
    """Fields of the body, by dotted names, are taken and not kept."""

    kind: Literal["not_kept"]
    fields: list[str] = Field(min_length=1)


class Drop(_Fault):
    """The socket breaks without a close, in place of its frame of this number (the metadata is number 1)."""

    kind: Literal["drop"]
    frame: Annotated[int, Field(ge=1)]


class Close(_Fault):
    """The socket is closed with a code, in place of its frame of this number."""

    kind: Literal["close"]
    frame: Annotated[int, Field(ge=1)]
    code: Annotated[int, Field(ge=1000, le=4999)] = 1011
    reason: Annotated[str, Field(max_length=120)] = "Internal error"


class Webhook(_Fault):
    """The post-call webhook comes twice, `seconds` late, or never."""

    kind: Literal["webhook"]
    what: Literal["duplicate", "late", "never"]
    seconds: Seconds = 1.0


class Concurrency(_Fault):
    """No more than so many sockets at a time: further ones get no address, or are closed."""

    kind: Literal["concurrency"]
    most: Annotated[int, Field(ge=0)]


Fault = Latency | SlowFirstByte | Status | Reset | Malformed | NotKept | Drop | Close | Webhook | Concurrency
HttpFault = Latency | SlowFirstByte | Status | Reset | Malformed | NotKept
SocketFault = Drop | Close
_FAULTS: TypeAdapter[list[Fault]] = TypeAdapter(
    Annotated[list[Annotated[Fault, Field(discriminator="kind")]], Field(max_length=MOST_FAULTS)]
)
Kind = TypeVar("Kind", bound=_Fault)


class Cut(Exception):
    """The socket is to be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Faults:
    """The faults of one engine; with a `seed` those with a chance strike in the same order again."""

    def __init__(self, faults: Iterable[Fault] = (), *, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311 - dice, no secret.
        self._faults: list[Fault] = [fault.model_copy() for fault in faults]

    def all(self) -> list[Fault]:
        """Every fault, also those that have struck as often as they should."""
        return list(self._faults)

    def add(self, faults: list[Fault]) -> None:
        """Add faults; the first that matches strikes."""
        self._faults = [*self._faults, *(fault.model_copy(update={"struck": 0}) for fault in faults)][-MOST_FAULTS:]

    def clear(self) -> None:
        """Behave well again."""
        self._faults = []

    def http(self, method: str, path: str) -> HttpFault | None:
        """The fault of a request."""
        for fault in self._faults:
            if (
                isinstance(fault, HttpFault)
                and fault.method in {None, method}
                and fnmatchcase(path, fault.path)
                and self._strikes(fault)
            ):
                return fault
        return None

    def socket(self) -> SocketFault | None:
        """The fault of a new socket."""
        return next((fault for fault in self._of(SocketFault) if self._strikes(fault)), None)

    def webhook(self) -> Webhook | None:
        """The fault of a delivery."""
        return next((fault for fault in self._of(Webhook) if self._strikes(fault)), None)

    def full(self, sockets: int) -> bool:
        """Whether so many open sockets are all there may be."""
        return any(sockets >= fault.most and self._strikes(fault) for fault in self._of(Concurrency))

    def _of(self, kind: Any) -> list[Any]:
        return [fault for fault in self._faults if isinstance(fault, kind)]

    def _strikes(self, fault: Fault) -> bool:
        if fault.times is not None and fault.struck >= fault.times:
            return False
        if fault.chance < 1 and self._random.random() >= fault.chance:
            return False
        fault.struck += 1
        return True


def parse(data: object) -> list[Fault]:
    """Faults as plain data; raises ValueError with one line that names the first that is wrong."""
    try:
        return _FAULTS.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"faults.{place}: {first['msg']}") from None


def read(path: Path) -> list[Fault]:
    """Faults of a TOML file with `[[fault]]` tables; raises ValueError with one line, or OSError."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from None
    return parse(data.get("fault", []))


def without(body: Any, fields: list[str]) -> Any:
    """A JSON body without these fields."""
    for name in fields:
        *above, last = name.split(".")
        inner = body
        for key in above:
            inner = inner.get(key) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner.pop(last, None)
    return body
