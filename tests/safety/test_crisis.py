"""The rules by family, on sentences of our own; the exam on sentences of somebody else is test_crisis_exam.py."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oneiro.safety import crisis
from oneiro.safety.crisis import Tier, assess, coverage, findings

ACTIVE = {
    "intent": "I am going to kill myself tonight",
    "slang": "gonna kms fr",
    "leetspeak": "im gonna k1ll my$elf",
    "spelled out": "i am going to k i l l myself",
    "elongated": "i want to killlll myself",
    "other word": "i want to unalive myself",
    "means in hand": "I'm holding the blade right now",
    "plan": "my plan is set for Sunday",
    "farewell": "thank you for being kind, you won't hear from me again",
    "two concepts": "nobody is home and the belt is on the door",
    "already acted": "I swallowed all the pills an hour ago",
    "danger from others": "he is hitting me right now",
    "locked in": "I'm locked in the bathroom and he's screaming",
    "harm to others": "I am going to stab my boss tomorrow",
    "someone else": "my friend texted me goodbye and she isn't answering her phone",
    "after a dream": "I dreamt of the sea but honestly I am going to kill myself after work",
    "wish and means": "I don't want to be here any more, the pills are beside my bed",
    "wish and tonight": "I want to die tonight",
    "slip of the pen": "im suicidle again",
    "farewell by a deed": "I found a good home for my dogs so I am free to go",
    "voice": "the voice tells me to jump",
    "someone else, no word of death": "my son left a note and he is not answering his phone",
    "after waking in hospital": "I took all my pills and woke up in hospital",
    "unpunctuated": "so i had this dream about a house and when i woke up i took all my pills",
}
PASSIVE = {
    "wish to be dead": "I wish I were dead",
    "not waking": "I don't want to wake up any more",
    "better off": "everyone would be better off without me",
    "tired": "I'm so tired of being alive",
    "no point": "there is no point going on",
    "cannot": "I can't do this anymore",
    "burden": "I feel like a burden to everybody",
    "rather dream": "I would rather stay in the dream than be alive",
    "abuse as a child": "my uncle used to touch me when I was seven",
    "after waking": "when I woke up I was disappointed that I was still alive",
    "accident": "I hope the plane crashes",
    "unmissed": "nobody would miss me",
    "no future": "I see no tomorrow",
    "long ago": "I tried to kill myself when I was nineteen",
}
DREAM = {
    "own death": "I dreamt that I killed myself",
    "marker behind": "I keep killing myself in my dreams",
    "told in the present": "In the dream I jump off a bridge and I die",
    "pursuit": "I had a nightmare. A man was chasing me with a gun and he shot me",
    "until waking": "there was a gun in my hand and I shot the man, then I woke up",
    "question": "What does it mean that I dreamt about suicide?",
}
CALM = {
    "idiom": "I'm dying to know what it means",
    "work": "the deadline is killing me",
    "distance": "I ran 10 kms yesterday",
    "denial": "I'm not going to hurt myself, don't worry",
    "never": "I would never kill myself",
    "film": "in the movie he kills himself",
    "grief": "My grandfather died last year and I miss him",
    "medicine": "I took my pills this morning like always",
    "trade": "I'm a nurse and a patient died on my shift",
    "holiday": "I won't be here next week, I'm on holiday",
    "a walk": "I walked over the bridge to the market",
    "enough of work": "I'm so done with this essay",
    "mourning": "I lost my best friend to suicide",
    "commute": "I'm on the bridge to work every day",
    "healed": "I tried to kill myself ten years ago and I am fine now",
}


def _cases(sentences: dict[str, str]) -> list[object]:
    return [pytest.param(text, id=name) for name, text in sentences.items()]


@pytest.mark.parametrize("text", _cases(ACTIVE))
def test_danger_in_waking_life_is_active(text: str) -> None:
    assert assess(text) is Tier.active_danger


@pytest.mark.parametrize("text", _cases(PASSIVE))
def test_a_wish_not_to_be_and_old_wounds_are_passive(text: str) -> None:
    assert assess(text) is Tier.passive_ideation


@pytest.mark.parametrize("text", _cases(DREAM))
def test_a_dream_of_death_is_no_alarm(text: str) -> None:
    assert assess(text) is Tier.dream_content


@pytest.mark.parametrize("text", _cases(CALM))
def test_idioms_denials_and_stories_do_not_alarm(text: str) -> None:
    assert assess(text).rank <= Tier.dream_content.rank


def test_tiers_are_ordered_from_calm_to_acute() -> None:
    assert [tier.value for tier in sorted(Tier, key=lambda tier: tier.rank)] == [
        "none",
        "dream_content",
        "passive_ideation",
        "active_danger",
    ]


def test_a_present_wish_is_not_lowered_by_a_past_that_was_good() -> None:
    assert assess("years ago I was happy, now I want to kill myself") is Tier.active_danger


def test_only_english_has_rules_but_english_words_count_in_every_language() -> None:
    assert (coverage("en"), coverage("en-GB"), coverage("EN_us"), coverage("de")) == ("rules", "rules", "rules", "none")
    assert assess("I want to kill myself", "de") is Tier.active_danger


@pytest.mark.parametrize("text", [*ACTIVE.values(), *PASSIVE.values()])
def test_case_apostrophes_and_final_marks_change_nothing(text: str) -> None:
    tier = assess(text)
    assert assess(text.upper()) is tier
    assert assess(text.replace("'", "\u2019")) is tier
    assert assess(text.replace("'", "") + "!!!") is tier
    assert assess(f"  {text}…  ") is tier


@pytest.mark.parametrize("text", [*ACTIVE.values(), *PASSIVE.values()])
def test_calm_talk_before_and_after_hides_nothing(text: str) -> None:
    around = f"Good evening. We had soup today. {text}. The garden is green."
    assert assess(around).rank >= Tier.passive_ideation.rank


def test_findings_name_the_rule_and_hold_no_words() -> None:
    found = findings("My secret word is marzipan and I want to kill myself")
    assert found
    assert "marzipan" not in repr(found)


def test_every_pattern_begins_with_a_word_that_must_stand_there() -> None:
    rules = crisis._rules()
    marks = rules.marks
    own = (rules.idioms, rules.meanings, rules.concepts, rules.past, rules.healed)
    for index in (*own, marks.frames, marks.scenes, marks.own):
        for places, meaning in index._entries:
            assert places[0].words, (meaning, places)
            assert places[0].least, (meaning, places)


def test_every_place_of_every_pattern_is_bounded() -> None:
    rules = crisis._rules()
    longest = max(place.most for places, _ in rules.meanings._entries for place in places)
    assert longest <= 10


@given(st.text(max_size=400))
def test_no_text_raises(text: str) -> None:
    assert assess(text) in Tier


_WORDS = sorted({word for places, _ in crisis._rules().meanings._entries for place in places for word in place.words})


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=300))
def test_no_heap_of_the_rules_own_words_raises_or_stalls(words: list[str]) -> None:
    started = time.process_time()
    assert assess(" ".join(words)) in Tier
    assert time.process_time() - started < 1.0


def _seconds(text: str) -> float:
    def once() -> float:
        started = time.process_time()
        assess(text)
        return time.process_time() - started

    return min(once() for _ in range(3))


@pytest.mark.parametrize(
    "unit", ["i want to ", "to to to to ", "kill me i ", "the lake was cold and i swam on ", "a!$1 "]
)
def test_ten_times_the_text_takes_about_ten_times_the_work(unit: str) -> None:
    short = (unit * 2000)[:2000]
    assess(short)
    assert _seconds((unit * 20000)[:20000]) <= 30 * _seconds(short) + 0.01


def test_an_ordinary_turn_of_2000_characters_is_fast() -> None:
    dream = "I walked by the lake and my mother was there, and I wanted to swim but the water was cold and dark. "
    turn = (dream * 20)[:2000]
    assess(turn)
    # The aim is 1 ms (0.6 ms measured here, up to 7 ms for varied speech); the bound leaves room for a busy machine.
    assert _seconds(turn) < 0.005
