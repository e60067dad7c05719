"""Histograms: percentiles are as near as is promised, and add up."""

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneiro.analytics import histogram

VALUES = st.lists(st.integers(min_value=0, max_value=4_000_000), min_size=1, max_size=200)


def exact(values: list[int], share: float) -> int:
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


@given(VALUES, st.sampled_from([0.05, 0.5, 0.95, 1.0]))
def test_a_percentile_is_never_further_off_than_a_bucket_is_wide(values: list[int], share: float) -> None:
    found = histogram.percentile(Counter(map(histogram.bucket, values)), share)
    assert found is not None
    true = exact(values, share)
    # Half a unit more, since what is shown is a whole number.
    assert true / (1 + histogram.ERROR) - 0.5 <= found <= true * (1 + histogram.ERROR) + 0.5


@given(VALUES, VALUES)
def test_histograms_add_up_to_that_of_all_values(some: list[int], more: list[int]) -> None:
    apart = Counter(map(histogram.bucket, some)) + Counter(map(histogram.bucket, more))
    assert apart == Counter(map(histogram.bucket, [*some, *more]))


@pytest.mark.parametrize("value", [0, 0.3, 1, -5, float(2**40)])
def test_the_first_and_the_last_bucket_take_the_rest(value: float) -> None:
    assert histogram.bucket(value) in {histogram.NOTHING, 0, histogram.LAST}


@pytest.mark.parametrize("value", [0, 1])
def test_nothing_and_one_are_shown_as_they_are(value: int) -> None:
    assert histogram.percentile({histogram.bucket(value): 3}, 0.5) == value


def test_nothing_has_no_percentile() -> None:
    assert histogram.percentile({}, 0.5) is None
