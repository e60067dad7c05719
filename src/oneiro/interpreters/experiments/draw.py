"""Who gets what: a stable hash, so that every replica draws the same arm for the same dreamer."""

import hashlib
from collections.abc import Sequence
from itertools import accumulate
from uuid import UUID

_FULL = 2.0**64


def drawn(salt: str, user_id: UUID, *, share: float, weights: Sequence[float]) -> int | None:
    """The place of the dreamer's arm among `weights` (positive, summing to 1), or None when she takes no part.

    The two halves of one SHA-256 are independent uniform numbers: one decides whether, the other which.
    """
    digest = hashlib.sha256(f"{salt}:{user_id}".encode()).digest()
    whether, which = (int.from_bytes(half) / _FULL for half in (digest[:8], digest[8:16]))
    if whether >= share:
        return None
    bounds = list(accumulate(weights))
    return next((place for place, bound in enumerate(bounds) if which < bound), len(bounds) - 1)
