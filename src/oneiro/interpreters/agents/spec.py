"""From a release to the agent it shall be on the platform."""

import hashlib
from dataclasses import asdict
from typing import Final
from uuid import UUID

from oneiro.interpreters import derived
from oneiro.interpreters.agents.models import Draft
from oneiro.interpreters.models import Release, Voice, canonical_json
from oneiro.interpreters.prompts import prompt_sha256, render_system
from oneiro.platform.port import AgentSpec
from oneiro.safety.protocol import CRISIS_PROTOCOL
from oneiro.settings import Settings

REVISION: Final = 2
"""Raised when agents must be made anew although their release did not change (what an adapter sends did)."""
SILENCE_SECONDS: Final = 600
"""A writer may think for ten minutes; a line that was left open ends then, too."""
RETENTION_DAYS: Final = 7
"""How long the platform keeps a transcript: our copy is the record, and reconciliation needs days at most."""
MOST_KEPT: Final = 512


class Drafts:
    """Drafts of agents by release, language and model, each made once: its prompt is rendered for it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: dict[tuple[UUID, str, str], Draft] = {}

    def of(self, release: Release, language: str, model: str) -> Draft:
        """What the agent of this release shall be; raises `ValidationError` when it has no system prompt."""
        key = (release.id, language, model)
        known = self._kept.get(key)
        if known is None:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            known = self._kept[key] = _draft(release, language, model, self._settings)
        return known


def _draft(release: Release, language: str, model: str, settings: Settings) -> Draft:
    document = release.document
    voice = document.voice or Voice()
    prompt = render_system(document, CRISIS_PROTOCOL, language)
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
        max_seconds=settings.max_call_seconds,
        silence_seconds=SILENCE_SECONDS,
        retention_days=RETENTION_DAYS,
    )
    whole = {"revision": REVISION, "default_voice_id": settings.default_voice_id, **asdict(spec), **voice.model_dump()}
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
