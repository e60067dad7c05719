"""Whatever somebody adds to an agent in the dashboard is seen when it is read back."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from oneiro.platform.additions import additions
from oneiro.platform.elevenlabs import ElevenLabsPlatform
from oneiro.platform.port import AgentSpec, lacking

Connect = Callable[..., ElevenLabsPlatform]
KEY = {"xi-api-key": "sk_test_of_nobody"}
BUILT_IN = {"type": "system", "name": "of the dashboard", "description": ""}
ELSEWHERE = {"url": "https://elsewhere.example/hook", "request_headers": {}}


def prompt(**fields: Any) -> dict[str, Any]:
    return {"conversation_config": {"agent": {"prompt": fields}}}


def settings(**fields: Any) -> dict[str, Any]:
    return {"platform_settings": fields}


def workspace(**fields: Any) -> dict[str, Any]:
    return settings(workspace_overrides=fields)


REFUSED = [
    (prompt(tool_ids=["tool_1"]), "agent.prompt.tool_ids"),
    (prompt(mcp_server_ids=["mcp_1"]), "agent.prompt.mcp_server_ids"),
    (prompt(native_mcp_server_ids=["mcp_2"]), "agent.prompt.native_mcp_server_ids"),
    (
        prompt(built_in_tools={"end_call": None, "transfer_to_number": BUILT_IN}),
        "agent.prompt.built_in_tools.transfer_to_number",
    ),
    (workspace(webhooks={"post_call_webhook_id": "hook_1"}), "workspace_overrides.webhooks.post_call_webhook_id"),
    (workspace(webhooks={"events": ["transcript", "audio"]}), "workspace_overrides.webhooks.events"),
    (
        workspace(conversation_initiation_client_data_webhook=ELSEWHERE),
        "workspace_overrides.conversation_initiation_client_data_webhook",
    ),
    (settings(auth={"shareable_token": "open"}), "auth.shareable_token"),
    (
        {"workflow": {"nodes": {"one": {"type": "start"}, "two": {"type": "override_agent"}}, "edges": {}}},
        "workflow",
    ),
]
SHOWN = [
    (prompt(knowledge_base=[{"type": "text", "name": "Omens", "id": "doc_1"}]), "agent.prompt.knowledge_base"),
    (prompt(built_in_tools={"end_call": BUILT_IN}), "agent.prompt.built_in_tools.end_call"),
    (
        prompt(backup_llm_config={"preference": "override", "order": ["gpt-4o-mini"]}),
        "agent.prompt.backup_llm_config.order",
    ),
    (
        {"conversation_config": {"agent": {"max_conversation_duration_message": "Time is up."}}},
        "agent.max_conversation_duration_message",
    ),
    (
        {"conversation_config": {"language_presets": {"de": {"overrides": {"agent": {"language": "de"}}}}}},
        "language_presets",
    ),
    (
        {"conversation_config": {"turn": {"soft_timeout_config": {"timeout_seconds": 3, "message": "Hm."}}}},
        "turn.soft_timeout_config",
    ),
    ({"conversation_config": {"conversation": {"monitoring_enabled": True}}}, "conversation.monitoring_enabled"),
    (settings(data_collection={"email": {"type": "string"}}), "data_collection"),
    (settings(guardrails={"focus": {"is_enabled": True}}), "guardrails.focus"),
    (
        settings(guardrails={"content": {"config": {"self_harm": {"is_enabled": True, "threshold": "low"}}}}),
        "guardrails.content",
    ),
]


async def patched(connect: Connect, engine_url: str, spec: AgentSpec, change: dict[str, Any]) -> tuple[str, ...]:
    """What is read back of an agent of ours after somebody changed it."""
    platform = connect(engine_url)
    agent_id = await platform.create_agent(spec)
    async with httpx.AsyncClient(base_url=engine_url, headers=KEY) as client:
        (await client.patch(f"/v1/convai/agents/{agent_id}", json=change)).raise_for_status()
    return await platform.drift(agent_id, spec)


@pytest.mark.parametrize(("change", "field"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
async def test_what_takes_words_elsewhere_or_another_prompt_is_drift_to_refuse(
    connect: Connect, engine_url: str, spec: AgentSpec, change: dict[str, Any], field: str
) -> None:
    drift = await patched(connect, engine_url, spec, change)

    assert drift == (field,)
    assert lacking(drift) == [field]


@pytest.mark.parametrize(("change", "field"), SHOWN, ids=lambda value: value if isinstance(value, str) else "")
async def test_what_else_was_added_is_drift_that_is_shown(
    connect: Connect, engine_url: str, spec: AgentSpec, change: dict[str, Any], field: str
) -> None:
    drift = await patched(connect, engine_url, spec, change)

    assert drift == (field,)
    assert lacking(drift) == []


# The service gives back more than the engine: every field that there is, with what an untouched agent has in it.
UNTOUCHED: dict[str, Any] = {
    "conversation_config": {
        "turn": {
            "soft_timeout_config": {"timeout_seconds": -1.0, "message": "Hm.", "use_llm_generated_message": False},
            "noisy_environment_detection": False,
        },
        "tts": {"supported_voices": [], "pronunciation_dictionary_locators": [], "audio_effects": None},
        "conversation": {
            "monitoring_enabled": False,
            "background_sound": {"source_type": None, "source_id": None, "volume": 0.6, "crossfade_loop": False},
            "source_attribution": True,
        },
        "language_presets": {},
        "agent": {
            "max_conversation_duration_message": "",
            "prompt": {
                "tool_ids": [],
                "tools": [],
                "built_in_tools": {"end_call": None, "transfer_to_agent": None, "language_detection": None},
                "mcp_server_ids": [],
                "native_mcp_server_ids": [],
                "knowledge_base": [],
                "custom_llm": None,
                "rag": {"enabled": False, "max_vector_distance": 0.6},
                "backup_llm_config": {"preference": "default"},
            },
        },
    },
    "platform_settings": {
        "data_collection": {},
        "workspace_overrides": {
            "conversation_initiation_client_data_webhook": None,
            "webhooks": {"post_call_webhook_id": None, "events": ["transcript"], "send_audio": False},
        },
        "guardrails": {
            "version": "1",
            "focus": {"is_enabled": False},
            "content": {
                "config": {"self_harm": {"is_enabled": False, "threshold": "medium"}},
                "trigger_action": {"type": "end_call"},
            },
            "custom": {"config": {"configs": []}},
        },
        "auth": {"shareable_token": None},
    },
    "phone_numbers": [],
    "whatsapp_accounts": [],
    "workflow": {
        "edges": {},
        "nodes": {"start_node": {"type": "start", "position": {"x": 0, "y": 0}, "edge_order": []}},
        "prevent_subagent_loops": False,
    },
    "procedures": {},
}


def test_an_agent_to_which_nobody_added_anything_has_no_additions_however_much_the_service_tells() -> None:
    assert additions(UNTOUCHED) == set()
    assert additions({}) == set()


@pytest.mark.parametrize(
    ("part", "field"),
    [
        ({"phone_numbers": [{"phone_number": "+1"}]}, "phone_numbers"),
        ({"whatsapp_accounts": [{"phone_number_id": "1"}]}, "whatsapp_accounts"),
        ({"procedures": {"proc_1": {"name": "Refunds"}}}, "procedures"),
        (prompt(tools=[{"type": "webhook", "name": "crm"}]), "agent.prompt.tools"),
        ({"workflow": {"edges": {"one": {"source": "start_node"}}, "nodes": {}}}, "workflow"),
        (
            {"conversation_config": {"turn": {"noisy_environment_detection": True}}},
            "turn.noisy_environment_detection",
        ),
        (
            {"conversation_config": {"conversation": {"background_sound": {"source_id": "rain"}}}},
            "conversation.background_sound.source_id",
        ),
        (settings(guardrails={"custom": {"config": {"configs": [{"name": "own"}]}}}), "guardrails.custom"),
        (workspace(webhooks={"send_audio": True}), "workspace_overrides.webhooks.send_audio"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_only_the_service_can_hold_is_seen_too(part: dict[str, Any], field: str) -> None:
    assert additions(part) == {field}


@pytest.mark.parametrize("odd", [None, [], "text", 3, True, [None]])
def test_answers_of_another_shape_are_read_without_a_fault(odd: Any) -> None:
    parts = {"conversation_config": {"agent": odd, "turn": {"soft_timeout_config": odd}}, "workflow": odd}

    assert additions({**parts, "platform_settings": {"guardrails": odd, "workspace_overrides": odd}}) == set()
