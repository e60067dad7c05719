import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from oneiro.dreamwork.dialogue import Dialogue
from oneiro.dreamwork.profile import Profile

CARL = Profile(
    name="Carl",
    full_name="Dr. Carl Gustav Jung",
    approach="jungian",
    traits=("wise", "archetypal-thinking"),
    conversation_style={
        "greeting": "thoughtful_welcome",
        "questioning_style": "socratic",
        "response_length": "moderate",
        "emotional_tone": "warm",
        "language_complexity": "sophisticated",
        "pacing_preference": "contemplative",
    },
    expertise=("archetypes", "shadow_work"),
    response_patterns=(
        ("dream_symbol_mentioned", "explore_personal_association"),
        ("emotional_reaction", "gentle_inquiry"),
    ),
    max_turn_length=120,
)
LAKSHMI = Profile(
    name="Lakshmi",
    full_name="Lakshmi Devi",
    approach="spiritual",
    traits=("compassionate", "intuitive"),
    conversation_style={
        "greeting": "blessing_welcome",
        "questioning_style": "compassionate",
        "response_length": "moderate",
        "emotional_tone": "mystical",
        "language_complexity": "moderate",
        "pacing_preference": "measured",
    },
    expertise=("karma_dharma",),
    response_patterns=(("spiritual_seeking", "gentle_guidance"), ("life_challenge", "karmic_perspective")),
    max_turn_length=120,
)


@pytest.fixture(scope="session")
def carl() -> Profile:
    return CARL


@pytest.fixture(scope="session")
def lakshmi() -> Profile:
    return LAKSHMI


@pytest.fixture(scope="session", params=[CARL, LAKSHMI, Profile()], ids=["carl", "lakshmi", "neutral"])
def interpreter(request: pytest.FixtureRequest) -> Profile:
    profile = request.param
    assert isinstance(profile, Profile)
    return profile


@pytest.fixture(scope="session")
def dreams() -> list[dict[str, str]]:
    return _made_up("dream")


@pytest.fixture(scope="session")
def turns() -> list[dict[str, str]]:
    return _made_up("turn")


def _made_up(table: str) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = tomllib.loads(Path(__file__).with_name("dreams.toml").read_text("utf-8"))[table]
    return entries


@pytest.fixture
def talk() -> Callable[..., list[str]]:
    """Hold a conversation and return the replies."""

    def hold(profile: Profile, *said: str, context: str = "", opening: str = "", seed: str = "a seed") -> list[str]:
        dialogue = Dialogue(profile, context=context, opening=opening, seed=seed)
        return [dialogue.reply(turn) for turn in said]

    return hold
