"""Results: a number for each dreamer first, then each arm, then a verdict in plain words."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from oneiro.interpreters.experiments.models import Arm, Eligibility, Experiment, Status
from oneiro.interpreters.experiments.results import Results, evaluate
from oneiro.interpreters.experiments.store import DreamerFigures

OLD = Arm(id=uuid4(), name="old", release=1, weight=0.5, control=True)
NEW = Arm(id=uuid4(), name="new", release=2, weight=0.5, control=False)


def experiment(*arms: Arm, status: Status = "stopped") -> Experiment:
    return Experiment(
        id=uuid4(),
        interpreter_id="carl",
        name="Shorter",
        note="",
        status=status,
        eligibility=Eligibility(),
        arms=list(arms) or [OLD, NEW],
        created_by="operator",
        created_at=datetime(2026, 11, 1, tzinfo=UTC),
        started_at=None,
        default_at_start=1,
        stopped_at=None,
    )


def dreamers(arm: Arm, count: int, *, completed: float, **more: float | None) -> list[DreamerFigures]:
    """`count` dreamers with one conversation each, of which a share is completed."""
    values: dict[str, float | None] = {"rating": None, "minutes": 5.0, "early_hang_ups": 0.0, "safety_flags": 0.0}
    return [
        DreamerFigures(
            arm_id=arm.id, conversations=1, completion=float(place < round(completed * count)), **(values | more)
        )
        for place in range(count)
    ]


def judged(
    rows: list[DreamerFigures], *, assigned: dict[UUID, int] | None = None, failed: dict[UUID, int] | None = None
) -> Results:
    counts = assigned or {arm.id: sum(row.arm_id == arm.id for row in rows) for arm in (OLD, NEW)}
    return evaluate(experiment(), counts, rows, failed or {})


def test_with_few_dreamers_it_says_that_there_is_too_little_data() -> None:
    found = judged([*dreamers(OLD, 29, completed=0.2), *dreamers(NEW, 31, completed=0.9)])
    assert not found.enough
    assert found.verdict.startswith("Too little data to say anything: old has fewer than 30 dreamers (the least is 29)")


def test_without_anybody_it_says_so_and_does_not_divide_by_zero() -> None:
    found = judged([])
    assert "Too little data" in found.verdict
    assert found.split.p is None
    assert all(figure.mean is None for arm in found.arms for figure in arm.metrics.values())


def test_a_clear_difference_is_told_with_its_interval() -> None:
    found = judged([*dreamers(OLD, 200, completed=0.6), *dreamers(NEW, 200, completed=0.8)])
    assert found.enough
    assert found.verdict == "new is completed more often: +20 points (+11.1 to +28.5)."


def test_no_difference_says_what_is_still_possible_and_how_many_would_show_it() -> None:
    found = judged([*dreamers(OLD, 60, completed=0.5), *dreamers(NEW, 60, completed=0.5)])
    assert found.verdict.startswith("No difference in completion can be seen for new: +0 points (-17.3 to +17.3)")
    assert "About 407 dreamers in each arm would show 10 points." in found.verdict


def test_a_crooked_split_is_not_trusted_whatever_the_difference() -> None:
    rows = [*dreamers(OLD, 200, completed=0.6), *dreamers(NEW, 200, completed=0.9)]
    found = judged(rows, assigned={OLD.id: 600, NEW.id: 450})
    assert found.split.suspicious
    assert not found.enough
    assert found.verdict.startswith(
        "Do not trust these results: dreamers were not given their arms as the weights say: old 600 with weight 0.5, "
        "new 450 with weight 0.5 (p = 4e-06)."
    )


def test_starts_that_fail_in_one_arm_are_named_though_everybody_was_assigned_fairly() -> None:
    rows = [*dreamers(OLD, 290, completed=0.6), *dreamers(NEW, 270, completed=0.9)]
    found = judged(rows, assigned={OLD.id: 300, NEW.id: 300}, failed={OLD.id: 2, NEW.id: 30})
    assert (found.split.suspicious, found.analysed_split.suspicious, found.failed_split.suspicious) == (
        False,
        False,
        True,
    )
    assert not found.enough
    assert found.verdict == (
        "Do not trust these results: starts fail for more dreamers in one arm than in another: old 2 of 300, new 30 of "
        "300 (p = 7e-07). Mend what fails there, and begin anew."
    )
    assert [arm.failed for arm in found.arms] == [2, 30]


def test_an_arm_that_loses_its_dreamers_is_not_compared_by_those_who_are_left() -> None:
    rows = [*dreamers(OLD, 280, completed=0.6), *dreamers(NEW, 190, completed=0.9)]
    found = judged(rows, assigned={OLD.id: 300, NEW.id: 300})
    assert found.analysed_split.suspicious
    assert not found.enough
    assert found.verdict.startswith(
        "Do not trust these results: those who came to a conversation that counts are not divided as the weights say: "
        "old 280 of 300, new 190 of 300"
    )


def test_starts_that_fail_alike_in_both_arms_say_nothing() -> None:
    rows = [*dreamers(OLD, 200, completed=0.6), *dreamers(NEW, 200, completed=0.8)]
    found = judged(rows, assigned={OLD.id: 230, NEW.id: 230}, failed={OLD.id: 28, NEW.id: 31})
    assert found.enough


def test_more_danger_is_told_beside_a_success() -> None:
    rows = [*dreamers(OLD, 200, completed=0.6), *dreamers(NEW, 200, completed=0.8, safety_flags=0.2)]
    assert "But new has more conversations in danger: +20 points" in judged(rows).verdict


def test_ratings_of_a_few_are_not_made_much_of() -> None:
    old = dreamers(OLD, 60, completed=0.5)
    new = [*dreamers(NEW, 57, completed=0.5), *dreamers(NEW, 3, completed=0.5, rating=5.0)]
    rated = [*dreamers(OLD, 3, completed=0.5, rating=1.0), *old]
    assert "ratings" not in judged([*rated, *new]).verdict


def test_one_talkative_dreamer_counts_as_one() -> None:
    """A dreamer with a thousand conversations is one value, however many conversations she had."""
    talker = DreamerFigures(NEW.id, 1000, 0.0, None, 5.0, 0.0, 0.0)
    found = judged([*dreamers(OLD, 40, completed=1.0), *dreamers(NEW, 39, completed=1.0), talker])
    new = next(arm for arm in found.arms if arm.name == "new")
    completion = new.metrics["completion"].mean
    assert completion is not None
    assert completion.value == pytest.approx(39 / 40)
    assert (new.dreamers, new.conversations) == (40, 1039)


def test_with_three_arms_each_comparison_is_held_to_more() -> None:
    third = Arm(id=uuid4(), name="third", release=3, weight=0.2, control=False)
    arms = [OLD, NEW.model_copy(update={"weight": 0.3}), third]
    rows = [row for arm in arms for row in dreamers(arm, 50, completed=0.5)]
    found = evaluate(experiment(*arms), {OLD.id: 50, NEW.id: 30, third.id: 20}, rows, {})
    assert found.difference_level == pytest.approx(0.975)


def test_while_it_runs_the_verdict_warns_of_looking_too_often() -> None:
    rows = [*dreamers(OLD, 200, completed=0.6), *dreamers(NEW, 200, completed=0.8)]
    found = evaluate(experiment(status="running"), {OLD.id: 200, NEW.id: 200}, rows, {})
    assert found.verdict.endswith("decide at the number of dreamers you set before, not at the first difference.")
