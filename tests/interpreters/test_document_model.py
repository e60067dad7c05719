from collections.abc import Callable
from typing import Any

import pytest

from oneiro.errors import ValidationError
from oneiro.interpreters import derived, documents
from oneiro.interpreters.models import InterpreterDocument

Make = Callable[..., InterpreterDocument]


def refused(data: Any) -> list[dict[str, Any]]:
    with pytest.raises(ValidationError) as caught:
        documents.from_data(data)
    assert caught.value.errors
    return caught.value.errors


@pytest.mark.parametrize("name", ["José", "李雷", "Ольга", "Ṛta देवी", "Ada 🌙", "נעמי"])
def test_names_in_any_script_stay_as_they_are(make: Make, name: str) -> None:
    assert make(name=name, full_name=name).card().name == name


@pytest.mark.parametrize("bad", ["a", "Carl", "1ab", "ada\n", "ada b", "a" * 32, "", "\u0430da"])
def test_an_id_is_short_lower_case_ascii(data: dict[str, Any], bad: str) -> None:
    assert refused(data | {"id": bad})[0]["field"] == "id"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("stability", 1.01, "must be at most 1.0"),
        ("similarity_boost", -0.1, "must be at least 0.0"),
        ("style", 0.333, "may have at most two decimals"),
        ("speaking_rate", 0.69, "must be at least 0.7"),
        ("speaking_rate", 1.21, "must be at most 1.2"),
        ("speaking_rate", "0.9", "must be a number"),
        ("stability", float("nan"), None),
        ("use_speaker_boost", 1, "must be true or false"),
        ("voice_description", "short", "must have at least 20 characters"),
        ("voice_id", "../../etc", None),
    ],
)
def test_voice_values_out_of_range_are_refused_by_name(
    data: dict[str, Any], key: str, value: object, message: str | None
) -> None:
    error = refused(data | {"voice": {key: value}})[0]
    assert error["field"] == f"voice.{key}"
    assert message is None or error["message"] == message


def test_an_unknown_key_is_refused_with_its_path_and_a_suggestion(data: dict[str, Any]) -> None:
    data["personality"]["conversation_style"] = {"respons_length": "brief"}
    error = refused(data)[0]
    assert error["field"] == "personality.conversation_style.respons_length"
    assert "response_length" in error["message"]


@pytest.mark.parametrize("bad", ["a\x00b", "a\x1bb", "a\ud800b"])
def test_text_that_cannot_be_stored_is_refused(data: dict[str, Any], bad: str) -> None:
    assert refused(data | {"description": bad})[0]["field"] == "description"


def test_a_template_over_32_kilobytes_is_refused(data: dict[str, Any]) -> None:
    data["prompts"] = [{"type": "system", "template": "ü" * 16_385}]
    assert "32768 bytes" in refused(data)[0]["message"]


def test_two_prompts_of_one_type_and_name_are_refused(data: dict[str, Any]) -> None:
    data["prompts"] *= 2
    assert "two prompts system/default" in refused(data)[0]["message"]


def test_a_card_never_shows_prompts_or_voice(make: Make) -> None:
    assert set(make().card().model_dump()) == {
        "id", "name", "full_name", "description", "approach", "traits", "expertise", "appearance"
    }  # fmt: skip


def test_equal_content_has_equal_hashes_and_any_change_another(make: Make) -> None:
    assert make().content_hash == make().content_hash
    assert len(make().content_hash) == 64
    assert make().content_hash != make(name="Eda").content_hash


def test_the_hash_is_the_same_after_a_round_through_data(make: Make) -> None:
    document = make(voice={"stability": 1, "speaking_rate": 0.7})
    assert documents.from_data(document.data()).content_hash == document.content_hash


@pytest.mark.parametrize(
    ("approach", "temperature"),
    [("jungian", 0.7), ("spiritual", 0.6), ("freudian", 0.8), ("cognitive", 0.5), ("gestalt", 0.7)],
)
def test_the_temperature_follows_the_approach(make: Make, approach: str, temperature: float) -> None:
    assert derived.temperature(make(personality={"approach": approach})) == temperature


@pytest.mark.parametrize(
    ("length", "tokens", "words"), [("brief", 150, 80), ("moderate", 250, 120), ("detailed", 400, 200)]
)
def test_tokens_and_words_follow_the_response_length(make: Make, length: str, tokens: int, words: int) -> None:
    document = make(personality={"approach": "x", "conversation_style": {"response_length": length}})
    assert (derived.max_tokens(document), derived.max_turn_length(document)) == (tokens, words)


def test_the_guidelines_hold_what_the_guide_puts_there(make: Make) -> None:
    lines = derived.conversation_guidelines(make()).splitlines()
    assert lines[0] == "CONVERSATION GUIDELINES FOR ADA OF THE NIGHT DESK:"
    assert lines[1] == "- Response Length: moderate (max 120 words)"
    assert [line.split(":")[0] for line in lines[2:]] == [
        "- Questioning Style", "- Emotional Tone", "- Pacing", "- Language Complexity", "- Key Expertise"
    ]  # fmt: skip
