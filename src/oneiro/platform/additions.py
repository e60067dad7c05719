"""What an agent carries that we never gave it: what people add in the dashboard, and what makes it act on its own.

An agent of ours has no tools, no knowledge, no workflow and no webhook of its own. Whatever stands in one of these
fields would make it say, do or send something that no release asked for. Names and values of an agent that has none of
it as of `elevenlabs` 2.78.0, read tolerantly: a field that is missing, null, false, zero or empty adds nothing.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

_MUST_BE_EMPTY: Final = (
    # It says something else.
    "agent.max_conversation_duration_message",
    "agent.prompt.backup_llm_config.order",
    "agent.prompt.custom_llm",
    "agent.prompt.knowledge_base",
    "conversation.background_sound.source_id",
    "language_presets",
    "tts.audio_effects",
    "tts.pronunciation_dictionary_locators",
    "tts.supported_voices",
    "turn.noisy_environment_detection",
    # It does something, or somebody else can be reached or listens through it.
    "agent.prompt.mcp_server_ids",
    "agent.prompt.native_mcp_server_ids",
    "agent.prompt.tool_ids",
    "agent.prompt.tools",
    "auth.shareable_token",
    "conversation.monitoring_enabled",
    "phone_numbers",
    "procedures",
    "whatsapp_accounts",
    # It tells somebody else what was said.
    "data_collection",
    "workspace_overrides.conversation_initiation_client_data_webhook",
    "workspace_overrides.webhooks.post_call_webhook_id",
    "workspace_overrides.webhooks.send_audio",
)
_OWN_WEBHOOKS: Final = frozenset({"transcript", "call_initiation_failure", "answering_machine_detection"})
"""What the workspace's own webhook is sent anyway: audio and what a redaction would take out are more than that."""


def additions(agent: Mapping[str, Any]) -> set[str]:
    """The names of the fields, dotted, by which an agent read back says, does or sends more than it was made for.

    Of built-in tools and guardrails each one by its own name.
    """
    tree = {**agent, **_tree(agent.get("conversation_config")), **_tree(agent.get("platform_settings"))}
    found = {name for name in _MUST_BE_EMPTY if _filled(_at(tree, name))}
    for place in ("agent.prompt.built_in_tools", "guardrails"):
        found |= {f"{place}.{name}" for name, part in _tree(_at(tree, place)).items() if _acts(place, part)}
    if _speaks_while_waiting(_at(tree, "turn.soft_timeout_config.timeout_seconds")):
        found.add("turn.soft_timeout_config")
    if not _listed("workspace_overrides.webhooks.events", tree) <= _OWN_WEBHOOKS:
        found.add("workspace_overrides.webhooks.events")
    if _leads_elsewhere(_tree(tree.get("workflow"))):
        found.add("workflow")
    return found


def _acts(place: str, part: object) -> bool:
    """A built-in tool acts when it is there; a guardrail when it, or a part of it, is enabled or written out."""
    if place != "guardrails":
        return _filled(part)
    return any(name in {"is_enabled", "configs"} and _filled(value) for name, value in _entries(part))


def _speaks_while_waiting(seconds: object) -> bool:
    """Fillers are off at -1."""
    return isinstance(seconds, int | float) and seconds > 0


def _leads_elsewhere(workflow: Mapping[str, Any]) -> bool:
    """Whether there is more to a workflow than where every conversation starts."""
    nodes = _tree(workflow.get("nodes")).values()
    return _filled(workflow.get("edges")) or any(_tree(node).get("type") != "start" for node in nodes)


def _listed(name: str, tree: Mapping[str, Any]) -> set[str]:
    value = _at(tree, name)
    return {str(each) for each in value} if isinstance(value, list) else set()


def _filled(value: object) -> bool:
    """Whether something stands there, however deep."""
    if isinstance(value, Mapping):
        return any(_filled(part) for part in value.values())
    return bool(value)


def _entries(tree: object) -> Iterator[tuple[str, object]]:
    for name, value in _tree(tree).items():
        yield name, value
        yield from _entries(value)


def _at(tree: Mapping[str, Any], name: str) -> object:
    found: object = tree
    for step in name.split("."):
        found = _tree(found).get(step)
    return found


def _tree(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
