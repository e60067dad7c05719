"""Bodies of requests, with the platform's fields, bounds and defaults (SDK 2.78.0, `types/*.py`).

Unknown keys are dropped and so do not come back when an agent is read (e.g. `tts.style`, `conversation_config.llm`).
"""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from oneiro.engine.catalogue import LLMS, TTS_MODELS

Flag = bool | None
Unit = Annotated[float, Field(ge=0, le=1)]
Name = Annotated[str, Field(max_length=500)]
Text = Annotated[str, Field(max_length=200_000)]
Format = Literal["pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000"]
CLIENT_EVENTS = (
    "audio",
    "interruption",
    "user_transcript",
    "agent_response",
    "agent_response_correction",
    "agent_chat_response_part",
)


def _known(names: tuple[str, ...]) -> AfterValidator:
    def check(value: str) -> str:
        if value not in names:
            raise ValueError(f"Input should be one of {', '.join(names)}")
        return value

    return AfterValidator(check)


class Section(BaseModel):
    """A part of an agent: unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=(), allow_inf_nan=False)


class Body(Section):
    """A whole body: what JSON lets in and not out again (half a surrogate pair, NaN, infinity) is refused."""

    @model_validator(mode="before")
    @classmethod
    def must_go_back_out(cls, body: object) -> object:
        """Raise ValueError when the body could not be sent back."""
        try:
            json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            raise ValueError("The body holds a number or a character that does not exist") from None
        return body


class Prompt(Section):
    """`agent.prompt`: what the model is told and how it answers."""

    prompt: Text = ""
    llm: Annotated[str, _known(LLMS)] = "gemini-2.5-flash"
    reasoning_effort: str | None = None
    service_tier: str | None = None
    thinking_budget: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    max_tokens: int = -1
    tool_ids: list[str] = Field([])
    built_in_tools: dict[str, Any] = Field({})
    mcp_server_ids: list[str] = Field([])
    native_mcp_server_ids: list[str] = Field([])
    knowledge_base: list[dict[str, Any]] = Field([])
    custom_llm: dict[str, Any] | None = None
    ignore_default_personality: Flag = False
    rag: dict[str, Any] | None = None
    timezone: str | None = None
    backup_llm_config: dict[str, Any] = Field({"preference": "default"})
    cascade_timeout_seconds: Annotated[float, Field(ge=2, le=15)] = 8.0


class DynamicVariables(Section):
    """`agent.dynamic_variables`: test values of the dashboard, never defaults of a conversation."""

    dynamic_variable_placeholders: dict[str, str | bool | int | float] = Field({})


class Agent(Section):
    """`agent`: how it opens, in which language, and its prompt."""

    first_message: Text = ""
    language: Annotated[str, Field(min_length=2, max_length=10)] = "en"
    dynamic_variables: DynamicVariables = DynamicVariables()
    disable_first_message_interruptions: bool = False
    max_conversation_duration_message: Text = ""
    text_behavior_overrides: dict[str, Any] | None = None
    prompt: Prompt = Prompt()


class Tts(Section):
    """`tts`: the voice; `style` and `use_speaker_boost` belong to a voice, not to an agent."""

    model_id: Annotated[str, _known(TTS_MODELS)] = "eleven_flash_v2"
    voice_id: Name = "cjVigY5qzO86Huf0OWal"
    supported_voices: list[dict[str, Any]] = Field([])
    expressive_mode: bool = True
    suggested_audio_tags: list[dict[str, Any]] = Field([])
    agent_output_audio_format: Format = "pcm_16000"
    optimize_streaming_latency: int = 3
    stability: Unit = 0.5
    speed: Annotated[float, Field(ge=0.7, le=1.2)] = 1.0
    similarity_boost: Unit = 0.8
    clone_strength: Unit | None = None
    text_normalisation_type: Literal["system_prompt", "elevenlabs"] = "system_prompt"
    pronunciation_dictionary_locators: list[dict[str, Any]] = Field([])
    enable_phoneme_tags: Flag = None
    audio_effects: dict[str, Any] | None = None


class Asr(Section):
    """`asr`: how speech is heard."""

    quality: Literal["high"] = "high"
    provider: Literal["elevenlabs", "scribe_realtime", "scribe_v2_turbo"] = "elevenlabs"
    user_input_audio_format: Format = "pcm_16000"
    keywords: list[str] = Field([])


class Turn(Section):
    """`turn`: when somebody has finished speaking, and when silence ends the call (-1: never)."""

    turn_timeout: Annotated[float, Field(ge=-1, le=300)] = 7.0
    initial_wait_time: float | None = None
    silence_end_call_timeout: float = -1.0
    turn_eagerness: Literal["patient", "normal", "eager"] = "normal"
    spelling_patience: Literal["auto", "off"] = "auto"
    speculative_turn: bool = False
    retranscribe_on_turn_timeout: bool = False
    turn_model: Literal["turn_v2", "turn_v3"] = "turn_v2"
    interruption_ignore_terms: list[str] = Field([])
    soft_timeout_config: dict[str, Any] = Field({"timeout_seconds": -1.0, "message": "Hhmmmm...yeah."})


class Conversation(Section):
    """`conversation`: text or voice, how long, and which frames the client is sent."""

    text_only: bool = False
    max_duration_seconds: Annotated[int, Field(ge=1, le=86_400)] = 600
    client_events: list[str] = list(CLIENT_EVENTS)
    file_input: dict[str, Any] = Field({"enabled": True, "max_files_per_conversation": 10})
    monitoring_enabled: bool = False
    monitoring_events: list[str] = Field([])


class ConversationConfig(Section):
    """`conversation_config` of an agent."""

    asr: Asr = Asr()
    turn: Turn = Turn()
    tts: Tts = Tts()
    conversation: Conversation = Conversation()
    language_presets: dict[str, Any] = Field({})
    vad: dict[str, Any] = Field({"background_voice_detection": False})
    agent: Agent = Agent()
