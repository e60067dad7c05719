"""Agents in the platform's shape: what is sent when one is made, and what must come back when it is read.

Shapes as of `elevenlabs` 2.78.0. Nothing here imports the SDK.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from oneiro.platform.additions import additions
from oneiro.platform.port import OWNER_TAG, AgentSpec

FIRST_MESSAGE: Final = "{{opening}}"
CLIENT_EVENTS: Final = (
    "conversation_initiation_metadata",
    "ping",
    "audio",
    "interruption",
    "user_transcript",
    "agent_response",
    "agent_response_correction",
    "agent_chat_response_part",
    "guardrail_triggered",
)
"""The frames a conversation needs, and no more: every other kind is traffic through the relay that nobody reads.
`vad_score` (many a second) is left out because the page draws the microphone's level itself; tool, MCP and
`internal_*` frames because the agents have no tools."""

_SHUT: Final = False
_OVERRIDES: Final[Mapping[str, Any]] = {
    "conversation_config_override": {
        "agent": {
            "first_message": _SHUT,
            "language": _SHUT,
            "prompt": {"prompt": _SHUT, "llm": _SHUT, "tool_ids": _SHUT, "knowledge_base": _SHUT},
        },
        "tts": {"voice_id": _SHUT, "stability": _SHUT, "speed": _SHUT, "similarity_boost": _SHUT},
        # The one thing a client may choose: to write instead of to speak.
        "conversation": {"text_only": True, "max_duration_seconds": _SHUT},
    },
    "custom_llm_extra_body": _SHUT,
    "enable_conversation_initiation_client_data_from_webhook": _SHUT,
}
_OVERRIDE: Final = "overrides."
_EVENTS: Final = "conversation.client_events"
_BOUNDS: Final = ("conversation.max_duration_seconds", "privacy.retention_days")
_OPEN_OVERRIDE: Final = "overrides.conversation_config_override.conversation.text_only"


def tags(spec: AgentSpec) -> list[str]:
    """The tags of the agent: ours, and its own."""
    return [OWNER_TAG, spec.tag]


def conversation_config(spec: AgentSpec) -> dict[str, Any]:
    """`conversation_config` of the agent: how it opens, thinks, sounds, waits and ends."""
    return {
        "agent": {
            "first_message": FIRST_MESSAGE,
            "language": spec.language,
            "prompt": {
                "prompt": spec.system_prompt,
                "llm": spec.model,
                "temperature": spec.temperature,
                "max_tokens": spec.max_tokens,
            },
        },
        "tts": {
            "model_id": _speech_model(spec.language),
            "voice_id": spec.voice_id,
            "stability": spec.stability,
            "similarity_boost": spec.similarity_boost,
            "speed": spec.speed,
        },
        # People who tell a dream pause to remember it.
        "turn": {"turn_eagerness": "patient", "silence_end_call_timeout": spec.silence_seconds},
        "conversation": {"max_duration_seconds": spec.max_seconds, "client_events": list(CLIENT_EVENTS)},
    }


def platform_settings(spec: AgentSpec) -> dict[str, Any]:
    """`platform_settings` of the agent: who may open it, what a client may change, and what is kept."""
    return {
        "auth": {"enable_auth": True},
        "overrides": _OVERRIDES,
        "privacy": {
            "record_voice": False,
            "delete_audio": True,
            "retention_days": spec.retention_days,
        },
        "queueing_config": {"enabled": False},
    }


def differences(spec: AgentSpec, agent: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields, by dotted name and sorted, in which an agent read back is not what the spec asks for.

    Compared is everything that is sent. Besides that no override may be open which is not ours: an agent that was
    created with overrides has come back with others (elevenlabs-python#640). Nor may there be any of `additions`.
    """
    wanted = dict(_leaves({**conversation_config(spec), **platform_settings(spec), "tags": tags(spec)}))
    found = dict(_leaves({**_part(agent, "conversation_config"), **_part(agent, "platform_settings")}))
    found["tags"] = agent.get("tags")
    opened = {name for name, value in found.items() if name.startswith(_OVERRIDE) and value}
    wrong = (opened - {_OPEN_OVERRIDE}) | additions(agent)
    for name, value in wanted.items():
        if not name.startswith(_OVERRIDE) and not _same(value, found.get(name)):
            wrong |= _names(name, value, found.get(name))
    if _OPEN_OVERRIDE not in opened:
        # Inconvenient, but it takes no protection away, as an override that is open would.
        wrong.add("conversation.text_only")
    return tuple(sorted(wrong))


def _speech_model(language: str) -> str:
    """The fast speech model: the platform takes v2 for English only, and v2.5 for every other language only."""
    return "eleven_flash_v2" if language.partition("-")[0] == "en" else "eleven_flash_v2_5"


def _part(agent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = agent.get(name)
    return part if isinstance(part, Mapping) else {}


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _names(field: str, wanted: Any, found: object) -> set[str]:
    """What a field that differs is called: what takes no protection away must not bear the name of what does.

    A plan may allow shorter calls than were asked for, and the platform may add frames of its own.
    """
    if field == _EVENTS:
        kept = found if isinstance(found, list) else []
        return {f"{field}.{event}" for event in wanted if event not in kept} or {field}
    if field in _BOUNDS and isinstance(found, int) and 0 < found < wanted:
        return {f"{field}.shorter"}
    return {field}


def _same(wanted: object, found: object) -> bool:
    """Equal, where numbers may differ by rounding, lists by order and texts by white space."""
    if isinstance(wanted, list):
        return isinstance(found, list) and sorted(wanted) == sorted(str(each) for each in found)
    if isinstance(wanted, str):
        return isinstance(found, str) and wanted.split() == found.split()
    if isinstance(wanted, float | int) and not isinstance(wanted, bool):
        return isinstance(found, float | int) and math.isclose(wanted, found, abs_tol=1e-6)
    return wanted == found
