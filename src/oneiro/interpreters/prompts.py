"""Prompts: checked at publish, the system prompt rendered once a release, the spoken ones once a conversation."""

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Final, Literal

import structlog

from oneiro.dreamwork.profile import Profile
from oneiro.errors import ValidationError
from oneiro.interpreters import derived
from oneiro.interpreters.grammar import Fault
from oneiro.interpreters.models import InterpreterDocument, Prompt, PromptType
from oneiro.interpreters.sandbox import Placeholder
from oneiro.interpreters.templates import Compiled, compiled, fill, refusal
from oneiro.interpreters.variables import CONVERSATION, longest_values, neutral, release_values, sample_values

log = structlog.get_logger()

SpokenType = Literal["greeting", "follow_up", "closing"]
SPOKEN: Final[tuple[SpokenType, ...]] = ("greeting", "follow_up", "closing")

# Spoken when a document has no prompt of its own (the greeting is the guide's), or when its own renders to nothing.
_FALLBACKS: Final[dict[SpokenType, str]] = {
    "greeting": "Hello {{ user_name }}, I'm {{ interpreter.name }}. How can I help you explore your dreams today?",
    "follow_up": "Hello again {{ user_name }}, it's {{ interpreter.name }}. Which dream shall we look at today?",
    "closing": "Thank you for telling me your dream. Be gentle with yourself today. Goodbye for now.",
}
_VARIABLE = re.compile(r"\{\{(\w+)\}\}")


def validate(document: InterpreterDocument) -> None:
    """Check every prompt and try them; raises `ValidationError` with field, prompt, line and message of each fault."""
    faults: list[Fault] = []
    for prompt in document.prompts:
        try:
            _try(document, compiled(prompt, document.prompts))
        except Fault as fault:
            faults.append(fault)
    if faults:
        raise refusal(document, faults)


def render_system(document: InterpreterDocument, protocol: str, language: str = "en") -> str:
    """The system prompt of a release: its template, then the crisis protocol, then the profile block.

    Variables of the conversation stay as `{{name}}` for the platform. Raises `ValidationError` when the document has
    no system prompt or a prompt breaks a rule.
    """
    system_prompt(document)
    template = _ready(document, "system")
    assert template is not None
    body = re.sub(r"\n{3,}", "\n\n", _render(document, template, _system_values(document)).strip())
    return fill("\n\n".join((body, protocol.strip(), _profile(document, language).block())))


def system_prompt(document: InterpreterDocument) -> Prompt:
    """The system prompt; raises `ValidationError` when the document has none."""
    prompt = document.prompt("system")
    if prompt is None:
        raise ValidationError(
            f"{document.name} has no system prompt, so this release cannot be activated.",
            errors=[{"field": "prompts", "message": "there is no prompt of type system named default"}],
        )
    return prompt


def render_spoken(document: InterpreterDocument, kind: SpokenType, values: Mapping[str, str]) -> str:
    """The words of a greeting, follow-up or closing with these values of the conversation, on one line.

    `values` come from `conversation_values`. A document without a follow-up greets with its greeting.
    """
    every = _release_values(document) | dict(values)
    for ready in _candidates(document, kind):
        try:
            template = ready()
            spoken = " ".join(neutral(_render(document, template, every)).split()) if template else ""
        except ValidationError:
            # It passed when it was published and fails on this dreamer's values, or by a rule that came later: she is
            # greeted all the same.
            log.warning("prompt.failed", interpreter_id=document.id, kind=kind)
            continue
        if spoken:
            return spoken
    raise AssertionError("the fallback always has words")


def with_opening(
    document: InterpreterDocument, kind: Literal["greeting", "follow_up"], values: Mapping[str, str]
) -> dict[str, str]:
    """The values with `opening` rendered from this prompt."""
    return {**values, "opening": render_spoken(document, kind, values)}


def required_variables(document: InterpreterDocument) -> frozenset[str]:
    """The platform variables in the system prompt and the first message: each must be sent with a conversation."""
    texts = (render_system(document, ""), derived.FIRST_MESSAGE)
    return frozenset(name for text in texts for name in _VARIABLE.findall(text))


def prompt_sha256(rendered: str) -> str:
    """The proof of which words an agent was given."""
    return hashlib.sha256(rendered.encode()).hexdigest()


@lru_cache(maxsize=256)
def _ready(document: InterpreterDocument, kind: PromptType) -> Compiled | None:
    prompt = document.prompt(kind)
    if prompt is None:
        return None
    try:
        return compiled(prompt, document.prompts)
    except Fault as fault:
        raise refusal(document, [fault]) from None


@lru_cache(maxsize=8)
def _fallback(kind: SpokenType) -> Compiled:
    prompt = Prompt(type=kind, name="fallback", template=_FALLBACKS[kind])
    return compiled(prompt, ())


@lru_cache(maxsize=256)
def _release_values(document: InterpreterDocument) -> dict[str, object]:
    """The release's values, made once a document."""
    return release_values(document)


def _candidates(document: InterpreterDocument, kind: SpokenType) -> list[Callable[[], Compiled | None]]:
    kinds: list[SpokenType] = ["follow_up", "greeting"] if kind == "follow_up" else [kind]
    return [*(partial(_ready, document, one) for one in kinds), partial(_fallback, kind)]


def _system_values(document: InterpreterDocument) -> dict[str, object]:
    return _release_values(document) | {name: Placeholder(name) for name in CONVERSATION}


def _render(document: InterpreterDocument, template: Compiled, values: Mapping[str, object]) -> str:
    try:
        return template.render(values)
    except Fault as fault:
        raise refusal(document, [fault]) from None


def _try(document: InterpreterDocument, template: Compiled) -> None:
    if template.prompt.type == "system":
        template.render(_system_values(document))
        return
    for full in (True, False):
        template.render(_release_values(document) | sample_values(full=full))
    try:
        template.render(_release_values(document) | longest_values())
    except Fault as fault:
        raise Fault(fault.prompt, fault.line, f"{fault.message} when a dream is as long as it may be") from None


def _profile(document: InterpreterDocument, language: str) -> Profile:
    personality = document.personality
    return Profile(
        name=document.name,
        full_name=document.full_name,
        approach=personality.approach,
        traits=personality.traits,
        conversation_style=personality.conversation_style.model_dump(),
        expertise=personality.expertise,
        response_patterns=tuple((pattern.trigger, pattern.response) for pattern in personality.response_patterns),
        max_turn_length=derived.max_turn_length(document),
        language=language,
    )
