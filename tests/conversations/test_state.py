import re
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from oneiro.conversations.state import REPEATS, TRANSITIONS, Action, State, after, state, status
from oneiro.errors import Conflict

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "conversation-states.md"


def test_the_diagram_draws_the_table() -> None:
    arrows = re.findall(r"^ +(\w+) --> (\w+): (\w+)$", PAGE.read_text(), re.MULTILINE)

    assert {(source, action): target for source, target, action in arrows} == TRANSITIONS


@pytest.mark.parametrize(("before", "action"), list(product(get_args(State), get_args(Action))))
def test_every_action_in_every_state_moves_repeats_or_conflicts(before: State, action: Action) -> None:
    if (before, action) in TRANSITIONS:
        assert after(before, action) == TRANSITIONS[before, action]
    elif (before, action) in REPEATS:
        assert after(before, action) is None
    else:
        with pytest.raises(Conflict):
            after(before, action)


def test_nothing_leads_out_of_an_ended_conversation() -> None:
    assert not {before for before, _ in TRANSITIONS} & {"completed", "failed"}


def test_every_state_can_be_reached_and_left_to_an_end() -> None:
    reached: set[State] = {"initializing"}
    for _ in get_args(State):
        reached |= {target for (source, _), target in TRANSITIONS.items() if source in reached}

    assert reached == set(get_args(State))


def test_a_move_and_a_repeat_exclude_each_other() -> None:
    assert not set(TRANSITIONS) & REPEATS


@pytest.mark.parametrize("known", get_args(State))
def test_a_state_is_stored_so_that_it_reads_back(known: State) -> None:
    assert state(status(known), paused=known == "paused") == known
