"""When a delivery is tried again: at once, after 30 s, 2, 8 and 30 min, then every hour for a day."""

from typing import Final

PAUSES: Final = (30.0, 120.0, 480.0, 1800.0, *(3600.0,) * 23)
"""Seconds after each failed attempt; 28 attempts within 24 hours."""
JITTER: Final = (0.9, 1.1)
"""A pause is drawn between these parts of itself, so that deliveries to one endpoint do not come back together."""


def pause(failed: int, share: float) -> float | None:
    """Seconds until the next attempt after so many failed ones, None when there is none; `share` is the jitter."""
    return PAUSES[failed - 1] * share if failed <= len(PAUSES) else None
