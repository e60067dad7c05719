"""Every column of every table that could name a dreamer is in her export, or is named here with why it is not."""

from collections.abc import Mapping

from tests.privacy.conftest import House
from tests.privacy.test_erasure import HERS as TABLES

from oneiro.privacy.export.models import Export

# Where a section gives a column another name.
EXPORTED: Mapping[str, tuple[str, dict[str, str]]] = {
    "profiles": ("profile", {}),
    "dreams": ("dreams", {"source_conversation_id": "conversation_id"}),
    "conversations": ("conversations", {}),
    "conversation_sessions": ("sessions", {}),
    "messages": ("messages", {}),
    "conversation_analytics": ("analytics", {}),
    "agent_metrics": ("measures", {"metric_type": "type", "metric_value": "value", "recorded_at": "time"}),
    "experiment_assignments": ("experiments", {"arm_id": "arm"}),
    "safety_flags": ("safety", {"flagged_at": "time"}),
    "system_events": ("events", {"event_type": "type", "event_data": "data", "created_at": "time"}),
}

# Her own id stands in `profile`; that of a row which nothing else names says nothing of her.
LEFT_OUT: Mapping[str, str] = {
    "profiles": "",
    "dreams": "user_id",
    # The platform's id stands with its session. The rest is until when an address was reserved, what the start took of
    # us, how far the summary has come, and the place in a trace.
    "conversations": "user_id elevenlabs_conversation_id expires_at upstream_calls agent_known start_ms wrapped_up_at"
    " traceparent",
    "conversation_sessions": "id signed_url_expires_at last_activity_at ticket_sha256 reconciled_at reconcile_after",
    # Order of arrival, and when the row was written.
    "messages": "ordinal created_at",
    # How far the computation has come; the rest stands with the conversation.
    "conversation_analytics": "id user_id interpreter_id source_event release_id arm_id ended_at computed_to"
    " computed_by",
    "agent_metrics": "id interpreter_id source_event",
    "experiment_assignments": "user_id",
    "safety_flags": "id user_id acknowledged_by",
    "system_events": "id entity_type entity_id user_id seq position traceparent",
}

# Copies of what is in it, or ids of it, kept for a time.
WHOLLY = {"conversation_slots", "idempotency_keys", "parked_events", "jobs", "webhook_inbox"}


async def test_every_column_that_is_hers_is_exported_or_left_out_for_a_reason(house: House) -> None:
    assert {name.removeprefix("public.") for name in TABLES} == EXPORTED.keys() | WHOLLY
    definitions = Export.model_json_schema()["$defs"]
    for table, (section, names) in EXPORTED.items():
        annotation = Export.model_json_schema()["properties"][section]
        reference = annotation.get("items", annotation)["$ref"].removeprefix("#/$defs/")
        fields = definitions[reference]["properties"].keys()
        columns = await house.rows(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s",
            table,
        )
        left = set(LEFT_OUT[table].split())
        found = {row["column_name"] for row in columns}
        assert left <= found, table
        assert {names.get(column, column) for column in found - left} <= fields, table
        assert not {names.get(column, column) for column in left} & fields, table
