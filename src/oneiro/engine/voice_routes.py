"""Routes of voices: /v1/voices, /v2/voices and /v1/text-to-voice."""

import base64
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from oneiro.engine.models import Body, Flag
from oneiro.engine.paging import page
from oneiro.engine.problems import invalid
from oneiro.engine.sound import wav
from oneiro.engine.state import EngineOf
from oneiro.engine.voices import VoiceSettings, gender_of

router = APIRouter()
PREVIEWS = 3
RATE = 22_050
AUTO_TEXT = (
    "Last night I walked through a house I had never seen, and yet I knew every door in it. "
    "Behind the last one there was water, quite still, and a light that came from below."
)
"""Read aloud when the caller asks us to choose the words; within the platform's 100 to 1000 characters."""


class Design(Body):
    """Body of text-to-voice design and create-previews."""

    voice_description: Annotated[str, Field(min_length=20, max_length=1000)]
    text: Annotated[str, Field(min_length=100, max_length=1000)] | None = None
    auto_generate_text: Flag = False
    model_id: Literal["eleven_multilingual_ttv_v2", "eleven_ttv_v3"] = "eleven_multilingual_ttv_v2"
    seed: Annotated[int, Field(ge=0, le=2_147_483_647)] | None = None


class KeepVoice(Body):
    """Body of POST /v1/text-to-voice."""

    voice_name: Annotated[str, Field(min_length=1, max_length=100)]
    voice_description: Annotated[str, Field(min_length=20, max_length=1000)]
    generated_voice_id: str
    labels: dict[str, str] | None = None


@router.get("/v1/voices")
async def all_voices(engine: EngineOf) -> dict[str, Any]:
    """Every voice, as the older list gives them."""
    return {"voices": [voice.body() for voice in engine.voices.all()]}


@router.get("/v2/voices")
async def search_voices(
    engine: EngineOf,
    *,
    search: str | None = None,
    category: str | None = None,
    voice_ids: Annotated[list[str], Query()] = [],  # noqa: B006 - FastAPI copies it for each request.
    page_size: Annotated[int, Query(ge=1, le=100)] = 10,
    next_page_token: str | None = None,
) -> dict[str, Any]:
    """One page of the voices whose name, description or labels hold the words."""
    found = [
        voice
        for voice in engine.voices.all()
        if (not voice_ids or voice.voice_id in voice_ids)
        and category in {None, voice.category}
        and (search or "").casefold() in " ".join([voice.name, voice.description, *voice.labels.values()]).casefold()
    ]
    shown, following = page(
        found, lambda voice: (voice.name, voice.voice_id), size=page_size, cursor=next_page_token, descending=False
    )
    return {
        "voices": [voice.body() for voice in shown],
        "has_more": following is not None,
        "total_count": len(found),
        "next_page_token": following,
    }


@router.get("/v1/voices/{voice_id}")
async def get_voice(voice_id: str, engine: EngineOf) -> dict[str, Any]:
    """One voice."""
    return engine.voices.get(voice_id).body()


@router.delete("/v1/voices/{voice_id}")
async def delete_voice(voice_id: str, engine: EngineOf) -> dict[str, str]:
    """Forget a voice."""
    engine.voices.delete(voice_id)
    return {"status": "ok"}


@router.get("/v1/voices/{voice_id}/settings")
async def get_voice_settings(voice_id: str, engine: EngineOf) -> VoiceSettings:
    """The settings of a voice."""
    return engine.voices.get(voice_id).settings


@router.post("/v1/voices/{voice_id}/settings/edit")
async def edit_voice_settings(voice_id: str, body: VoiceSettings, engine: EngineOf) -> dict[str, str]:
    """Change the settings that were sent."""
    voice = engine.voices.get(voice_id)
    voice.settings = voice.settings.model_copy(update=body.model_dump(exclude_unset=True))
    return {"status": "ok"}


@router.post("/v1/text-to-voice/design")
@router.post("/v1/text-to-voice/create-previews", deprecated=True)
async def design_voice(body: Design, engine: EngineOf) -> dict[str, Any]:
    """Three previews of a voice as described, each reading the text."""
    if body.text is None and not body.auto_generate_text:
        raise invalid(("body", "text"), "Either text or auto_generate_text must be provided", "value_error")
    text = AUTO_TEXT if body.text is None else body.text
    gender = gender_of(body.voice_description) or "female"
    previews = []
    for number in range(PREVIEWS):
        samples = await engine.speech.speak(text, gender=gender, language="en", speed=0.9 + number / 10, rate=RATE)
        previews.append(
            {
                "audio_base_64": base64.b64encode(wav(samples, RATE)).decode(),
                "generated_voice_id": engine.voices.preview(body.voice_description),
                "media_type": "audio/wav",
                "duration_secs": round(len(samples) / 2 / RATE, 3),
                "language": "en",
            }
        )
    return {"previews": previews, "text": text}


@router.post("/v1/text-to-voice")
async def keep_voice(body: KeepVoice, engine: EngineOf) -> dict[str, Any]:
    """Keep a preview as a voice."""
    voice = engine.voices.create(
        body.voice_name, body.voice_description, body.labels or {}, body.generated_voice_id, engine.now()
    )
    return voice.body()
