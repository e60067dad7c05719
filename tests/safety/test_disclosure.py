from datetime import UTC, datetime, timedelta

import pytest

from oneiro.safety.disclosure import disclosure, due, provider, reminder, standing_in, told_of_summary
from oneiro.safety.protocol import CRISIS_PROTOCOL
from oneiro.settings import Settings


@pytest.mark.parametrize(
    ("language", "words"), [("en", "an AI, not a human being"), ("de-AT", "einer KI"), ("fr", "AI")]
)
def test_a_conversation_opens_with_the_truth(language: str, words: str) -> None:
    told = disclosure("Carl", language, simulated=False)
    assert "Carl" in told.text
    assert words in told.text
    assert "{" not in told.text


def test_ids_tell_language_kind_and_version_apart() -> None:
    texts = [
        *(
            disclosure("Carl", code, simulated=demo, provider=provider)
            for code in ("en", "de")
            for demo in (True, False)
            for provider in ("", "Acme")
        ),
        *(standing_in("Carl", code, "Acme") for code in ("en", "de")),
        *(reminder("Carl", code) for code in ("en", "de")),
    ]
    assert len({told.id for told in texts}) == len({told.text for told in texts}) == 12


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("simulated", [True, False])
def test_an_id_says_whether_she_was_told_that_a_model_sums_up(language: str, simulated: bool) -> None:  # noqa: FBT001 - its argument.
    assert told_of_summary(disclosure("Carl", language, simulated, "Acme").id)
    assert not told_of_summary(disclosure("Carl", language, simulated).id)
    assert not told_of_summary(standing_in("Carl", language, "Acme").id)
    assert not told_of_summary(reminder("Carl", language).id)


def test_a_demo_does_not_claim_a_speech_provider() -> None:
    assert "without a speech provider" in disclosure("Carl", "en", simulated=True).text
    assert "ElevenLabs" in disclosure("Carl", "en", simulated=False).text


@pytest.mark.parametrize("simulated", [True, False])
@pytest.mark.parametrize("language", ["en", "de"])
def test_who_runs_the_language_model_is_named_where_there_is_one(language: str, simulated: bool) -> None:  # noqa: FBT001  # A case.
    assert "Acme Models" in disclosure("Carl", language, simulated, "Acme Models").text
    assert "Acme Models" in standing_in("Carl", language, "Acme Models").text


def test_the_provider_is_the_one_that_is_set_else_the_host_of_the_address() -> None:
    none = Settings(llm_base_url=None)
    by_host = Settings(llm_base_url="https://models.example.org/v1")
    assert provider(none) == ""
    assert provider(by_host) == "models.example.org"
    assert provider(by_host.model_copy(update={"llm_provider": "Acme Models"})) == "Acme Models"


def test_the_reminder_is_due_after_three_hours() -> None:
    given = datetime(2026, 5, 1, 3, tzinfo=UTC)
    assert not due(given, given + timedelta(hours=2, minutes=59))
    assert due(given, given + timedelta(hours=3))


def test_the_protocol_asks_stays_and_takes_no_template_variable() -> None:
    assert "Are you safe right now?" in CRISIS_PROTOCOL
    assert "never end the conversation" in CRISIS_PROTOCOL
    assert "never describe, compare or confirm a method" in CRISIS_PROTOCOL
    assert "{" not in CRISIS_PROTOCOL
