from datetime import UTC, datetime, timedelta

import pytest

from oneiro.safety.disclosure import disclosure, due, reminder
from oneiro.safety.protocol import CRISIS_PROTOCOL


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
        *(disclosure("Carl", code, simulated=demo) for code in ("en", "de") for demo in (True, False)),
        *(reminder("Carl", code) for code in ("en", "de")),
    ]
    assert len({told.id for told in texts}) == len({told.text for told in texts}) == 6


def test_a_demo_does_not_claim_a_speech_provider() -> None:
    assert "without a speech provider" in disclosure("Carl", "en", simulated=True).text
    assert "ElevenLabs" in disclosure("Carl", "en", simulated=False).text


def test_the_reminder_is_due_after_three_hours() -> None:
    given = datetime(2026, 5, 1, 3, tzinfo=UTC)
    assert not due(given, given + timedelta(hours=2, minutes=59))
    assert due(given, given + timedelta(hours=3))


def test_the_protocol_asks_stays_and_takes_no_template_variable() -> None:
    assert "Are you safe right now?" in CRISIS_PROTOCOL
    assert "never end the conversation" in CRISIS_PROTOCOL
    assert "never describe, compare or confirm a method" in CRISIS_PROTOCOL
    assert "{" not in CRISIS_PROTOCOL
