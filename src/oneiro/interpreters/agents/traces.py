"""What is told of agents and voices as events, in the transaction of the change; analytics reads them, too."""

from oneiro.database.pool import Connection
from oneiro.events import outbox
from oneiro.interpreters.agents.models import AgentVoice, Draft


async def provisioned(
    conn: Connection, wanted: Draft, agent_id: str, voice: AgentVoice, *, adopted: bool, ms: int
) -> None:
    """An agent is ready; `adopted`: it had been made before and its answer was lost."""
    data = {
        **_about(wanted),
        "ms": ms,
        "adopted": adopted,
        "voice": voice.source,
        "voice_id": voice.voice_id,
        "ignored": list(voice.ignored),
        "voice_error": voice.error_code,
    }
    await outbox.record(conn, "agent.provisioned", entity_type="agent", entity_id=agent_id, data=data)


async def provision_failed(conn: Connection, wanted: Draft, code: str, ms: int) -> None:
    """An agent could not be made; there is none, so the event is about its interpreter."""
    data = {**_about(wanted), "code": code, "ms": ms}
    await outbox.record(
        conn, "agent.provision_failed", entity_type="interpreter", entity_id=wanted.interpreter_id, data=data
    )


async def drifted(conn: Connection, wanted: Draft, agent_id: str, fields: tuple[str, ...], *, used: bool) -> None:
    """An agent differs from what it shall be; `used`: none of these fields protects, so conversations may have it."""
    data = {**_about(wanted), "fields": list(fields), "used": used}
    await outbox.record(conn, "agent.drifted", entity_type="agent", entity_id=agent_id, data=data)


async def retired(conn: Connection, agent_id: str, interpreter_id: str | None, reason: str) -> None:
    """An agent is out of use, or gone from the platform.

    reason: `expired`, `outdated`, `unprotected`, `voice` (out of use), `deleted`, `unknown_to_platform`, `orphan`
    (gone).
    """
    data = {"interpreter_id": interpreter_id, "reason": reason}
    await outbox.record(conn, "agent.retired", entity_type="agent", entity_id=agent_id, data=data)


async def cleanup_failed(conn: Connection, agent_id: str, interpreter_id: str | None, code: str) -> None:
    """An agent that is not wanted could not be deleted; it is tried again."""
    data = {"interpreter_id": interpreter_id, "code": code}
    await outbox.record(conn, "agent.cleanup_failed", entity_type="agent", entity_id=agent_id, data=data)


async def voice_designed(
    conn: Connection, interpreter_id: str, voice_id: str, *, ignored: tuple[str, ...], adopted: bool, ms: int
) -> None:
    """A voice was designed, or found whose answer had been lost (`adopted`)."""
    data = {"interpreter_id": interpreter_id, "ignored": list(ignored), "adopted": adopted, "ms": ms}
    await outbox.record(conn, "voice.designed", entity_type="voice", entity_id=voice_id, data=data)


def _about(wanted: Draft) -> dict[str, object]:
    return {
        "interpreter_id": wanted.interpreter_id,
        "release": wanted.release,
        "language": wanted.language,
        "model": wanted.model,
    }
