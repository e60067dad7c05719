"""Numbers and texts that follow from the document, as in the guide (AgentFactory)."""

from typing import Final

from oneiro.interpreters.models import InterpreterDocument, ResponseLength

FIRST_MESSAGE: Final = "{{opening}}"

_TEMPERATURES = {"jungian": 0.7, "spiritual": 0.6, "freudian": 0.8, "cognitive": 0.5}
_TOKENS: dict[ResponseLength, int] = {"brief": 150, "moderate": 250, "detailed": 400}
_WORDS: dict[ResponseLength, int] = {"brief": 80, "moderate": 120, "detailed": 200}


def temperature(document: InterpreterDocument) -> float:
    """The model's temperature by approach; 0.7 for an approach the guide does not name."""
    return _TEMPERATURES.get(document.personality.approach.lower(), 0.7)


def max_tokens(document: InterpreterDocument) -> int:
    """The most tokens of one reply."""
    return _TOKENS[document.personality.conversation_style.response_length]


def max_turn_length(document: InterpreterDocument) -> int:
    """The most words of one turn."""
    return _WORDS[document.personality.conversation_style.response_length]


def conversation_guidelines(document: InterpreterDocument) -> str:
    """The guide's block of guidelines for the system prompt."""
    style = document.personality.conversation_style
    return "\n".join(
        (
            f"CONVERSATION GUIDELINES FOR {document.full_name.upper()}:",
            f"- Response Length: {style.response_length} (max {max_turn_length(document)} words)",
            f"- Questioning Style: {style.questioning_style}",
            f"- Emotional Tone: {style.emotional_tone}",
            f"- Pacing: {style.pacing_preference}",
            f"- Language Complexity: {style.language_complexity}",
            f"- Key Expertise: {', '.join(document.personality.expertise)}",
        )
    )
