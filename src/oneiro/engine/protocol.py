"""Frames of the conversation socket, both ways (contract: @elevenlabs/types, `asyncapi-types.ts`)."""

import base64
import binascii
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

Frame = dict[str, Any]
MOST_FRAME = 1024 * 1024
"""Characters of one frame from the client."""
MOST_TEXT = 16 * 1024
"""Characters of one message."""
SUBPROTOCOL = "convai"
ALWAYS_SENT = frozenset({"conversation_initiation_metadata", "ping", "error", "client_tool_call"})
"""Frames that `conversation.client_events` does not filter."""
Scalar = str | bool | int | float
Words = Annotated[str, Field(max_length=MOST_TEXT)]


class BadFrame(Exception):
    """A frame that nobody here understands; the message says why, without its content."""


class _Frame(BaseModel):
    model_config = ConfigDict(extra="ignore")


class SourceInfo(_Frame):
    """Which client speaks."""

    source: str | None = None
    version: str | None = None


class ClientData(_Frame):
    """The client's first frame: overrides, dynamic variables, who it is."""

    type: Literal["conversation_initiation_client_data"] = "conversation_initiation_client_data"
    conversation_config_override: dict[str, Any] | None = None
    custom_llm_extra_body: dict[str, Any] | None = None
    dynamic_variables: dict[str, Scalar] | None = None
    user_id: Annotated[str, Field(max_length=500)] | None = None
    source_info: SourceInfo | None = None


class AudioChunk(_Frame):
    """A piece of what the microphone hears, in the agent's input format."""

    type: Literal["user_audio_chunk"]
    user_audio_chunk: str

    def sound(self) -> bytes:
        """The bytes of the piece."""
        try:
            return base64.b64decode(self.user_audio_chunk, validate=True)
        except binascii.Error:
            raise BadFrame("user_audio_chunk is not base64") from None


class Pong(_Frame):
    """The answer to a ping."""

    type: Literal["pong"]
    event_id: int


class UserMessage(_Frame):
    """A written message."""

    type: Literal["user_message"]
    text: Words | None = None


class UserActivity(_Frame):
    """A sign that somebody is there, e.g. typing."""

    type: Literal["user_activity"]


class ContextualUpdate(_Frame):
    """Something the agent shall know; it does not answer."""

    type: Literal["contextual_update"]
    text: Words


class ToolResult(_Frame):
    """What a tool of the client returned."""

    type: Literal["client_tool_result"]
    tool_call_id: str
    result: Any = None
    is_error: bool = False


class Opinion(_Frame):
    """What the client thinks of one reply."""

    type: Literal["feedback"]
    event_id: int | None = None
    score: Literal["like", "dislike"] | None = None


class Multimodal(_Frame):
    """A written message, perhaps with files; files are not read here."""

    type: Literal["multimodal_message"]
    text: UserMessage | None = None


class McpApproval(_Frame):
    """Leave for a tool server; no agent here has one."""

    type: Literal["mcp_tool_approval_result"]


ClientFrame = (
    ClientData
    | AudioChunk
    | Pong
    | UserMessage
    | UserActivity
    | ContextualUpdate
    | ToolResult
    | Opinion
    | Multimodal
    | McpApproval
)
_FRAMES: TypeAdapter[ClientFrame] = TypeAdapter(Annotated[ClientFrame, Field(discriminator="type")])


def parse(text: str) -> ClientFrame:
    """Read one frame from the client; raises BadFrame."""
    if len(text) > MOST_FRAME:
        raise BadFrame("the frame is too large")
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise BadFrame("the frame is not JSON") from None
    if not isinstance(frame, dict):
        raise BadFrame("the frame is not an object")
    if "type" not in frame and "user_audio_chunk" in frame:
        frame["type"] = "user_audio_chunk"
    else:
        _must_go_back_out(frame)
    try:
        return _FRAMES.validate_python(frame)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise BadFrame(f"invalid frame: {first['type']}") from None


def _must_go_back_out(frame: Frame) -> None:
    """Refuse what JSON lets in and not out again: half a surrogate pair, NaN, infinity."""
    try:
        json.dumps(frame, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BadFrame("the frame holds a number or a character that does not exist") from None


def dump(frame: Frame) -> str:
    """A frame as it goes over the wire."""
    return json.dumps(frame, ensure_ascii=False)


def metadata(conversation_id: str, output_format: str, input_format: str) -> Frame:
    """The first frame of every conversation: a JavaScript client waits for it and for nothing else."""
    event = {
        "conversation_id": conversation_id,
        "agent_output_audio_format": output_format,
        "user_input_audio_format": input_format,
    }
    return {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": event}


def ping(event_id: int, ping_ms: int | None) -> Frame:
    """A ping; `ping_ms` is always there, as the Python client reads it without asking."""
    return {"type": "ping", "ping_event": {"event_id": event_id, "ping_ms": ping_ms}}


def audio(event_id: int, sound: bytes) -> Frame:
    """A piece of speech; without timings `alignment` is left out, as null breaks the Python client."""
    return {"type": "audio", "audio_event": {"audio_base_64": base64.b64encode(sound).decode(), "event_id": event_id}}


def user_transcript(event_id: int, text: str) -> Frame:
    """What was understood of the user's speech."""
    return {"type": "user_transcript", "user_transcription_event": {"user_transcript": text, "event_id": event_id}}


def agent_response(event_id: int, text: str) -> Frame:
    """A whole reply."""
    return {"type": "agent_response", "agent_response_event": {"agent_response": text, "event_id": event_id}}


def response_part(event_id: int, kind: Literal["start", "delta", "stop"], text: str = "") -> Frame:
    """A piece of a reply while it is written."""
    part = {"text": text, "type": kind, "event_id": event_id}
    return {"type": "agent_chat_response_part", "text_response_part": part}


def correction(event_id: int, original: str, corrected: str) -> Frame:
    """What remains of a reply that was interrupted."""
    event = {"original_agent_response": original, "corrected_agent_response": corrected, "event_id": event_id}
    return {"type": "agent_response_correction", "agent_response_correction_event": event}


def interruption(event_id: int) -> Frame:
    """The reply with this id was interrupted; later sound needs a larger id."""
    return {"type": "interruption", "interruption_event": {"event_id": event_id}}


def guardrail_triggered() -> Frame:
    """The platform's own guard spoke in place of the agent."""
    return {"type": "guardrail_triggered"}


def error(code: int, error_type: str, message: str) -> Frame:
    """Something went wrong; `code` is that of the close which follows, where one does."""
    event = {"code": code, "error_type": error_type, "message": message, "reason": message}
    return {"type": "error", "error_event": event}
