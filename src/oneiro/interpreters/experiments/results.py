"""What came of an experiment: first a number for each dreamer, then each arm, then the arms against the control."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from oneiro.interpreters.experiments import statistics
from oneiro.interpreters.experiments.models import Arm, Experiment
from oneiro.interpreters.experiments.statistics import LEVEL, Estimate
from oneiro.interpreters.experiments.store import DreamerFigures

EARLY_SECONDS: Final = 60
FEWEST: Final = 30
"""Dreamers in an arm below which nothing is said about it: the intervals lean on the central limit theorem."""
SUSPICIOUS: Final = 0.001
"""A split less probable than this is a fault of the experiment (Kohavi, Tang and Xu 2020, chapter 21)."""
WORTHWHILE: Final = 0.10
"""The difference in completion that the number of needed dreamers is told for."""

Count = Literal["assigned", "failed", "dreamers"]
COUNTS: Final[Mapping[Count, str]] = {
    "assigned": (
        "dreamers were not given their arms as the weights say: {shown} (p = {p:.1g}). Look for what turns them away "
        "before they have an arm, or for weights that were changed by hand, and begin anew."
    ),
    "failed": (
        "starts fail for more dreamers in one arm than in another: {shown} (p = {p:.1g}). Mend what fails there, and "
        "begin anew."
    ),
    "dreamers": (
        "those who came to a conversation that counts are not divided as the weights say: {shown} (p = {p:.1g}). Look "
        "for calls that break or never end in one arm, and begin anew."
    ),
}
"""What must be divided as the weights say, in the order in which one explains the next, and what a verdict says."""

Metric = Literal["completion", "rating", "minutes", "early_hang_ups", "safety_flags"]
_GUARDS: Final[Mapping[Metric, str]] = {
    "safety_flags": "conversations in danger",
    "early_hang_ups": "early hang-ups",
}
SHARES: Final[tuple[Metric, ...]] = ("completion", "early_hang_ups", "safety_flags")
METRICS: Final[Mapping[Metric, str]] = {
    "completion": "conversations that she or the interpreter ended, not silence or a fault",
    "rating": "her ratings, 1 to 5",
    "minutes": "length of her conversations",
    "early_hang_ups": f"conversations that she ended within {EARLY_SECONDS} seconds",
    "safety_flags": "conversations in which the crisis gate saw danger",
}


class Interval(BaseModel):
    """A value with its confidence interval."""

    model_config = ConfigDict(from_attributes=True)

    value: float
    low: float
    high: float


class Figure(BaseModel):
    """One metric of one arm."""

    dreamers: int = Field(description="Dreamers who have a value for it.")
    mean: Interval | None = Field(description="Mean over dreamers; null when too few have a value.")
    difference: Interval | None = Field(description="Against the control; null for the control itself.")


class ArmResult(BaseModel):
    """An arm."""

    name: str
    release: int
    control: bool
    weight: float
    assigned: int = Field(description="Dreamers who were given this arm.")
    failed: int = Field(description="Those of them who had a start that failed.")
    dreamers: int = Field(description="Those of them who had a conversation and agreed to be counted.")
    conversations: int
    metrics: dict[Metric, Figure]


class Split(BaseModel):
    """Whether dreamers are divided over the arms as the weights say (sample ratio mismatch)."""

    p: float | None
    suspicious: bool


class Results(BaseModel):
    """The results of an experiment."""

    experiment_id: UUID
    level: float = Field(description="Confidence of each mean's interval.")
    difference_level: float = Field(description="Of each difference's: all of them together hold 95 %.")
    split: Split = Field(description="Of the dreamers who were given an arm.")
    analysed_split: Split = Field(description="Of those who are counted.")
    failed_split: Split = Field(description="Of those who had a start that failed.")
    arms: list[ArmResult]
    metrics: dict[Metric, str] = Field(description="What is counted.")
    enough: bool = Field(description="Whether there is enough to say anything.")
    verdict: str


def evaluate(
    experiment: Experiment,
    assigned: Mapping[UUID, int],
    figures: Sequence[DreamerFigures],
    failed: Mapping[UUID, int],
) -> Results:
    """Work out the results; takes seconds at first use, so run it in a thread.

    `assigned` and `failed` count dreamers by arm: who was given it, and of whom a start failed.
    """
    by_arm = {arm.id: [row for row in figures if row.arm_id == arm.id] for arm in experiment.arms}
    # Bonferroni over the arms that are compared with the control: all intervals of a metric hold together.
    level = 1 - (1 - LEVEL) / (len(experiment.arms) - 1)
    control = by_arm[experiment.control.id]
    tally = {arm.id: (assigned.get(arm.id, 0), failed.get(arm.id, 0)) for arm in experiment.arms}
    arms = [_arm(arm, tally[arm.id], by_arm[arm.id], control, level) for arm in experiment.arms]
    splits = {count: _split(arms, count) for count in COUNTS}
    enough, verdict = _verdict(splits, arms, _values(control, "completion"))
    if enough and experiment.status == "running":
        verdict += " It is still running: decide at the number of dreamers you set before, not at the first difference."
    return Results(
        experiment_id=experiment.id,
        level=LEVEL,
        difference_level=level,
        split=splits["assigned"],
        analysed_split=splits["dreamers"],
        failed_split=splits["failed"],
        arms=arms,
        metrics=dict(METRICS),
        enough=enough,
        verdict=verdict,
    )


def _split(arms: Sequence[ArmResult], count: Count) -> Split:
    p = statistics.split_p([getattr(arm, count) for arm in arms], [arm.weight for arm in arms])
    return Split(p=p, suspicious=p is not None and p < SUSPICIOUS)


def _arm(
    arm: Arm,
    tally: tuple[int, int],
    rows: Sequence[DreamerFigures],
    control: Sequence[DreamerFigures],
    level: float,
) -> ArmResult:
    assigned, failed = tally
    return ArmResult(
        name=arm.name,
        release=arm.release,
        control=arm.control,
        weight=arm.weight,
        assigned=assigned,
        failed=failed,
        dreamers=len(rows),
        conversations=sum(row.conversations for row in rows),
        metrics={metric: _figure(metric, rows, None if arm.control else control, level) for metric in METRICS},
    )


def _figure(
    metric: Metric, rows: Sequence[DreamerFigures], control: Sequence[DreamerFigures] | None, level: float
) -> Figure:
    values = _values(rows, metric)
    others = None if control is None else _values(control, metric)
    mean: Callable[[Sequence[float]], Estimate | None] = statistics.share if metric in SHARES else statistics.mean
    between: Callable[[Sequence[float], Sequence[float], float], Estimate | None] = (
        statistics.share_difference if metric in SHARES else statistics.mean_difference
    )
    return Figure(
        dreamers=len(values),
        mean=_interval(mean(values)) if values else None,
        difference=_interval(between(values, others, level)) if values and others else None,
    )


def _values(rows: Sequence[DreamerFigures], metric: Metric) -> list[float]:
    found = (getattr(row, metric) for row in rows)
    return [value for value in found if value is not None]


def _interval(estimate: Estimate | None) -> Interval | None:
    return Interval.model_validate(estimate) if estimate else None


def _verdict(splits: Mapping[Count, Split], arms: Sequence[ArmResult], completion: Sequence[float]) -> tuple[bool, str]:
    for count, said in COUNTS.items():
        if splits[count].suspicious:
            shown = ", ".join(f"{arm.name} {getattr(arm, count)} of {arm.assigned}" for arm in arms)
            if count == "assigned":
                shown = ", ".join(f"{arm.name} {arm.assigned} with weight {arm.weight:g}" for arm in arms)
            return False, f"Do not trust these results: {said.format(shown=shown, p=splits[count].p)}"
    short = [arm for arm in arms if arm.dreamers < FEWEST]
    if short:
        least = min(arm.dreamers for arm in short)
        goal = max(FEWEST, statistics.needed(completion or [0.5], WORTHWHILE))
        return False, (
            f"Too little data to say anything: {', '.join(arm.name for arm in short)} "
            f"{'has' if len(short) == 1 else 'have'} fewer than {FEWEST} dreamers (the least is {least}). "
            f"About {goal} in each arm show a difference of {WORTHWHILE * 100:.0f} points in completion."
        )
    goal = max(FEWEST, statistics.needed(completion, WORTHWHILE))
    control = next(arm for arm in arms if arm.control)
    sentences = [sentence for arm in arms if not arm.control for sentence in _sentences(arm, control, goal)]
    return True, " ".join(sentences)


def _sentences(arm: ArmResult, control: ArmResult, goal: int) -> list[str]:
    said = [_completion(arm, goal)]
    for metric, more in _GUARDS.items():
        difference = arm.metrics[metric].difference
        if difference and difference.low > 0:
            said.append(f"But {arm.name} has more {more}: {_points(difference)}. Look at these first.")
    rating = arm.metrics["rating"].difference
    rated = min(arm.metrics["rating"].dreamers, control.metrics["rating"].dreamers)
    if rated >= FEWEST and rating and (rating.low > 0 or rating.high < 0):
        said.append(
            f"Its ratings are {'higher' if rating.value > 0 else 'lower'} by {abs(rating.value):.2f} "
            f"({rating.low:+.2f} to {rating.high:+.2f})."
        )
    return said


def _completion(arm: ArmResult, goal: int) -> str:
    difference = arm.metrics["completion"].difference
    assert difference is not None
    if difference.low > 0 or difference.high < 0:
        return f"{arm.name} is completed {'more' if difference.value > 0 else 'less'} often: {_points(difference)}."
    more = (
        f" About {goal} dreamers in each arm would show {WORTHWHILE * 100:.0f} points." if arm.dreamers < goal else ""
    )
    return f"No difference in completion can be seen for {arm.name}: {_points(difference)} are possible.{more}"


def _points(difference: Interval) -> str:
    low, value, high = (round(100 * number, 1) for number in (difference.low, difference.value, difference.high))
    return f"{value:+g} points ({low:+g} to {high:+g})"
