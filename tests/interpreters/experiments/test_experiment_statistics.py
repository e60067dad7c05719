"""The statistics against published worked examples."""

import pytest
from scipy import stats

from oneiro.interpreters.experiments import statistics

# Student (1908), additional hours of sleep with two soporifics, as in R's data set `sleep`.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]


def shares(ones: int, of: int) -> list[float]:
    return [1.0] * ones + [0.0] * (of - ones)


@pytest.mark.parametrize(
    ("ones", "of", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilsons_interval_is_that_of_newcombe_1998_table_one(ones: int, of: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3."""
    found = statistics.share(shares(ones, of))
    assert (found.value, found.low, found.high) == pytest.approx((ones / of, low, high), abs=6e-5)


def test_wilsons_interval_is_scipys() -> None:
    for ones, of in ((0, 5), (3, 7), (50, 60), (9, 9)):
        interval = stats.binomtest(ones, of).proportion_ci(0.9, method="wilson")
        found = statistics.share(shares(ones, of), level=0.9)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(
    ("one", "two", "low", "high"),
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_the_difference_of_shares_is_that_of_newcombe_1998_table_two(
    one: tuple[int, int], two: tuple[int, int], low: float, high: float
) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 873, table II, method 10."""
    found = statistics.share_difference(shares(*one), shares(*two))
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def test_the_difference_of_means_is_welchs_for_students_sleep() -> None:
    """R 4: t.test(extra ~ group, data = sleep) gives -3.3654832 to 0.2054832 for 0.75 and 2.33."""
    found = statistics.mean_difference(SLEEP_1, SLEEP_2)
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((-1.58, -3.3654832, 0.2054832), abs=1e-6)


def test_the_mean_has_students_interval_for_the_paired_sleep() -> None:
    """R 4: t.test(extra ~ group, data = sleep, paired = TRUE) gives -2.4598858 to -0.7001142."""
    found = statistics.mean([one - two for one, two in zip(SLEEP_1, SLEEP_2, strict=True)])
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((-1.58, -2.4598858, -0.7001142), abs=1e-6)


def test_the_split_is_checked_as_mendels_peas() -> None:
    """Mendel (1866): 315, 108, 101 and 32 peas against 9:3:3:1 give a chi-square of 0.470, p = 0.925."""
    assert statistics.split_p([315, 108, 101, 32], [9 / 16, 3 / 16, 3 / 16, 1 / 16]) == pytest.approx(0.9254, abs=5e-4)


def test_a_crooked_split_is_seen() -> None:
    """Kohavi, Tang and Xu, Trustworthy Online Controlled Experiments (2020), chapter 21: p = 1.8e-6."""
    assert statistics.split_p([821_588, 815_482], [0.5, 0.5]) == pytest.approx(1.8e-6, abs=1e-7)


def test_lehrs_rule_asks_for_sixteen_variances_over_the_difference_squared() -> None:
    """van Belle (2008), Statistical Rules of Thumb, 2.1: half a standard deviation needs 64 in each group."""
    values = [1.0, 2.0, 3.0, 4.0, 5.0]
    spread = 2.5**0.5
    assert statistics.needed([value + 100 for value in values], spread / 2) == 64


def test_too_few_values_give_no_interval_and_equal_ones_a_point() -> None:
    assert statistics.mean([4.0]) is None
    assert statistics.mean_difference([4.0], [1.0, 2.0]) is None
    assert statistics.split_p([0, 0], [0.5, 0.5]) is None
    assert statistics.split_p([0, 2], [0.95, 0.05]) is None
    same = statistics.mean_difference([2.0, 2.0], [1.0, 1.0])
    assert same is not None
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)
