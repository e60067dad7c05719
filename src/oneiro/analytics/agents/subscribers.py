"""The consumer that measures agents: what became of them on the platform, and in conversations."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from uuid import UUID

from oneiro.analytics.agents import store
from oneiro.analytics.agents.models import Measurement, MetricType
from oneiro.analytics.conversations import store as conversations
from oneiro.analytics.conversations import timing
from oneiro.analytics.conversations.service import COMPLETION
from oneiro.database.pool import Connection
from oneiro.events.consumers import Consumer
from oneiro.events.models import Event

_ABOUT: Final = ("release", "language", "model", "adopted", "voice", "voice_id", "voice_error", "ignored", "reason")
_GONE: Final = frozenset({"deleted", "unknown_to_platform", "orphan"})
"""Reasons of `agent.retired` that say that the platform has the agent no more; the others, that nobody uses it."""


async def measure(conn: Connection, event: Event) -> None:
    """Write what an event tells of an agent; a repeat changes nothing."""
    await _MEASURES[event.type](conn, event)


async def _provisioned(conn: Connection, event: Event) -> None:
    milliseconds = _number(event.data.get("ms"))
    await store.insert(conn, _of_agent(event, "agent_creation", milliseconds, success=True, from_cache=False))


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
    calls = _number(event.data.get("upstream_calls"))
    if held is None or calls is None or calls > (1 if held.transport == "direct" else 0):
        return
    milliseconds = _number(event.data.get("ms"))
    await store.insert(
        conn, _of_talk(event, held, "agent_cache_hit", milliseconds, {"success": True, "from_cache": True})
    )


async def _ended(conn: Connection, event: Event) -> None:
    held = await _held(conn, event)
    if held is None or event.conversation_id is None:
        return
    reason = str(event.data.get("reason") or held.end_reason)
    completion = COMPLETION.get(reason)
    natural = completion in {"natural_end", "user_ended"}
    about: dict[str, Any] = {"success": natural, "completion_reason": completion, "degraded": held.degraded}
    await store.insert(conn, _of_talk(event, held, "completion_rate", float(natural), about))
    facts = await conversations.facts(conn, event.conversation_id)
    if facts is None:
        return
    lines = await conversations.lines(conn, event.conversation_id)
    clock, times = timing.response_times(facts, lines)
    if times:
        about = {"success": True, "clock": clock, "answers": len(times), "p95": timing.nearest_rank(times, 0.95)}
        median = timing.nearest_rank(times, 0.5)
        await store.insert(conn, _of_talk(event, held, "response_time", median, about))


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


_MEASURES: Final[Mapping[str, Callable[[Connection, Event], Awaitable[None]]]] = {
    "agent.provisioned": _provisioned,
    "agent.provision_failed": _provision_failed,
    "agent.retired": _retired,
    "agent.cleanup_failed": _cleanup_failed,
    "voice.designed": _voice_designed,
    "conversation.started": _started,
    "conversation.ended": _ended,
    "conversation.rated": _rated,
}

CONSUMER: Final = Consumer("agent_metrics", tuple(_MEASURES), measure, together=20)
