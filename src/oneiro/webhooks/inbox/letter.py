"""What is kept of a webhook's body: parsed tolerantly, made storable, without sound."""

import hashlib
import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final

from oneiro.errors import ValidationError

TRANSCRIPT: Final = "post_call_transcription"
"""The one kind whose body is kept, until it is handled. The others (`post_call_audio`, `call_initiation_failure`, and
what may come) are noted."""
UNKNOWN: Final = "unknown"
_KIND: Final = re.compile(r"[a-z][a-z0-9_.]{0,63}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,128}")
_DEEPEST: Final = 40
_MOST_SOUND: Final = 1000
"""Characters of a text under a key that speaks of audio: longer ones are sound."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A webhook: its kind, whose conversation it is about, what makes it the same one again, and what is kept."""

    kind: str
    conversation_id: str | None
    key: str
    body: dict[str, Any] | None


def read(raw: bytes) -> Letter:
    """The webhook in a body; raises `ValidationError` when it is no JSON object."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError.
        document = None
    if not isinstance(document, dict):
        raise ValidationError("The body is not a JSON object.")
    kind = _matching(_KIND, document.get("type")) or UNKNOWN
    data = document.get("data")
    conversation_id = _matching(_ID, data.get("conversation_id")) if isinstance(data, dict) else None
    key = f"{kind}/{conversation_id or hashlib.sha256(raw).hexdigest()}"
    kept = kind == TRANSCRIPT and conversation_id is not None
    return Letter(kind, conversation_id, key, _storable(document) if kept else None)


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _storable(value: Any, depth: int = 0, *, sound: bool = False) -> Any:
    """The value as PostgreSQL can keep it: no NUL, no lone surrogate, no infinity, not too deep, and no sound."""
    if depth > _DEEPEST:
        return None
    if isinstance(value, dict):
        return {
            _text(key): _storable(each, depth + 1, sound=sound or "audio" in key.lower()) for key, each in value.items()
        }
    if isinstance(value, list):
        return [_storable(each, depth + 1, sound=sound) for each in value]
    if isinstance(value, str):
        return None if sound and len(value) > _MOST_SOUND else _text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _text(value: str) -> str:
    return value.replace("\0", "").encode(errors="replace").decode()
