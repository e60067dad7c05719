"""The statistics of experiments: intervals for one arm and for the difference of two, and the check of the split.

scipy is imported by the first call: it takes seconds and 170 MB, and only those who ask for results need it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance
from types import ModuleType
from typing import Final

from oneiro.errors import OneiroError

LEVEL: Final = 0.95
POWER_FACTOR: Final = 16
"""Lehr's rule (Statistics in Medicine 11, 1992, 1099): 16 σ²/Δ² in each arm see Δ at 5 % with a power of 80 %."""


class StatisticsMissing(OneiroError):
    """scipy is not installed."""

    status = 501
    title = "Statistics are not installed"
    code = "statistics_missing"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval."""

    value: float
    low: float
    high: float


def scipy_stats() -> ModuleType:
    """`scipy.stats`; raises `StatisticsMissing` when the extra is not installed."""
    try:
        from scipy import stats  # noqa: PLC0415  # see the module's first lines
    except ImportError:
        raise StatisticsMissing("Results need the extra `experiments`: pip install 'oneiro[experiments]'.") from None
    module: ModuleType = stats
    return module


def share(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """The mean of numbers between 0 and 1, with Wilson's score interval (J. Am. Stat. Assoc. 22, 1927, 209).

    Such numbers vary at most as much as zeros and ones with the same mean do, so for shares per dreamer the interval
    is on the safe side; it is meaningful also when all are 0 or all are 1.
    """
    n, mean = len(values), fmean(values)
    z = NormalDist().inv_cdf((1 + level) / 2)
    centre = mean + z * z / (2 * n)
    half = z * math.sqrt(mean * (1 - mean) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return Estimate(mean, max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def share_difference(values: Sequence[float], others: Sequence[float], level: float = LEVEL) -> Estimate:
    """How much greater the mean share of `values` is, with Newcombe's hybrid score interval.

    Statistics in Medicine 17, 1998, 873, method 10.
    """
    one, two = share(values, level), share(others, level)
    difference = one.value - two.value
    down = math.hypot(one.value - one.low, two.high - two.value)
    up = math.hypot(one.high - one.value, two.value - two.low)
    return Estimate(difference, difference - down, difference + up)


def mean(values: Sequence[float], level: float = LEVEL) -> Estimate | None:
    """The mean of at least two numbers with Student's interval; None for fewer."""
    if len(values) < 2:
        return None
    centre, spread = fmean(values), math.sqrt(variance(values) / len(values))
    half = spread * _quantile(level, len(values) - 1) if spread else 0.0
    return Estimate(centre, centre - half, centre + half)


def mean_difference(values: Sequence[float], others: Sequence[float], level: float = LEVEL) -> Estimate | None:
    """How much greater the mean of `values` is, with Welch's interval (Biometrika 34, 1947, 28); None for too few."""
    if min(len(values), len(others)) < 2:
        return None
    difference = fmean(values) - fmean(others)
    one, two = variance(values) / len(values), variance(others) / len(others)
    if one + two == 0:
        return Estimate(difference, difference, difference)
    freedom = (one + two) ** 2 / (one**2 / (len(values) - 1) + two**2 / (len(others) - 1))
    half = math.sqrt(one + two) * _quantile(level, freedom)
    return Estimate(difference, difference - half, difference + half)


def split_p(counts: Sequence[int], weights: Sequence[float]) -> float | None:
    """How probable so uneven a split is when the weights hold (chi-square).

    None while an arm expects fewer than five: the approximation does not hold below that (Cochran 1954).
    """
    total = sum(counts)
    whole = math.fsum(weights)
    expected = [total * weight / whole for weight in weights]
    if min(expected) < 5:
        return None
    return float(scipy_stats().chisquare(counts, expected).pvalue)


def needed(values: Sequence[float], difference: float) -> int:
    """Dreamers that each arm needs so that a true difference of this size is seen four times out of five."""
    centre = fmean(values)
    spread = max(centre * (1 - centre), variance(values) if len(values) > 1 else 0.0, 0.01)
    return math.ceil(POWER_FACTOR * spread / difference**2)


def _quantile(level: float, freedom: float) -> float:
    return float(scipy_stats().t.ppf((1 + level) / 2, freedom))
