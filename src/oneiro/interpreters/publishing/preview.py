"""What a document would make of a conversation, without publishing it."""

from datetime import datetime
from typing import Literal

from oneiro.interpreters.models import InterpreterDocument
from oneiro.interpreters.prompts import render_spoken, render_system, validate, with_opening
from oneiro.interpreters.publishing.models import Context, Length, Preview
from oneiro.interpreters.variables import DreamMaterial, conversation_values
from oneiro.safety.protocol import CRISIS_PROTOCOL

NOBODY = "00000000-0000-0000-0000-000000000000"


def preview(document: InterpreterDocument, context: Context, now: datetime) -> Preview:
    """Check every prompt and render them for this context; raises `ValidationError` as publishing would."""
    validate(document)
    system = render_system(document, CRISIS_PROTOCOL, context.language)
    values = conversation_values(
        conversation_id=NOBODY,
        now=now,
        user_name=context.user_name,
        dream=_material(context),
        remembered=context.remembered,
        last_time=context.last_time,
    )
    kind: Literal["greeting", "follow_up"] = "follow_up" if context.last_time or context.remembered else "greeting"
    values = with_opening(document, kind, values)
    closing = render_spoken(document, "closing", values)
    texts = {"system": system, "opening": values["opening"], "closing": closing}
    return Preview(
        system=system,
        opening=values["opening"],
        closing=closing,
        variables=values,
        lengths={name: Length(characters=len(text), words=len(text.split())) for name, text in texts.items()},
        content_hash=document.content_hash,
    )


def _material(context: Context) -> DreamMaterial | None:
    if not (context.dream or context.dream_title):
        return None
    return DreamMaterial(
        text=context.dream or "",
        title=context.dream_title,
        symbols=tuple(context.symbols),
        interpretation=context.interpretation,
        interpretation_date=context.interpretation_date,
    )
