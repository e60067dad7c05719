import itertools
import re
from datetime import UTC, datetime

import pytest

from oneiro.dreamwork.profile import Profile
from oneiro.interpreters import derived, documents, prompts
from oneiro.interpreters.models import InterpreterDocument
from oneiro.interpreters.prompts import SPOKEN, SpokenType
from oneiro.interpreters.seed import seeds
from oneiro.interpreters.variables import DreamMaterial, conversation_values

SEEDS = {document.id: document for document in seeds()}
LONGEST = 45  # words that someone half awake can take in before it is their turn

GUIDE = {
    "carl": {
        "name": "Carl",
        "full_name": "Dr. Carl Gustav Jung",
        "description": "Renowned psychiatrist and psychoanalyst, founder of analytical psychology",
        "personality": {
            "approach": "jungian",
            "traits": [
                "wise",
                "introspective",
                "philosophical",
                "empathetic",
                "archetypal-thinking",
                "symbolic-minded",
                "patient",
            ],
            "conversation_style": {
                "greeting": "thoughtful_welcome",
                "questioning_style": "socratic",
                "response_length": "moderate",
                "emotional_tone": "warm",
                "language_complexity": "sophisticated",
                "pacing_preference": "contemplative",
            },
            "expertise": [
                "collective_unconscious",
                "archetypes",
                "individuation",
                "shadow_work",
                "anima_animus",
                "dream_symbolism",
            ],
            "response_patterns": [
                {"trigger": "dream_symbol_mentioned", "response": "explore_personal_association"},
                {"trigger": "emotional_reaction", "response": "gentle_inquiry"},
            ],
        },
        "voice": {
            "voice_id": None,
            "voice_description": (
                "A wise, thoughtful male voice with deep, calming tones and measured pace, conveying wisdom and empathy"
            ),
            "stability": 0.85, "similarity_boost": 0.75, "style": 0.3, "speaking_rate": 0.85, "use_speaker_boost": True,
        },
    },
    "lakshmi": {
        "name": "Lakshmi",
        "full_name": "Lakshmi Devi",
        "description": "Divine feminine wisdom keeper, interpreter of dreams through spiritual and karmic perspectives",
        "personality": {
            "approach": "spiritual",
            "traits": [
                "compassionate",
                "intuitive",
                "nurturing",
                "wise",
                "spiritually-attuned",
                "peaceful",
                "mystical",
            ],
            "conversation_style": {
                "greeting": "blessing_welcome",
                "questioning_style": "compassionate",
                "response_length": "moderate",
                "emotional_tone": "mystical",
                "language_complexity": "moderate",
                "pacing_preference": "measured",
            },
            "expertise": [
                "karma_dharma",
                "spiritual_growth",
                "chakra_energy",
                "past_life_patterns",
                "soul_lessons",
                "divine_feminine",
            ],
            "response_patterns": [
                {"trigger": "spiritual_seeking", "response": "gentle_guidance"},
                {"trigger": "life_challenge", "response": "karmic_perspective"},
            ],
        },
        "voice": {
            "voice_id": None,
            "voice_description": (
                "A gentle, nurturing female voice with spiritual warmth and calming presence, "
                "conveying divine feminine wisdom"
            ),
            "stability": 0.9, "similarity_boost": 0.8, "style": 0.4, "speaking_rate": 0.8, "use_speaker_boost": True,
        },
    },
}  # fmt: skip

NAMES = (None, "Ольга", "李雷", "Maria del Carmen Isabel y todos los Santos", "{{ opening }}", "!!!")
DREAMS = (
    None,
    DreamMaterial(text="A door in the sea."),
    DreamMaterial(
        text="A door in the sea.", title="The long title of a dream that would not end, not even at the last word"
    ),
    DreamMaterial(text="梦", title="梦" * 200, symbols=["sea"] * 50, interpretation="Long. " * 200),
)
LAST = ("", "the house by the sea", "water and stairs and an old dog and a lamp and a letter that nobody had opened")


@pytest.fixture(params=sorted(SEEDS))
def seed(request: pytest.FixtureRequest) -> InterpreterDocument:
    return SEEDS[request.param]


def test_carl_and_lakshmi_are_there() -> None:
    assert sorted(SEEDS) == ["carl", "lakshmi"]


def test_every_fact_of_the_guide_stands_in_the_seed(seed: InterpreterDocument) -> None:
    data = seed.data()
    for key, value in GUIDE[seed.id].items():
        assert data[key] == value


def test_a_seed_has_all_four_prompts_and_is_valid(seed: InterpreterDocument) -> None:
    assert {prompt.type for prompt in seed.prompts if prompt.name == "default"} == {"system", *SPOKEN}
    prompts.validate(seed)
    assert documents.parse(documents.dump(seed)) == seed


def test_the_system_prompt_needs_only_what_is_always_sent(seed: InterpreterDocument) -> None:
    assert prompts.required_variables(seed) == {"opening", "dream_context", "user_name_safe"}
    rendered = prompts.render_system(seed, "PROTOCOL")
    assert f"Stay under {derived.max_turn_length(seed)} words" in rendered
    assert Profile.read(rendered).full_name == seed.full_name
    assert Profile.read(rendered).approach == seed.personality.approach


@pytest.mark.parametrize("kind", SPOKEN)
def test_spoken_prompts_are_short_and_fit_to_be_heard(seed: InterpreterDocument, kind: SpokenType) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    for name, dream, last in itertools.product(NAMES, DREAMS, LAST):
        values = conversation_values(conversation_id="c", now=now, user_name=name, dream=dream, last_time=last)
        spoken = prompts.render_spoken(seed, kind, values)
        assert 5 <= len(spoken.split()) <= LONGEST, spoken
        assert len(spoken) <= 500
        assert spoken.count("?") <= 1
        assert spoken[-1] in ".?"
        assert not re.search(r"[*_#<>\[\]{}\n]| ,| \.|\.\.|  |friend", spoken), spoken


def test_a_closing_asks_nothing_and_says_goodbye(seed: InterpreterDocument) -> None:
    for dream in DREAMS:
        values = conversation_values(conversation_id="c", now=datetime(2026, 11, 23, tzinfo=UTC), dream=dream)
        spoken = prompts.render_spoken(seed, "closing", values)
        assert "?" not in spoken
        assert re.search("farewell|goodbye", spoken, re.IGNORECASE)


def test_a_follow_up_tells_of_last_time_only_what_is_known(seed: InterpreterDocument) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    told = conversation_values(conversation_id="c", now=now, last_time="the house by the sea")
    untold = conversation_values(conversation_id="c", now=now)
    assert "the house by the sea" in prompts.render_spoken(seed, "follow_up", told)
    assert "Last time" not in prompts.render_spoken(seed, "follow_up", untold)


def luminance(colour: str) -> float:
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_the_accent_can_be_read_on_a_dark_page(seed: InterpreterDocument) -> None:
    lightest_page = luminance("#1b1f33")
    assert (luminance(seed.appearance.accent) + 0.05) / (lightest_page + 0.05) >= 4.5
