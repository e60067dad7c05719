"""What events tell of agents: what became of them on the platform, and in conversations."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from oneiro.analytics.agents import store
from oneiro.analytics.agents.models import Measurement, MetricType
from oneiro.database.pool import Connection
from oneiro.events.models import Event

_ABOUT: Final = ("release", "language", "model", "adopted", "voice", "voice_id", "voice_error", "ignored", "reason")
_GONE: Final = frozenset({"deleted", "unknown_to_platform", "orphan"})
"""Reasons of `agent.retired` that say that the platform has the agent no more; the others, that nobody uses it."""


async def measure(conn: Connection, event: Event) -> None:
    """Write what an event tells of an agent; a repeat changes nothing."""
    await MEASURES[event.type](conn, event)


async def measure_talk(
    conn: Connection,
    conversation_id: UUID,
    *,
    completion: str | None,
    times: Mapping[str, Any],
    source_event: UUID,
    at: datetime,
) -> None:
    """Write how a conversation that is over went for its agent, in place of what was written of it before.

    `times`: `p50`, `p95`, `clock` and number of `answers`. One that never began tells nothing.
    """
    held = await store.conversation(conn, conversation_id)
    if held is None or completion is None:
        return
    natural = completion in {"natural_end", "user_ended"}
    how = {"success": natural, "completion_reason": completion, "degraded": held.degraded}
    measured: list[tuple[MetricType, float, dict[str, Any]]] = [("completion_rate", float(natural), how)]
    if times["answers"]:
        about = {"success": True, **{name: times[name] for name in ("clock", "answers", "p95")}}
        measured.append(("response_time", times["p50"], about))
    await store.clear(conn, conversation_id, ["completion_rate", "response_time"])
    for kind, value, metadata in measured:
        await store.insert(
            conn,
            Measurement(
                kind, value, held.agent_id, held.interpreter_id, source_event, at, conversation_id, metadata=metadata
            ),
        )


async def _provisioned(conn: Connection, event: Event) -> None:
    milliseconds = _number(event.data.get("ms"))
    await store.insert(conn, _of_agent(event, "agent_creation", milliseconds, success=True, from_cache=False))
    if code := event.data.get("voice_error"):  # It speaks with the default voice, since its own could not be designed.
        await store.insert(conn, _of_agent(event, "voice_design", None, success=False, error=code))


async def _provision_failed(conn: Connection, event: Event) -> None:
    milliseconds = _number(event.data.get("ms"))
    await store.insert(conn, _of_agent(event, "agent_creation", milliseconds, success=False, from_cache=False))


async def _retired(conn: Connection, event: Event) -> None:
    if event.data.get("reason") in _GONE:
        await store.insert(conn, _of_agent(event, "agent_cleanup", None, success=True))


async def _cleanup_failed(conn: Connection, event: Event) -> None:
    await store.insert(conn, _of_agent(event, "agent_cleanup", None, success=False))


async def _voice_designed(conn: Connection, event: Event) -> None:
    await store.insert(conn, _of_agent(event, "voice_design", _number(event.data.get("ms")), success=True))


async def _started(conn: Connection, event: Event) -> None:
    held = await _held(conn, event)
    if held is None or event.data.get("agent_known") is not True:
        return
    milliseconds = _number(event.data.get("ms"))
    await store.insert(
        conn, _of_talk(event, held, "agent_cache_hit", milliseconds, {"success": True, "from_cache": True})
    )


async def _rated(conn: Connection, event: Event) -> None:
    held = await _held(conn, event)
    score = _number(event.data.get("score"))
    if held is not None and score is not None:
        await store.replace(conn, _of_talk(event, held, "user_satisfaction", score, {"success": True}))


async def _held(conn: Connection, event: Event) -> store.Conversation | None:
    return await store.conversation(conn, event.conversation_id) if event.conversation_id else None


def _of_agent(event: Event, kind: MetricType, value: float | None, **about: object) -> Measurement:
    metadata: dict[str, Any] = {name: event.data[name] for name in _ABOUT if event.data.get(name) is not None}
    code = event.data.get("code")
    return Measurement(
        type=kind,
        value=value,
        agent_id=_agent_id(event),
        interpreter_id=event.interpreter_id,
        source_event=event.id,
        recorded_at=event.time,
        metadata={**metadata, **about, **({"error": code} if code else {}), **_voice(event)},
    )


def _agent_id(event: Event) -> str | None:
    """The platform's id; an agent that never was, or whose id was never known, is named by its row with us."""
    if event.entity_type != "agent" or event.entity_id is None:
        return None
    try:
        UUID(event.entity_id)
    except ValueError:
        return event.entity_id
    return None


def _voice(event: Event) -> dict[str, str]:
    return {"voice_id": event.entity_id} if event.entity_type == "voice" and event.entity_id else {}


def _of_talk(
    event: Event, held: store.Conversation, kind: MetricType, value: float | None, about: dict[str, Any]
) -> Measurement:
    return Measurement(
        type=kind,
        value=value,
        agent_id=held.agent_id,
        interpreter_id=held.interpreter_id,
        source_event=event.id,
        recorded_at=event.time,
        conversation_id=event.conversation_id,
        metadata=about,
    )


def _number(value: Any) -> float | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


MEASURES: Final[Mapping[str, Callable[[Connection, Event], Awaitable[None]]]] = {
    "agent.provisioned": _provisioned,
    "agent.provision_failed": _provision_failed,
    "agent.retired": _retired,
    "agent.cleanup_failed": _cleanup_failed,
    "voice.designed": _voice_designed,
    "conversation.started": _started,
    "conversation.rated": _rated,
}
