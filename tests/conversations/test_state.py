import re
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from oneiro.conversations.models import Status
from oneiro.conversations.state import REPEATS, TRANSITIONS, Action, after
from oneiro.errors import Conflict

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "conversation-states.md"


def test_the_diagram_draws_the_table() -> None:
    arrows = re.findall(r"^ +(\w+) --> (\w+): (\w+)$", PAGE.read_text(), re.MULTILINE)

    assert {(source, action): target for source, target, action in arrows} == TRANSITIONS


@pytest.mark.parametrize(("status", "action"), list(product(get_args(Status), get_args(Action))))
def test_every_action_in_every_status_moves_repeats_or_conflicts(status: Status, action: Action) -> None:
    if (status, action) in TRANSITIONS:
        assert after(status, action) == TRANSITIONS[status, action]
    elif (status, action) in REPEATS:
        assert after(status, action) is None
    else:
        with pytest.raises(Conflict):
            after(status, action)


def test_nothing_leads_out_of_an_ended_conversation() -> None:
    assert not {status for status, _ in TRANSITIONS} & {"completed", "failed"}
