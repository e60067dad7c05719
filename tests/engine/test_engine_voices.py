import base64

import pytest
from elevenlabs import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.errors import UnprocessableEntityError

DESCRIPTION = "A wise old woman who speaks slowly, with warmth and patience."
TEXT = "I dreamt that the garden had grown over the roof, and that my grandmother waved to me from the highest branch."


async def test_a_designed_voice_can_be_kept_settled_and_deleted(sdk: AsyncElevenLabs) -> None:
    designed = await sdk.text_to_voice.design(voice_description=DESCRIPTION, text=TEXT)
    assert len(designed.previews) == 3
    preview = designed.previews[0]
    assert base64.b64decode(preview.audio_base_64).startswith(b"RIFF")
    assert preview.duration_secs > 3
    voice = await sdk.text_to_voice.create(
        voice_name="Lakshmi", voice_description=DESCRIPTION, generated_voice_id=preview.generated_voice_id
    )
    assert voice.labels == {"gender": "female"}
    await sdk.voices.settings.update(voice.voice_id, request={"style": 0.3, "stability": 0.7})
    kept = await sdk.voices.get(voice.voice_id)
    assert kept.settings is not None
    assert (kept.settings.style, kept.settings.stability, kept.settings.similarity_boost) == (0.3, 0.7, 0.75)
    assert (await sdk.voices.delete(voice.voice_id)).status == "ok"
    with pytest.raises(ApiError) as refusal:
        await sdk.voices.get(voice.voice_id)
    assert refusal.value.status_code == 404


@pytest.mark.parametrize("length", [99, 1001])
async def test_a_text_for_a_design_has_a_hundred_to_a_thousand_characters(sdk: AsyncElevenLabs, length: int) -> None:
    with pytest.raises(UnprocessableEntityError):
        await sdk.text_to_voice.design(voice_description=DESCRIPTION, text="a" * length)


async def test_a_design_needs_a_text_or_leave_to_choose_one(sdk: AsyncElevenLabs) -> None:
    with pytest.raises(UnprocessableEntityError):
        await sdk.text_to_voice.design(voice_description=DESCRIPTION)
    designed = await sdk.text_to_voice.design(voice_description=DESCRIPTION, auto_generate_text=True)
    assert 100 <= len(designed.text) <= 1000


async def test_a_preview_that_was_never_made_cannot_be_kept(sdk: AsyncElevenLabs) -> None:
    with pytest.raises(ApiError) as refusal:
        await sdk.text_to_voice.create(voice_name="Nobody", voice_description=DESCRIPTION, generated_voice_id="unknown")
    assert refusal.value.status_code == 404


async def test_ready_voices_are_found_by_word_and_by_page(sdk: AsyncElevenLabs) -> None:
    found = await sdk.voices.search(search="british")
    assert [voice.name for voice in found.voices] == ["George"]
    first = await sdk.voices.search(page_size=3)
    second = await sdk.voices.search(page_size=3, next_page_token=first.next_page_token)
    ids = [voice.voice_id for voice in [*first.voices, *second.voices]]
    assert len(ids) == len(set(ids)) == first.total_count
    assert not second.has_more
