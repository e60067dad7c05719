"""Voices: the ready ones, those designed from a description, and their settings."""

import re
import secrets
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from oneiro.engine.models import Flag, Section, Unit
from oneiro.engine.problems import Refusal, not_found

MOST_VOICES = 1_000
MOST_PREVIEWS = 1_000
Gender = Literal["male", "female"]
_FEMALE = re.compile(r"\b(female|woman|feminine|girl|lady|she|her|grandmother|mother|priestess|goddess)\b")
_MALE = re.compile(r"\b(male|man|masculine|boy|gentleman|he|his|grandfather|father|priest)\b")


def gender_of(words: str) -> Gender | None:
    """The gender that a description names first, or None."""
    female, male = _FEMALE.search(words.casefold()), _MALE.search(words.casefold())
    if female and (male is None or female.start() < male.start()):
        return "female"
    return "male" if male else None


class VoiceSettings(Section):
    """Settings of a voice; `style` and `use_speaker_boost` exist here and not on agents."""

    stability: Unit | None = 0.5
    use_speaker_boost: Flag = True
    similarity_boost: Unit | None = 0.75
    style: Unit | None = 0.0
    speed: Annotated[float, Field(ge=0.7, le=1.2)] | None = 1.0
    clone_strength: Unit | None = None


@dataclass
class Voice:
    """A voice and what is known of it."""

    voice_id: str
    name: str
    category: Literal["premade", "generated"]
    labels: dict[str, str]
    description: str
    created: float | None = None
    settings: VoiceSettings = field(default_factory=VoiceSettings)

    @property
    def gender(self) -> Gender:
        """Whether it speaks as a man or a woman: by its label, else by its description, else as a woman."""
        label = self.labels.get("gender", "").casefold()
        return gender_of(label) or gender_of(self.description) or "female"

    def body(self) -> dict[str, Any]:
        """The body of GET /v1/voices/{id}."""
        return {
            "voice_id": self.voice_id,
            "name": self.name,
            "samples": None,
            "category": self.category,
            "labels": self.labels,
            "description": self.description,
            "preview_url": None,
            "available_for_tiers": [],
            "settings": self.settings.model_dump(),
            "high_quality_base_model_ids": [],
            "is_owner": self.category == "generated",
            "is_legacy": False,
            "created_at_unix": None if self.created is None else int(self.created),
        }


def _ready() -> dict[str, Voice]:
    """The voices that exist from the start, under ids of the platform's own ready voices."""
    rows: list[tuple[str, str, Gender, str, str]] = [
        ("21m00Tcm4TlvDq8ikWAM", "Rachel", "female", "american", "A calm woman's voice."),
        ("EXAVITQu4vr4xnSDxMaL", "Sarah", "female", "american", "A soft young woman's voice."),
        ("cjVigY5qzO86Huf0OWal", "Eric", "male", "american", "A smooth man's voice."),
        ("pNInz6obpgDQGcFmaJgB", "Adam", "male", "american", "A deep man's voice."),
        ("JBFqnCBsd6RMkjVDRZzb", "George", "male", "british", "A warm man's voice."),
    ]
    return {
        voice_id: Voice(voice_id, name, "premade", {"gender": gender, "accent": accent}, description)
        for voice_id, name, gender, accent, description in rows
    }


class Voices:
    """The voices of one engine and the previews that may become one."""

    def __init__(self) -> None:
        self._by_id = _ready()
        self._previews: dict[str, str] = {}

    def get(self, voice_id: str) -> Voice:
        """The voice; 404 when it is not known here."""
        voice = self._by_id.get(voice_id)
        if voice is None:
            raise not_found("voice", voice_id)
        return voice

    def find(self, voice_id: str) -> Voice | None:
        """The voice, or None."""
        return self._by_id.get(voice_id)

    def all(self) -> list[Voice]:
        """Every voice."""
        return list(self._by_id.values())

    def preview(self, description: str) -> str:
        """Remember a designed preview and return its id; the oldest is forgotten beyond the bound."""
        generated = secrets.token_hex(10)
        self._previews[generated] = description
        while len(self._previews) > MOST_PREVIEWS:
            del self._previews[next(iter(self._previews))]
        return generated

    def create(self, name: str, description: str, labels: dict[str, str], generated: str, now: float) -> Voice:
        """Keep a preview as a voice; 404 when the preview is not known."""
        if generated not in self._previews:
            raise Refusal(404, "generated_voice_not_found", "The generated voice was not found.", "not_found")
        if len(self._by_id) >= MOST_VOICES:
            raise Refusal(400, "voice_limit_reached", f"This engine keeps at most {MOST_VOICES} voices.")
        gender = gender_of(description) or gender_of(self._previews.pop(generated))
        labelled = {**({"gender": gender} if gender else {}), **labels}
        voice = Voice(secrets.token_hex(10), name, "generated", labelled, description, now)
        self._by_id[voice.voice_id] = voice
        return voice

    def delete(self, voice_id: str) -> None:
        """Forget a voice; agents that name it fall back to the default."""
        del self._by_id[self.get(voice_id).voice_id]
