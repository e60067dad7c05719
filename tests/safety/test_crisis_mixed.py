"""A dream beside a waking intent: the dream never hides what somebody is about to do."""

import pytest

from oneiro.safety.crisis import Tier, assess


@pytest.mark.parametrize(
    "line",
    [
        "There was more in the dream but I am going to kill myself tonight.",
        "I am going to kill myself tonight, and then in the dream there was a door.",
        "in the dream i was flying anyway im going to kill myself tonight",
        "I dreamt of my house. I have decided to end my life.",
        "It was a nice dream, I was at sea. I've taken all my pills.",
        "The dream was about a train. I want to kill myself and I have a plan.",
        "In my dream he hit me. He is hitting me again now, he is outside the door.",
    ],
)
def test_an_intent_beside_a_dream_is_danger(line: str) -> None:
    assert assess(line) is Tier.active_danger


@pytest.mark.parametrize(
    "line",
    [
        "In the dream I was going to kill myself tonight and then the lift opened onto the sea.",
        "I dreamt that I had taken all my pills and the pharmacist turned into a heron.",
        "My teeth fell out into a bowl of rice and my mother counted them.",
        "I need to call the police and I can't dial. The phone keeps melting in my hand.",
        "The lift in our building went sideways and the buttons had smells.",
    ],
)
def test_a_dream_alone_is_no_danger(line: str) -> None:
    assert assess(line).rank < Tier.passive_ideation.rank
