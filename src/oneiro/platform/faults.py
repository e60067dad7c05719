"""What a refusal of the platform means, by its status and body.

Bodies (elevenlabs.io/docs/eleven-api/resources/errors): `{"detail": [{"loc", "msg", "type"}, …]}` of a validation,
`{"detail": {"type", "code", "message", "status", …}}` otherwise, on older routes without code; or plain text.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from oneiro.errors import OneiroError
from oneiro.platform.errors import PlatformBusy, PlatformLacks, PlatformRefused, PlatformUnavailable

NO_VOICE: Final = {"voice_not_found", "voice_does_not_exist"}
"""Codes that have come with 400 for a voice that is not there (elevenlabs-python#293)."""
COME_AGAIN: Final = {408, 425, 429}
DEFAULT_RETRY_AFTER: Final = 5.0
LONGEST_RETRY_AFTER: Final = 300.0
LONGEST_MESSAGE: Final = 300


def fault_of(
    status: int | None, headers: Mapping[str, str] | None, body: object, *, secret: str, now: datetime
) -> OneiroError:
    """Our error for an answer that is none: ours when it lies in what we asked, the platform's otherwise.

    429 comes as `rate_limit_exceeded` and as `concurrent_limit_exceeded`: both pass,
    and neither is a fault of the platform. `secret` is cut out of texts.
    """
    said = message(body).replace(secret, "…")[:LONGEST_MESSAGE]
    if status is None or status < 300:
        return PlatformUnavailable("The voice platform gave an answer that cannot be read.")
    if status in COME_AGAIN or status >= 500:
        wait = retry_after(headers or {}, now)
        kind = PlatformBusy if status == 429 else PlatformUnavailable
        return kind(
            f"The voice platform answered {status}{_colon(code(body))}. Please try again shortly.",
            retry_after=DEFAULT_RETRY_AFTER if wait is None and status == 429 else wait,
        )
    if status == 404 or code(body) in NO_VOICE:
        return PlatformLacks(f"The voice platform does not know this{_colon(said)}")
    return PlatformRefused(f"The voice platform answered {status}{_colon(said)}")


def message(body: object) -> str:
    """The platform's own words, from any of its shapes; empty when there are none."""
    detail = body.get("detail") if isinstance(body, Mapping) else None
    if isinstance(detail, str):
        return detail
    if isinstance(detail, Mapping):
        return str(detail.get("message") or detail.get("status") or "")
    if isinstance(detail, list):
        return "; ".join(_line(each) for each in detail if isinstance(each, Mapping))
    return ""


def code(body: object) -> str:
    """The machine-readable word of a refusal, e.g. `rate_limit_exceeded`; empty when there is none."""
    detail = body.get("detail") if isinstance(body, Mapping) else None
    if not isinstance(detail, Mapping):
        return ""
    word = str(detail.get("code") or detail.get("status") or "")
    return word if word.isascii() and word.replace("_", "").isalnum() else ""


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds of a Retry-After header, given as a number or as a date; None without a readable one."""
    value = next((value for name, value in headers.items() if name.lower() == "retry-after"), "").strip()
    try:
        seconds = float(value) if value.isdigit() else _seconds_until(value, now)
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _seconds_until(value: str, now: datetime) -> float:
    moment = parsedate_to_datetime(value)
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()


def _line(problem: Mapping[str, Any]) -> str:
    """One field of a validation, e.g. `body.conversation_config.tts.speed: Input should be …`."""
    where = problem.get("loc")
    place = ".".join(str(step) for step in where) if isinstance(where, list | tuple) else ""
    return f"{place}: {problem.get('msg', '')}"


def _colon(text: str) -> str:
    return f": {text}" if text else ""
