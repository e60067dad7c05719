"""How a conversation opens: overrides are checked, dynamic variables filled in, and what remains is fixed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from oneiro.engine.documents import AgentDocument
from oneiro.engine.models import ConversationConfig
from oneiro.engine.protocol import ClientData, Scalar

_VARIABLE = re.compile(r"\{\{\s*([^{}\s]{1,200})\s*\}\}")
_RESERVED = ("system__", "secret__")


class RefusedStart(Exception):
    """The conversation cannot start: an error frame and a close with 1008 follow."""

    def __init__(self, error_type: str, reason: str) -> None:
        super().__init__(reason)
        self.error_type, self.reason = error_type, reason


@dataclass(frozen=True)
class Opening:
    """What holds for one conversation from its first word on."""

    config: ConversationConfig
    first_message: str
    prompt: str
    variables: Mapping[str, Scalar]

    @property
    def text_only(self) -> bool:
        """Whether the conversation is written."""
        return self.config.conversation.text_only


def open_with(document: AgentDocument, data: ClientData, system: Mapping[str, Scalar]) -> Opening:
    """The agent's configuration with the client's overrides and variables; raises RefusedStart.

    `system` holds the platform's own `system__…` variables; a client cannot set those.
    """
    config = _overridden(document, data.conversation_config_override or {})
    given = {name: value for name, value in (data.dynamic_variables or {}).items() if not name.startswith(_RESERVED)}
    values = {**given, **system}
    return Opening(
        config=config,
        first_message=_filled(config.agent.first_message, values, "first message"),
        prompt=_filled(config.agent.prompt.prompt, values, "prompt"),
        variables=given,
    )


def _overridden(document: AgentDocument, override: Mapping[str, Any]) -> ConversationConfig:
    wanted = _in_place(override)
    allowed = document.platform_settings.overrides.conversation_config_override.model_dump()
    allowed["conversation"]["client_events"] = True
    config = document.conversation_config.model_dump()
    for path, value in _leaves(wanted, allowed):
        _allow(path, allowed)
        _set(config, path, value)
    try:
        return ConversationConfig.model_validate(config)
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise RefusedStart("value_error", f"Override for field '{place}' has an invalid value.") from None


def _in_place(override: Mapping[str, Any]) -> dict[str, Any]:
    """The override with `text_only` where it belongs: the Python client sends it at the top."""
    wanted = dict(override)
    if "text_only" in wanted:
        text_only = wanted.pop("text_only")
        inner = wanted.get("conversation")
        wanted["conversation"] = {"text_only": text_only, **(inner if isinstance(inner, dict) else {})}
    return wanted


def _leaves(
    wanted: Mapping[str, Any], known: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The fields that the override really sets: empty objects, nulls and unknown keys set nothing."""
    for key, value in wanted.items():
        if value in (None, {}, []) or key not in known:
            continue
        if isinstance(known[key], dict) and isinstance(value, dict):
            yield from _leaves(value, known[key], (*path, key))
        else:
            yield (*path, key), value


def _allow(path: tuple[str, ...], allowed: Mapping[str, Any]) -> None:
    flag: Any = allowed
    for key in path:
        flag = flag[key]
    if flag is not True:
        raise RefusedStart("override_error", f"Override for field '{path[-1]}' is not allowed by config.")


def _set(config: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        config = config[key]
    config[path[-1]] = value


def _filled(template: str, values: Mapping[str, Scalar], place: str) -> str:
    """The template with its variables; a value is never read as a template."""
    missing = sorted({name for name in _VARIABLE.findall(template) if name not in values})
    if missing:
        listed = ", ".join(repr(name) for name in missing)
        raise RefusedStart("missing_dynamic_variable", f"Missing required dynamic variables in {place}: {{{listed}}}")
    return _VARIABLE.sub(lambda found: str(values[found[1]]), template)
