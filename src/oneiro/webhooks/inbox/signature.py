"""The signature of the platform's webhooks: `ElevenLabs-Signature: t=<seconds>,v0=<hex HMAC-SHA256 of "t.body">`.

The SDK's own check takes times of the far future, compares byte by byte and fails on bytes, so this one is ours; a
test compares the two.
"""

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from oneiro.errors import Unauthenticated

HEADER: Final = "elevenlabs-signature"
TOLERANCE: Final = timedelta(minutes=30)
"""How far the signature's time may lie from ours, both ways (the SDK's figure)."""
_TIME: Final = re.compile(r"\d{1,12}", re.ASCII)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_MOST_SIGNATURES: Final = 5


def verify(secret: str, header: str | None, body: bytes, now: datetime) -> None:
    """Check a body as it came; raises `Unauthenticated` with what is wrong.

    The header may hold several signatures, as while a secret is being changed; one that fits is enough.
    """
    time, given = read(header, now)
    expected = hmac.new(secret.encode(), f"{time}.".encode() + body, hashlib.sha256).hexdigest()
    if not any(hmac.compare_digest(expected.encode(), each.encode()) for each in given):
        raise _refused("The signature does not fit the body.")


def read(header: str | None, now: datetime) -> tuple[str, list[str]]:
    """The time and the signatures of a header, before there is a body; raises `Unauthenticated` with what is wrong."""
    parts = [part.strip().partition("=") for part in (header or "").split(",")]
    times = [value for name, _, value in parts if name == "t"]
    given = [value for name, _, value in parts if name == "v0" and _DIGEST.fullmatch(value)][:_MOST_SIGNATURES]
    if len(times) != 1 or not _TIME.fullmatch(times[0]) or not given:
        raise _refused("The signature is missing or cannot be read.")
    if abs(now.astimezone(UTC).timestamp() - int(times[0])) > TOLERANCE.total_seconds():
        raise _refused("The signature's time is too far from ours.")
    return times[0], given


def _refused(detail: str) -> Unauthenticated:
    return Unauthenticated(detail, code="invalid_signature")
