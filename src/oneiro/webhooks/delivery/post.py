"""One attempt to deliver: a POST to a guarded address, bounded in time, its answer's body thrown away."""

import asyncio
import re
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpcore
import httpx

from oneiro.webhooks.delivery.guard import AddressRefused, NameUnknown

TIMEOUT_SECONDS: Final = 15.0
"""For the whole attempt, the name's lookup included; Standard Webhooks advises 15 to 30."""
MOST_ANSWER: Final = 64 * 1024
"""Bytes of an answer that are read, so that the connection can be used again; a longer one costs the connection."""
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
DRAIN_SECONDS: Final = 2.0
GONE: Final = 410
COME_BACK: Final = frozenset({429, 503})
"""Answers whose `Retry-After` counts (RFC 9110, RFC 6585)."""
MOST_PATIENCE: Final = 3600.0
"""The longest wait, in seconds, that a receiver may ask for: the schedule's own longest pause."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt: a status, or a word for why there is none; and how long it took.

    retry_after: seconds that the receiver wants to be left alone for, bounded.
    """

    status: int | None
    error: str | None
    ms: int
    retry_after: float | None = None

    @property
    def ok(self) -> bool:
        """Whether it was taken: 2xx. A redirect is not."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def fault(self) -> bool:
        """Whether the receiver is away or failing; one that refuses, or is busy, is well."""
        return self.status is None or self.status >= 500

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no more."""
        return self.status == GONE


async def post(
    pool: httpcore.AsyncConnectionPool,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    seconds: float = TIMEOUT_SECONDS,
) -> Answer:
    """Post once; never raises for what the receiver or the net does."""
    began = time.perf_counter()
    status, error, retry_after = None, None, None
    try:
        async with asyncio.timeout(seconds):
            status, retry_after = await _send(pool, url, headers, content)
    except (TimeoutError, httpcore.TimeoutException):
        error = "timeout"
    except AddressRefused:
        error = "address"
    except NameUnknown:
        error = "name"
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as fault:
        error = "tls" if _is_tls(fault) else "connection"
    if status is not None and not 200 <= status < 300:
        error = "status"
    return Answer(status, error, round((time.perf_counter() - began) * 1000), retry_after)


def _is_tls(fault: BaseException | None) -> bool:
    """Whether an error of TLS lies beneath, however often it was wrapped."""
    while fault is not None and not isinstance(fault, ssl.SSLError):
        fault = fault.__cause__ or fault.__context__
    return fault is not None


def patience(value: bytes, now: datetime) -> float | None:
    """Seconds that a `Retry-After` asks for, as a number or as a date, bounded; None for anything else."""
    text = value.decode("latin-1").strip()
    if _SECONDS.fullmatch(text):
        return min(float(text), MOST_PATIENCE)
    try:
        until = parsedate_to_datetime(text)
        wait = (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return min(max(wait, 0.0), MOST_PATIENCE)


async def _send(
    pool: httpcore.AsyncConnectionPool, url: str, headers: Mapping[str, str], content: bytes
) -> tuple[int, float | None]:
    """The status, and how long the receiver wants to be left alone."""
    target = httpx.URL(url)
    where = httpcore.URL(scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path)
    sent = {"host": target.netloc.decode(), "content-length": str(len(content)), **headers}
    async with pool.stream("POST", where, headers=list(sent.items()), content=content) as response:
        with suppress(TimeoutError, httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
            await _drain(response)
        asked = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
        if asked is None or response.status not in COME_BACK:
            return int(response.status), None
        return int(response.status), patience(asked, datetime.now(UTC))


async def _drain(response: httpcore.Response) -> None:
    """Read a short answer to its end; what comes after the status changes nothing."""
    seen = 0
    async with asyncio.timeout(DRAIN_SECONDS):
        async for chunk in response.aiter_stream():
            seen += len(chunk)
            if seen > MOST_ANSWER:
                return
