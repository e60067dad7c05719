"""Frames as the relay reads them: by an allow-list upwards, by what is kept and watched downwards.

Sound is recognised by how its frame begins and is passed on as it came; nobody here decodes it. Every other frame
from a client is taken apart and made anew from the fields that we know, so that nothing travels along unseen.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from oneiro.safety.cards import Card

_SOUND_UP: Final = '{"user_audio_chunk"'
_SOUND_DOWN: Final = ('{"type": "audio"', '{"type":"audio"', '{"audio_event"')
DOWNWARD: Final = frozenset(
    {
        "conversation_initiation_metadata",
        "ping",
        "audio",
        "interruption",
        "user_transcript",
        "agent_response",
        "agent_response_correction",
        "agent_chat_response_part",
        "guardrail_triggered",
        "error",
    }
)
"""What a client gets of the platform's frames."""


@dataclass(frozen=True, slots=True)
class Opening:
    """The client's first frame; of all it may ask only one thing is honoured."""

    text_only: bool


@dataclass(frozen=True, slots=True)
class Typed:
    """A written message of the dreamer."""

    text: str


@dataclass(frozen=True, slots=True)
class Allowed:
    """A frame that is passed on, made anew."""

    kind: Literal["pong", "user_activity", "feedback"]
    frame: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A frame that is dropped and counted."""

    kind: str


Upward = Opening | Typed | Allowed | Refused


def is_sound_up(raw: str) -> bool:
    """Whether this is a frame of the microphone: one key with one string, as four quotation marks prove."""
    return raw.startswith(_SOUND_UP) and raw.count('"') == 4


def is_sound_down(raw: str) -> bool:
    """Whether this is a frame of the interpreter's voice."""
    return raw.startswith(_SOUND_DOWN)


def upward(raw: str) -> Upward:
    """Read a frame from a client that is not sound."""
    frame = _object(raw)
    match frame.get("type"):
        case "conversation_initiation_client_data":
            return Opening(_text_only(frame.get("conversation_config_override")))
        case "user_message" if isinstance(text := frame.get("text"), str):
            return Typed(text)
        case "pong" if isinstance(event_id := frame.get("event_id"), int):
            return Allowed("pong", dump({"type": "pong", "event_id": event_id}))
        case "user_activity":
            return Allowed("user_activity", dump({"type": "user_activity"}))
        case "feedback" if frame.get("score") in ("like", "dislike", None) and isinstance(frame.get("event_id"), int):
            return Allowed(
                "feedback", dump({"type": "feedback", "event_id": frame["event_id"], "score": frame.get("score")})
            )
    return Refused("not_allowed" if frame else "malformed")


def _text_only(override: object) -> bool:
    """Whether writing is asked for; the Python client asks at the top, others under `conversation`."""
    if not isinstance(override, dict):
        return False
    inner = override.get("conversation")
    return override.get("text_only") is True or (isinstance(inner, dict) and inner.get("text_only") is True)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The platform's first frame."""

    conversation_id: str


@dataclass(frozen=True, slots=True)
class Heard:
    """What the platform understood of the dreamer's speech."""

    text: str


@dataclass(frozen=True, slots=True)
class Said:
    """A whole reply of the interpreter."""

    text: str
    event_id: int | None


@dataclass(frozen=True, slots=True)
class Corrected:
    """What remains of a reply that was interrupted."""

    text: str
    event_id: int | None


@dataclass(frozen=True, slots=True)
class Fault:
    """Something went wrong on the platform; its own words are passed on and not kept."""

    error_type: str


@dataclass(frozen=True, slots=True)
class Plain:
    """Any other frame; `words` when it holds words of the interpreter."""

    kind: str
    words: bool = False


Downward = Metadata | Heard | Said | Corrected | Fault | Plain


def downward(raw: str) -> Downward:
    """Read a frame from the platform; one that cannot be read is of the kind `malformed`."""
    frame = _object(raw)
    kind = frame.get("type")
    if not isinstance(kind, str):
        return Plain("malformed")
    known = _READERS.get(kind)
    if known is None:
        return Plain(kind, words=kind == "agent_chat_response_part")
    event_name, read = known
    event = frame.get(event_name)
    return read(event if isinstance(event, dict) else {})


def dump(frame: dict[str, Any]) -> str:
    """A frame as it goes over the wire."""
    return json.dumps(frame, ensure_ascii=False, separators=(",", ":"))


def initiation(*, variables: dict[str, str], user_id: str, text_only: bool) -> str:
    """Our first frame to the platform: every variable, whose conversation it is, and whether it is written."""
    override = {"conversation": {"text_only": True}} if text_only else {}
    return dump(
        {
            "type": "conversation_initiation_client_data",
            "conversation_config_override": override,
            "dynamic_variables": variables,
            "user_id": user_id,
            "source_info": {"source": "oneiro_relay", "version": "1"},
        }
    )


def user_message(text: str) -> str:
    """A written message, for the platform."""
    return dump({"type": "user_message", "text": text})


def contextual_update(text: str) -> str:
    """Something the interpreter shall know, for the platform."""
    return dump({"type": "contextual_update", "text": text})


def safety(card: Card, words: str | None) -> str:
    """The card of the crisis gate, and words to say with it, for the client."""
    event = {"tier": card.tier.value, "card": card.model_dump(mode="json"), "words": words}
    return dump({"type": "oneiro_safety", "safety_event": event})


def degraded(words: str) -> str:
    """The platform is away: `words` say who speaks for the interpreter, in writing, and gets what is written."""
    return dump({"type": "oneiro_degraded", "degraded_event": {"text_only": True, "words": words}})


def ending(reason: str, seconds: float, words: str) -> str:
    """A soft closing: why the conversation ends, in how many seconds, and the interpreter's goodbye."""
    event = {"reason": reason, "seconds": round(seconds), "words": words}
    return dump({"type": "oneiro_ending", "ending_event": event})


def refusal(message: str) -> str:
    """An answer to a message that cannot be taken."""
    event = {"code": 1002, "error_type": "invalid_message", "message": message, "reason": message}
    return dump({"type": "error", "error_event": event})


def _object(raw: str) -> dict[str, Any]:
    try:
        frame = json.loads(raw)
    except (ValueError, RecursionError):
        return {}
    return frame if isinstance(frame, dict) else {}


def _text(event: dict[str, Any], name: str) -> str:
    value = event.get(name)
    return value if isinstance(value, str) else ""


def _number(event: dict[str, Any]) -> int | None:
    value = event.get("event_id")
    return value if isinstance(value, int) else None


_READERS: Final[dict[str, tuple[str, Callable[[dict[str, Any]], Downward]]]] = {
    "conversation_initiation_metadata": (
        "conversation_initiation_metadata_event",
        lambda event: Metadata(_text(event, "conversation_id")),
    ),
    "user_transcript": ("user_transcription_event", lambda event: Heard(_text(event, "user_transcript"))),
    "agent_response": (
        "agent_response_event",
        lambda event: Said(_text(event, "agent_response"), _number(event)),
    ),
    "agent_response_correction": (
        "agent_response_correction_event",
        lambda event: Corrected(_text(event, "corrected_agent_response"), _number(event)),
    ),
    "error": ("error_event", lambda event: Fault(_text(event, "error_type")[:60] or "unknown")),
}
