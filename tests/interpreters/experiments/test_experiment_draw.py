"""The draw: even, stable, and independent from one experiment to the next."""

from collections import Counter
from uuid import UUID

from scipy import stats

from oneiro.interpreters.experiments.draw import drawn
from oneiro.interpreters.experiments.statistics import split_p

DREAMERS = [UUID(int=(number * 0x9E3779B97F4A7C15) << 32) for number in range(1, 100_001)]
WEIGHTS = [0.5, 0.3, 0.2]


def test_a_hundred_thousand_dreamers_are_divided_as_the_weights_say() -> None:
    for salt in ("first", "second", "third"):
        counts = Counter(drawn(salt, one, share=1.0, weights=WEIGHTS) for one in DREAMERS)
        p = split_p([counts[place] for place in range(3)], WEIGHTS)
        assert p is not None
        assert p > 0.001


def test_the_share_decides_how_many_and_leaves_the_division_alone() -> None:
    counts = Counter(drawn("salt", one, share=0.25, weights=WEIGHTS) for one in DREAMERS)
    left_out = counts.pop(None)
    p = split_p([len(DREAMERS) - left_out, left_out], [0.25, 0.75])
    among = split_p([counts[place] for place in range(3)], WEIGHTS)
    assert p is not None
    assert among is not None
    assert min(p, among) > 0.001


def test_one_experiment_tells_nothing_about_the_next() -> None:
    table = [[0, 0], [0, 0]]
    for one in DREAMERS:
        first, second = (drawn(salt, one, share=1.0, weights=[0.5, 0.5]) for salt in ("one", "two"))
        assert first is not None
        assert second is not None
        table[first][second] += 1
    assert stats.chi2_contingency(table).pvalue > 0.001


def test_a_dreamer_draws_the_same_arm_for_ever() -> None:
    """A change of the hash would move everybody in a running experiment; these values must never change."""
    dreamer = UUID("6b1f1d1e-0000-4000-8000-000000000001")
    assert [drawn(f"salt {n}", dreamer, share=1.0, weights=WEIGHTS) for n in range(12)] == [
        0,
        0,
        0,
        2,
        2,
        1,
        2,
        0,
        1,
        2,
        0,
        2,
    ]


def test_rounding_never_leaves_a_dreamer_without_an_arm() -> None:
    weights = [0.1] * 10
    assert {drawn("salt", one, share=1.0, weights=weights) for one in DREAMERS[:2000]} == set(range(10))
