"""Which lines of the platform's transcript are missing: a pure function."""

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneiro.conversations.reconcile.comparison import Comparison, Known, compare
from oneiro.platform.port import HeldLine

START = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
END = START + timedelta(hours=1)
Who = Literal["user", "interpreter"]


def theirs(sender: Who, text: str, second: float = 0, **more: Any) -> HeldLine:
    at = more.pop("at", START + timedelta(seconds=second))
    fields: dict[str, Any] = {"original": None, "interrupted": False, "event_id": None} | more
    return HeldLine(sender=sender, text=text, seconds=second, at=at, **fields)


def ours(
    sender: Who, content: str, second: float = 0, *, event_id: str | None = None, original: str | None = None
) -> Known:
    named = event_id or f"1:{sender}:{second}"
    return Known(named, sender, content, original, START + timedelta(seconds=second))


def told(lines: list[HeldLine], known: list[Known]) -> Comparison:
    return compare(lines, known, session=1, span=(START, END))


def texts(found: Comparison) -> list[str]:
    return [missing.line.text for missing in found.missing]


TALK = [
    theirs("interpreter", "Good evening.", 0),
    theirs("user", "I dreamt of a heron.", 5),
    theirs("interpreter", "What did it do?", 8),
    theirs("user", "Yes.", 12),
    theirs("interpreter", "Go on.", 14),
    theirs("user", "Yes.", 20),
]
STORED = [ours(line.sender, line.text, line.seconds + 0.4) for line in TALK]


def test_nothing_is_missing_of_what_is_here() -> None:
    assert told(TALK, STORED) == Comparison([], [])


def test_everything_is_missing_where_nothing_is() -> None:
    found = told(TALK, [])

    assert texts(found) == [line.text for line in TALK]
    assert [missing.event_id for missing in found.missing] == [f"1:platform:{n}" for n in range(6)]
    assert [missing.at for missing in found.missing] == [line.at for line in TALK]


@pytest.mark.parametrize("gone", range(6))
def test_the_one_line_that_is_missing_is_found_and_put_between_its_neighbours(gone: int) -> None:
    known = [line for place, line in enumerate(STORED) if place != gone]

    found = told(TALK, known)

    assert [missing.event_id for missing in found.missing] == [f"1:platform:{gone}"]
    before = [line.occurred_at for line in STORED[:gone]]
    after = [line.occurred_at for line in STORED[gone + 1 :]]
    assert all(time < found.missing[0].at for time in before)
    assert all(time > found.missing[0].at for time in after)


def test_a_line_that_was_filled_in_before_is_known_by_its_id_whatever_became_of_its_words() -> None:
    known = [*STORED[1:], ours("interpreter", "Redacted.", 0, event_id="1:platform:0")]

    assert told(TALK, known) == Comparison([], [])


def test_white_space_and_case_are_no_difference() -> None:
    assert told([theirs("user", "A  Heron.")], [ours("user", "a heron.")]).missing == []


def test_the_same_words_of_the_other_are_another_line() -> None:
    assert texts(told([theirs("user", "Hm.")], [ours("interpreter", "Hm.")])) == ["Hm."]


def test_lines_that_were_stored_in_another_order_are_not_missing() -> None:
    assert told(TALK, [STORED[1], STORED[0], *STORED[4:], STORED[3], STORED[2]]).missing == []


def test_another_clock_does_not_move_lines_out_of_their_place() -> None:
    late = timedelta(minutes=7)
    shifted = [
        theirs(line.sender, line.text, line.seconds, at=START + timedelta(seconds=line.seconds) + late) for line in TALK
    ]
    known = [line for place, line in enumerate(STORED) if place not in {2, 5}]

    found = told(shifted, known)

    assert STORED[1].occurred_at < found.missing[0].at < STORED[3].occurred_at
    assert abs(found.missing[1].at - STORED[5].occurred_at) < timedelta(seconds=1)


def test_lines_without_a_time_keep_their_order() -> None:
    timeless = [theirs(line.sender, f"{line.text} {place}", at=None) for place, line in enumerate(TALK)]

    times = [missing.at for missing in told(timeless, []).missing]

    assert times == sorted(set(times))
    assert times[0] >= START


def test_of_an_interrupted_line_only_what_was_heard_remains() -> None:
    whole = "The heron may stand for patience, and patience is what you lack."
    line = theirs("interpreter", "The heron may stand for...", original=whole, interrupted=True)

    cut = told([line], [ours("interpreter", whole)])
    assert (cut.missing, [each.text for each in cut.cuts]) == ([], ["The heron may stand for..."])
    told_already = told([line], [ours("interpreter", "The heron may stand for...", original=whole)])
    assert told_already == Comparison([], [])


def test_an_interrupted_line_without_its_original_is_known_by_its_beginning() -> None:
    line = theirs("interpreter", "The heron may…", interrupted=True)

    assert told([line], [ours("interpreter", "The heron may stand for patience.")]).missing == []


def test_the_platforms_number_counts_only_where_the_words_are_alike() -> None:
    line = theirs("user", "Something else.", event_id=7)

    assert texts(told([line], [ours("user", "A heron.", event_id="7")])) == ["Something else."]
    assert told([theirs("user", "A heron.", event_id=7)], [ours("user", "A heron.", event_id="7")]).missing == []


words = st.sampled_from(["yes", "no", "a heron", "the sea", "the sea is calm"])
talk = st.lists(st.tuples(st.sampled_from(["user", "interpreter"]), words), max_size=12)


@given(talk, st.data())
def test_what_is_here_and_what_is_missing_make_the_whole(said: list[tuple[Who, str]], data: st.DataObject) -> None:
    lines = [theirs(sender, text, place * 3) for place, (sender, text) in enumerate(said)]
    kept = data.draw(st.lists(st.booleans(), min_size=len(said), max_size=len(said)))
    known = [
        ours(sender, text, place * 3 + 0.5, event_id=f"e{place}")
        for place, (sender, text) in enumerate(said)
        if kept[place]
    ]

    found = told(lines, known)

    whole = [(each.sender, each.content) for each in known] + [
        (each.line.sender, each.line.text) for each in found.missing
    ]
    assert sorted(whole) == sorted(said)
    times = [missing.at for missing in found.missing]
    assert times == sorted(set(times))
    filled = known + [Known(each.event_id, each.line.sender, each.line.text, None, each.at) for each in found.missing]
    assert told(lines, sorted(filled, key=lambda line: line.occurred_at)).missing == []
