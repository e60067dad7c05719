import re
import time
from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from oneiro.dreamwork.dialogue import Dialogue
from oneiro.dreamwork.moves import Move, recognise
from oneiro.dreamwork.profile import Profile
from oneiro.dreamwork.voice import sentences

_APPROACHES = ("jungian", "spiritual", "freudian", "cognitive", "neutral", "shamanic")
_STYLES = st.fixed_dictionaries({
    "questioning_style": st.sampled_from(["socratic", "compassionate", "direct"]),
    "response_length": st.sampled_from(["brief", "moderate", "detailed"]),
    "emotional_tone": st.sampled_from(["warm", "mystical", "playful", "none"]),
    "language_complexity": st.sampled_from(["simple", "moderate", "sophisticated"]),
    "pacing_preference": st.sampled_from(["contemplative", "measured", "brisk"]),
})  # fmt: skip
_PATTERNS = (
    ("dream_symbol_mentioned", "explore_personal_association"),
    ("emotional_reaction", "gentle_inquiry"),
    ("life_challenge", "karmic_perspective"),
)
PROFILES = st.builds(
    Profile,
    name=st.sampled_from(["Carl", "Lakshmi", "Ada"]),
    approach=st.sampled_from(_APPROACHES),
    conversation_style=_STYLES,
    response_patterns=st.sampled_from([(), _PATTERNS]),
    max_turn_length=st.integers(12, 250),
)
_PIECES = (
    "I was in my mother's house and black water rose.", "a red dog spoke to me",
    "yes", "no", "...", "hi", "I don't know",
    "it was cold", "what does it mean?", "thanks", "bye", "are you real?", "He died last year.", "this is stupid",
    'I fell from the "tower" \u2014 why?', "\U0001f98a", "no, that's not it", "asdf", "I felt ashamed",
    "what do you mean?",
    "My wedding ring was full of bees and my dead uncle sang", "should I quit?", "ok",
)  # fmt: skip
TURNS = st.one_of(st.text(max_size=300), st.lists(st.sampled_from(_PIECES), min_size=1, max_size=3).map(" ".join))


def _check(reply: str, profile: Profile, said: list[str], turn: str) -> None:
    assert reply
    assert "{" not in re.sub(r'"[^"]*"', "", reply)
    assert len(reply.split()) <= profile.max_turn_length
    if recognise(turn) in {Move.goodbye, Move.thanks}:
        assert reply.count("?") <= 1
    else:
        assert reply.count("?") == 1
        assert reply.endswith("?")
    assert reply[-1] in ".?"
    assert reply.count('"') % 2 == 0
    for quote in re.findall(r'"([^"]*)"', reply):
        assert quote
        assert any(quote in earlier for earlier in said)


@settings(max_examples=300, deadline=None)
@given(PROFILES, st.lists(TURNS, min_size=1, max_size=8), st.text(max_size=200), st.text(max_size=40))
def test_any_conversation_holds_its_bounds_and_quotes_truly(
    profile: Profile, turns: list[str], context: str, opening: str
) -> None:
    dialogue = Dialogue(profile, context=context, opening=opening, seed="s")
    said = [context]
    for turn in turns:
        said.append(turn)
        _check(dialogue.reply(turn), profile, said, turn)


@settings(max_examples=60, deadline=None)
@given(PROFILES, st.lists(TURNS, min_size=2, max_size=6))
def test_any_conversation_is_the_same_when_held_again(profile: Profile, turns: list[str]) -> None:
    first, second = Dialogue(profile, seed="x"), Dialogue(profile, seed="x")
    assert [first.reply(turn) for turn in turns] == [second.reply(turn) for turn in turns]


@settings(max_examples=150, deadline=None)
@given(PROFILES, st.lists(TURNS, min_size=2, max_size=8))
def test_no_two_replies_in_a_row_open_alike(profile: Profile, turns: list[str]) -> None:
    dialogue = Dialogue(profile, seed="s")
    replies = [dialogue.reply(turn) for turn in turns]
    for earlier, later in pairwise(replies):
        if "What happened next" not in later:
            assert earlier.split()[:3] != later.split()[:3]


def test_twelve_turns_repeat_no_sentence(dreams: list[dict[str, str]], carl: Profile, lakshmi: Profile) -> None:
    answers = (
        "It reminds me of a summer when I was small.", "In my stomach, I think.", "yes", "My boss has the same voice.",
        "I don't know", "It would ask me to stay.", "sad, mostly", "what does it mean?",
        "There was someone else there too.", "We moved house that year.", "I had not thought of that",
    )  # fmt: skip
    for number, dream in enumerate(dreams):
        profile = (carl, lakshmi)[number % 2]
        dialogue = Dialogue(profile, seed=dream["id"])
        spoken = [sentence for turn in (dream["text"], *answers) for sentence in sentences(dialogue.reply(turn))]
        assert len(spoken) == len(set(spoken)), dream["id"]


def test_dreams_by_someone_who_read_no_rules_are_heard(
    dreams: list[dict[str, str]], carl: Profile, lakshmi: Profile
) -> None:
    for profile in (carl, lakshmi, replace(carl, approach="cognitive"), Profile()):
        for dream in dreams:
            dialogue = Dialogue(profile, seed=dream["id"])
            reply = dialogue.reply(dream["text"])
            _check(reply, profile, [dream["text"]], dream["text"])
            assert re.search(r'"[^"]+"', reply) or reply.startswith(("I am sorry", "My heart", "Then we", "To m")), (
                dream["id"]
            )


def test_most_of_those_dreams_are_taken_up_by_an_image_that_a_listener_would_choose(
    dreams: list[dict[str, list[str]]], carl: Profile
) -> None:
    taken = 0
    for dream in dreams:
        quoted = " ".join(re.findall(r'"([^"]*)"', Dialogue(carl, seed="s").reply(str(dream["text"])))).lower()
        taken += any(keyword.lower() in quoted for keyword in dream["keywords"])
    assert taken >= 0.7 * len(dreams)


def test_every_short_turn_gets_a_fitting_answer(turns: list[dict[str, str]], carl: Profile, lakshmi: Profile) -> None:
    dream = "I stood in a field of glass flowers and my sister was picking them."
    for profile in (carl, lakshmi):
        for turn in turns:
            dialogue = Dialogue(profile, seed=turn["id"])
            dialogue.reply(dream)
            _check(dialogue.reply(turn["text"]), profile, [dream, turn["text"]], turn["text"])


def test_two_thousand_characters_are_answered_within_five_milliseconds(
    dreams: list[dict[str, str]], carl: Profile
) -> None:
    """Processor time, the best of twenty, on the made-up dreams told one after the other."""
    told = " ".join(dream["text"] for dream in dreams)
    assert min(_seconds(carl, told[start : start + 2000]) for start in range(0, 10_000, 500)) < 0.005


def _seconds(profile: Profile, text: str) -> float:
    dialogue = Dialogue(profile, seed="s")
    began = time.thread_time()
    dialogue.reply(text)
    return time.thread_time() - began
