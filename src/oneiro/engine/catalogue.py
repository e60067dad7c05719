"""The models that the platform names today (SDK 2.78.0, `types/llm.py`, `types/tts_conversational_model.py`)."""

LLMS = (
    "gpt-4o-mini", "gpt-4o", "gpt-4", "gpt-4-turbo", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano",
    "gpt-5", "gpt-5-mini", "gpt-5-nano", "gpt-5.1", "gpt-5.2", "gpt-5.4", "gpt-5.4-mini", "gpt-5.4-nano", "gpt-5.5",
    "gpt-5.6-sol", "gpt-5.6-terra", "gpt-5.6-luna", "gpt-6-astra", "gpt-6-sol", "gpt-6-luna",
    "gpt-6.1-sol", "gpt-6.1-terra", "gpt-3.5-turbo",
    "gemini-1.5-pro", "gemini-1.5-flash", "gemini-2.0-flash", "gemini-2.0-flash-lite",
    "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-3-pro-preview", "gemini-3-flash-preview",
    "gemini-3.1-flash-lite", "gemini-3.5-flash", "gemini-3.5-flash-lite", "gemini-3.6-flash", "gemini-3.7-flash",
    "gemini-3.8-flash", "gemini-4-argon",
    "claude-3-haiku", "claude-3-5-sonnet", "claude-3-7-sonnet", "claude-sonnet-4", "claude-sonnet-4-5",
    "claude-sonnet-4-6", "claude-sonnet-5", "claude-sonnet-5-5", "claude-opus-4-6", "claude-opus-4-7",
    "claude-opus-4-8", "claude-opus-5", "claude-opus-5-5", "claude-haiku-4-5", "claude-haiku-5-5",
    "grok-beta", "custom-llm", "qwen3-4b", "qwen3-30b-a3b", "qwen36-35b-a3b", "qwen35-397b-a17b",
    "gpt-oss-20b", "gpt-oss-120b", "glm-45-air-fp8", "glm-52", "deepseek-v41-flash",
)  # fmt: skip

TTS_MODELS = (
    "eleven_turbo_v2", "eleven_turbo_v2_5", "eleven_flash_v2", "eleven_flash_v2_5", "eleven_multilingual_v2",
    "eleven_v3_conversational", "eleven_v4", "eleven_v4_turbo",
)  # fmt: skip

TOKENS = 4_096
"""Tokens a reply: every model here is answered by this engine, so all have the engine's limits."""
CONTEXT = 32_768


def llm_list() -> dict[str, object]:
    """The body of GET /v1/convai/llm/list."""
    deprecation = {
        "warning_start_days": 30,
        "fallback_start_days": 14,
        "fallback_complete_days": 0,
        "fallback_start_percentage": 0,
        "fallback_complete_percentage": 100,
    }
    return {"llms": [_info(name) for name in LLMS], "default_deprecation_config": deprecation}


def _info(name: str) -> dict[str, object]:
    return {
        "llm": name,
        "is_checkpoint": False,
        "max_tokens_limit": TOKENS,
        "max_context_limit": CONTEXT,
        "supports_image_input": False,
        "supports_document_input": False,
        "supports_parallel_tool_calls": False,
        "available_reasoning_efforts": None,
        "available_service_tiers": [],
        "deprecation_info": None,
    }
