"""The conversation socket: who may open it, its first frames, and its end."""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime

from fastapi import APIRouter, WebSocket
from starlette.websockets import WebSocketDisconnect

from oneiro.engine import protocol
from oneiro.engine.agents import Agent, Version
from oneiro.engine.conversations import Record
from oneiro.engine.faults import Cut
from oneiro.engine.opening import Opening, RefusedStart, open_with
from oneiro.engine.problems import Refusal
from oneiro.engine.protocol import SUBPROTOCOL, BadFrame, ClientData, ClientFrame
from oneiro.engine.session import Ending, Session, Wire
from oneiro.engine.state import Engine, engine_of
from oneiro.engine.webhook import deliver

router = APIRouter()
MOST_REASON = 120
"""Bytes of a close reason; the protocol allows 123."""


@dataclass(frozen=True)
class Entry:
    """What the socket's address admits to."""

    agent: Agent
    version: Version
    conversation_id: str
    authorization: str


@router.websocket("/v1/convai/conversation")
async def converse(socket: WebSocket) -> None:
    """One conversation from its first frame to its close."""
    engine = engine_of(socket)
    entry = _admit(socket, engine)
    await socket.accept(SUBPROTOCOL if SUBPROTOCOL in socket.scope["subprotocols"] else None)
    if isinstance(entry, str):
        await socket.close(1008, entry)
        return
    record = _record(entry, engine, socket)
    wire = Wire(socket, engine.faults, engine.broken)
    engine.sockets += 1
    try:
        ending = await _conversation(engine, wire, record, entry)
    except WebSocketDisconnect as gone:
        ending = Ending(gone.code, "Client disconnected", by_client=True)
    except Cut as cut:
        ending = Ending(cut.code, cut.reason)
    finally:
        engine.sockets -= 1
    await _close(socket, wire, ending)
    _finish(engine, record, entry, ending)


def _admit(socket: WebSocket, engine: Engine) -> Entry | str:
    """What this address opens, or why it opens nothing."""
    query = socket.query_params
    if engine.faults.full(engine.sockets):
        return "Too many concurrent conversations."
    signature = query.get("conversation_signature")
    admission = engine.signatures.redeem(signature, engine.now()) if signature else None
    if signature and admission is None:
        return "The conversation signature is invalid, has expired or was used before."
    agent = engine.agents.find(admission.agent_id if admission else query.get("agent_id"))
    if agent is None:
        return "The agent you are trying to reach does not exist."
    by_key = engine.accepts(socket.headers.get("xi-api-key"))
    if admission is None and not by_key and agent.document.platform_settings.auth.enable_auth:
        return "The agent requires a signed URL."
    conversation_id = (admission and admission.conversation_id) or f"conv_{secrets.token_hex(14)}"
    try:
        version = agent.version(admission.version_id if admission else None)
    except Refusal:
        return "The version of the agent does not exist."
    method = "signed_url" if admission else "authorization_header" if by_key else "public"
    return Entry(agent, version, conversation_id, method)


def _record(entry: Entry, engine: Engine, socket: WebSocket) -> Record:
    document = entry.version.document
    privacy = document.platform_settings.privacy
    record = Record(
        conversation_id=entry.conversation_id,
        agent_id=entry.agent.agent_id,
        agent_name=document.name,
        version_id=entry.version.version_id,
        branch_id=entry.agent.branch_id,
        language=document.conversation_config.agent.language,
        authorization=entry.authorization,
        source=socket.query_params.get("source", "unknown")[:50],
        started=engine.now(),
        keeps_sound=privacy.record_voice and not privacy.zero_retention_mode,
    )
    entry.agent.last_call = record.started
    engine.conversations.add(record)
    return record


async def _conversation(engine: Engine, wire: Wire, record: Record, entry: Entry) -> Ending:
    config = entry.version.document.conversation_config
    formats = config.tts.agent_output_audio_format, config.asr.user_input_audio_format
    await wire.send(protocol.metadata(record.conversation_id, *formats))
    data, early = await _client_data(wire, engine.settings.client_data_timeout)
    try:
        opening = open_with(entry.version.document, data, _system(record, engine))
    except RefusedStart as refused:
        return Ending(1008, refused.reason, refused.error_type)
    _note(record, data, opening, engine)
    return await Session(engine, wire, record, opening).run(early)


async def _client_data(wire: Wire, patience: float) -> tuple[ClientData, ClientFrame | None]:
    """The client's data, and the first frame if it was another one; without data the conversation starts as it is."""
    try:
        async with asyncio.timeout(patience):
            frame = await _first_frame(wire)
    except TimeoutError:
        return ClientData(), None
    return (frame, None) if isinstance(frame, ClientData) else (ClientData(), frame)


async def _first_frame(wire: Wire) -> ClientFrame:
    while True:
        try:
            return await wire.receive()
        except BadFrame as bad:
            await wire.send(protocol.error(1002, "invalid_message", str(bad)))


def _system(record: Record, engine: Engine) -> dict[str, protocol.Scalar]:
    """The platform's own variables, as they stand when the conversation starts."""
    return {
        "system__agent_id": record.agent_id,
        "system__current_agent_id": record.agent_id,
        "system__conversation_id": record.conversation_id,
        "system__caller_id": record.user_id or "",
        "system__called_number": "",
        "system__call_sid": "",
        "system__call_duration_secs": 0,
        "system__time_utc": datetime.fromtimestamp(engine.now(), UTC).isoformat(),
    }


def _note(record: Record, data: ClientData, opening: Opening, engine: Engine) -> None:
    record.status, record.accepted = "in-progress", engine.now()
    record.text_only, record.user_id = opening.text_only, data.user_id
    record.language = opening.config.agent.language
    if data.source_info and data.source_info.source:
        record.source = data.source_info.source[:50]
    record.client_data = {
        "conversation_config_override": data.conversation_config_override or {},
        "custom_llm_extra_body": data.custom_llm_extra_body or {},
        "user_id": data.user_id,
        "source_info": data.source_info.model_dump() if data.source_info else None,
        "branch_id": record.branch_id,
        "environment": "production",
        "dynamic_variables": dict(opening.variables),
    }


async def _close(socket: WebSocket, wire: Wire, ending: Ending) -> None:
    if ending.by_client:
        return
    try:
        if ending.error_type:
            await wire.send(protocol.error(ending.code, ending.error_type, ending.reason))
        await socket.close(ending.code, ending.reason.encode()[:MOST_REASON].decode(errors="ignore"))
    except (WebSocketDisconnect, RuntimeError):
        return


def _finish(engine: Engine, record: Record, entry: Entry, ending: Ending) -> None:
    """Close the record and tell the webhook; a conversation that never started is told to nobody."""
    started = record.accepted is not None
    record.ended = engine.now()
    record.termination = f"{ending.reason}: {ending.code}" if ending.by_client else ending.reason
    if ending.error_type:
        record.error = {"code": ending.code, "reason": ending.reason}
    record.status = "processing" if started else "failed"
    if started and record in engine.conversations:
        engine.spawn(
            _wind_up(engine, record, zero=entry.version.document.platform_settings.privacy.zero_retention_mode)
        )


async def _wind_up(engine: Engine, record: Record, *, zero: bool) -> None:
    record.summarise()
    record.status = "done"
    await deliver(engine, record)
    if zero:
        record.lines.clear()
        record.client_data, record.summary = {}, None
