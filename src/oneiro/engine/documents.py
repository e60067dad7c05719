"""Documents of agents: `platform_settings` and the bodies of the routes (SDK 2.78.0, `types/*.py`)."""

from typing import Annotated, Any

from pydantic import Field

from oneiro.engine.models import Body, ConversationConfig, Name, Section

Days = Annotated[int, Field(ge=-1)]


class AllowedHost(Section):
    """A host whose pages may open the agent."""

    hostname: str


class Auth(Section):
    """Who may open the socket: with `enable_auth` only a signed URL or an API key."""

    enable_auth: bool = False
    allowlist: list[AllowedHost] = Field([])
    require_origin_header: bool = False
    shareable_token: str | None = None


class OverridePrompt(Section):
    """Fields of the prompt that a client may override."""

    prompt: bool = False
    llm: bool = False
    reasoning_effort: bool = False
    tool_ids: bool = False
    native_mcp_server_ids: bool = False
    knowledge_base: bool = False


class OverrideAgent(Section):
    """Fields of `agent` that a client may override."""

    first_message: bool = False
    language: bool = False
    max_conversation_duration_message: bool = False
    prompt: OverridePrompt = OverridePrompt()


class OverrideTts(Section):
    """Fields of `tts` that a client may override."""

    model_id: bool = False
    voice_id: bool = False
    supported_voices: bool = False
    stability: bool = False
    speed: bool = False
    similarity_boost: bool = False
    clone_strength: bool = False
    pronunciation_dictionary_locators: bool = False


class OverrideConversation(Section):
    """Fields of `conversation` that a client may override; text only is open on new agents."""

    text_only: bool = True
    max_duration_seconds: bool = False


class OverrideAsr(Section):
    """Fields of `asr` that a client may override."""

    keywords: bool = False


class OverrideTurn(Section):
    """Fields of `turn` that a client may override."""

    soft_timeout_config: dict[str, bool] = Field({})
    noisy_environment_message: bool = False


class OverrideConfig(Section):
    """What a client may override; everything else is refused when the conversation starts."""

    asr: OverrideAsr = OverrideAsr()
    turn: OverrideTurn = OverrideTurn()
    tts: OverrideTts = OverrideTts()
    conversation: OverrideConversation = OverrideConversation()
    agent: OverrideAgent = OverrideAgent()


class Overrides(Section):
    """`platform_settings.overrides`."""

    conversation_config_override: OverrideConfig = OverrideConfig()
    custom_llm_extra_body: bool = False
    enable_conversation_initiation_client_data_from_webhook: bool = False
    enable_starting_workflow_node_id_from_client: bool = False
    enable_procedure_ids_from_client: bool = False


class Privacy(Section):
    """What is kept of a conversation, and how long (-1: no limit)."""

    record_voice: bool = True
    retention_days: Days = -1
    delete_transcript_and_pii: bool = False
    delete_audio: bool = False
    apply_to_existing_conversations: bool = False
    zero_retention_mode: bool = False
    conversation_history_redaction: dict[str, Any] = Field({"enabled": False, "entities": []})


class CallLimits(Section):
    """How many conversations at once and a day."""

    agent_concurrency_limit: int = -1
    daily_limit: int = 100_000
    bursting_enabled: bool = True


class Queueing(Section):
    """Whether callers wait when the agent is busy; on for new agents."""

    enabled: bool = True
    wait_timeout_seconds: int = 300


class PlatformSettings(Section):
    """`platform_settings` of an agent."""

    evaluation: dict[str, Any] = Field({"criteria": []})
    widget: dict[str, Any] = Field({})
    data_collection: dict[str, Any] = Field({})
    overrides: Overrides = Overrides()
    workspace_overrides: dict[str, Any] = Field({})
    testing: dict[str, Any] = Field({})
    archived: bool = False
    guardrails: dict[str, Any] = Field({"version": "1"})
    summary_language: str | None = None
    auth: Auth = Auth()
    call_limits: CallLimits = CallLimits()
    queueing_config: Queueing = Queueing()
    privacy: Privacy = Privacy()
    analysis_llm: str = "gemini-2.5-flash"
    sentiment_analysis: dict[str, Any] = Field({})


class AgentDocument(Section):
    """Everything that a version of an agent holds."""

    name: Name = "New agent"
    conversation_config: ConversationConfig
    platform_settings: PlatformSettings = PlatformSettings()
    workflow: dict[str, Any] = Field({})
    tags: Annotated[list[Name], Field(max_length=100)] = Field([])


class AgentCreate(Body):
    """Body of POST /v1/convai/agents/create; null means the default, as an absent key does."""

    conversation_config: ConversationConfig
    platform_settings: PlatformSettings | None = None
    workflow: dict[str, Any] | None = None
    name: Name | None = None
    tags: Annotated[list[Name], Field(max_length=100)] | None = None


class AgentPatch(Body):
    """Body of PATCH /v1/convai/agents/{id}; only the keys that were sent change anything."""

    conversation_config: ConversationConfig | None = None
    platform_settings: PlatformSettings | None = None
    workflow: dict[str, Any] | None = None
    name: Name | None = None
    tags: Annotated[list[Name], Field(max_length=100)] | None = None
    version_description: str | None = None


class Duplicate(Body):
    """Body of POST /v1/convai/agents/{id}/duplicate."""

    name: Name | None = None


class Feedback(Body):
    """Body of POST …/feedback: the Python client sends `feedback`, the JavaScript client `rating` and `comment`."""

    feedback: Annotated[str, Field(pattern="^(like|dislike)$")] | None = None
    rating: Annotated[int, Field(ge=1, le=5)] | None = None
    comment: Annotated[str, Field(max_length=5000)] | None = None
