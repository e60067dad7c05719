"""Histograms with fixed buckets, so that those of hours and releases add up and still give percentiles.

A bucket is an eighth of an octave: its upper edge is 2 ** (1/8), about 1.09 times its lower one. The value that an
exact nearest-rank percentile would name lies in the bucket that we name a point of, so that what is shown is never
more than 9.1 % away from it, in either direction, and half a unit more since it is a whole number. Nothing at all has
a bucket of its own.
"""

import math
from collections.abc import Mapping
from typing import Final

PER_OCTAVE: Final = 8
ERROR: Final = 2 ** (1 / PER_OCTAVE) - 1
"""The largest relative error of a percentile."""
LAST: Final = 30 * PER_OCTAVE
"""The last bucket takes whatever is larger: 2 ** 30 milliseconds are twelve days."""
NOTHING: Final = -1
"""The bucket of 0, and of what a clock that was set back makes less."""


def bucket(value: float) -> int:
    """The bucket of a value; what is more than nothing and below 1 belongs to the first."""
    if value <= 0:
        return NOTHING
    return min(int(math.log2(value) * PER_OCTAVE), LAST) if value > 1 else 0


def percentile(histogram: Mapping[int, float], share: float) -> int | None:
    """The value below which that share lies (0.5: the median), by nearest rank; None for an empty histogram.

    Inside a bucket values are taken as evenly spread on a logarithmic scale.
    """
    rank = max(math.ceil(share * sum(histogram.values())), 1)
    passed = 0.0
    for index in sorted(histogram):
        if passed + histogram[index] >= rank:
            if index == NOTHING:
                return 0
            within = (rank - passed - 0.5) / histogram[index]
            return round(2 ** ((index + within) / PER_OCTAVE))
        passed += histogram[index]
    return None
