"""From a release to the agent it shall be on the platform."""

import hashlib
from dataclasses import asdict
from typing import Final

from oneiro.interpreters import derived
from oneiro.interpreters.agents.models import Draft
from oneiro.interpreters.models import Release, Voice, canonical_json
from oneiro.interpreters.prompts import prompt_sha256, render_system
from oneiro.platform.port import AgentSpec

REVISION: Final = 2
"""Raised when agents must be made anew although their release did not change (what an adapter sends did)."""
SILENCE_SECONDS: Final = 600
"""A writer may think for ten minutes; a line that was left open ends then, too."""
RETENTION_DAYS: Final = 7
"""How long the platform keeps a transcript: our copy is the record, and reconciliation needs days at most."""


def draft(
    release: Release,
    language: str,
    model: str,
    *,
    protocol: str,
    max_seconds: int,
    default_voice_id: str,
) -> Draft:
    """The agent of a release in this language and with this model; raises `ValidationError` without a system prompt."""
    document = release.document
    voice = document.voice or Voice()
    prompt = render_system(document, protocol, language)
    spec = AgentSpec(
        name=f"{document.name} · release {release.number} · {language} · {model}",
        tag="",
        system_prompt=prompt,
        language=language,
        model=model,
        temperature=derived.temperature(document),
        max_tokens=derived.max_tokens(document),
        voice_id="",
        stability=voice.stability,
        similarity_boost=voice.similarity_boost,
        speed=voice.speaking_rate,
        max_seconds=max_seconds,
        silence_seconds=SILENCE_SECONDS,
        retention_days=RETENTION_DAYS,
    )
    whole = {"revision": REVISION, "default_voice_id": default_voice_id, **asdict(spec), **voice.model_dump()}
    return Draft(
        interpreter_id=release.interpreter_id,
        release_id=release.id,
        release=release.number,
        language=language,
        model=model,
        spec=spec,
        prompt_sha256=prompt_sha256(prompt),
        config_sha256=hashlib.sha256(canonical_json(whole).encode()).hexdigest(),
    )
