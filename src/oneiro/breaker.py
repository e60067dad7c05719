"""A circuit breaker around calls of one dependency, with the guide's thresholds.

closed ──5 faults in a row──▶ open ──after 30 s, on the next call──▶ half-open ──3 successes──▶ closed
                               ▲                                         │
                               └────────────────one fault────────────────┘
In half-open one call at a time is let through; the others are turned away.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from oneiro.errors import CircuitBreakerOpenError, PlatformBusy, PlatformUnavailable

State = Literal["closed", "open", "half-open"]
Result = TypeVar("Result")

FAULTS, REST, SUCCESSES = 5, 30.0, 3
"""Faults in a row that open a breaker, the seconds that it rests then, and successes that close it (the guide)."""
PROBE_PAUSE = 1.0
"""Seconds after which a call that was turned away by a running probe may come again."""


@dataclass(frozen=True, slots=True)
class BreakerStats:
    """A breaker as `/v1/admin/platform` shows it."""

    name: str
    state: State
    failure_count: int
    success_count: int
    last_failure_time: datetime | None


def is_unavailable(error: Exception) -> bool:
    """Whether the dependency is at fault: away, late, or failing; a refusal or being busy shows that it is well."""
    return isinstance(error, PlatformUnavailable) and not isinstance(error, PlatformBusy)


class CircuitBreaker:
    """Stops calling a dependency that fails, and asks it again later with one call at a time.

    retry_timeout, call_timeout: seconds; a call that takes longer is ended and counts as a fault. How long it rests may
    be set later, too.
    is_fault: which errors count; others, and cancellation, change nothing.
    report: told the name and the new state at each change, in the task of the call that caused it; may be set later.
    clock: seconds that only go forward.
    """

    def __init__(
        self,
        name: str,
        *,
        failure_threshold: int = FAULTS,
        retry_timeout: float = REST,
        success_threshold: int = SUCCESSES,
        call_timeout: float = 60.0,
        is_fault: Callable[[Exception], bool] = is_unavailable,
        report: Callable[[str, State], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.state: State = "closed"
        self._failure_threshold = failure_threshold
        self.retry_timeout = retry_timeout
        self._success_threshold = success_threshold
        self._call_timeout = call_timeout
        self._is_fault = is_fault
        self.report = report
        self._clock = clock
        self._failures = 0
        self._successes = 0
        self._failed_at: float | None = None
        self._changes = 0
        self._probing = False

    async def call(self, attempt: Callable[[], Awaitable[Result]], *, within: float | None = None) -> Result:
        """Run `attempt` and count how it ended.

        within: seconds, in place of `call_timeout`. Raises `CircuitBreakerOpenError` with `retry_after` when it was
        not tried, `PlatformUnavailable` when it took longer than that, and whatever `attempt` raises.
        """
        probe = self.state != "closed"
        if probe:
            self._take_probe()
        # A call that began before the last change of state tells nothing about the present one.
        began = self._changes
        seconds = self._call_timeout if within is None else within
        limit = asyncio.timeout(seconds)
        try:
            async with limit:
                result = await attempt()
        except Exception as error:
            late = limit.expired()
            if (late or self._is_fault(error)) and began == self._changes:
                self._failed()
            if not late:
                raise
            raise PlatformUnavailable(f"{self.name} did not answer within {seconds:g} seconds.") from None
        else:
            if began == self._changes:
                self._succeeded()
            return result
        finally:
            if probe:
                self._probing = False

    def rest(self) -> float:
        """For how many seconds its dependency is left alone; 0 as soon as a call would be tried."""
        if self.state != "open":
            return 0.0
        assert self._failed_at is not None
        return max(0.0, self._failed_at + self.retry_timeout - self._clock())

    def stats(self, now: datetime) -> BreakerStats:
        """Its state and counts; `now` turns the clock's seconds into a time of day."""
        ago = None if self._failed_at is None else timedelta(seconds=self._clock() - self._failed_at)
        last_failure = None if ago is None else now - ago
        return BreakerStats(self.name, self.state, self._failures, self._successes, last_failure)

    def _take_probe(self) -> None:
        """Claim the one probe of half-open, entering that state when it is time."""
        if self.state == "open":
            if (remaining := self.rest()) > 0:
                raise self._turned_away(remaining)
            self._successes = 0
            self._change("half-open")
        if self._probing:
            raise self._turned_away(PROBE_PAUSE)
        self._probing = True

    def _turned_away(self, retry_after: float) -> CircuitBreakerOpenError:
        return CircuitBreakerOpenError(
            f"{self.name} failed repeatedly and is being left alone. Please try again shortly.", retry_after=retry_after
        )

    def _failed(self) -> None:
        self._failures += 1
        self._failed_at = self._clock()
        if self.state == "half-open" or self._failures >= self._failure_threshold:
            self._change("open")

    def _succeeded(self) -> None:
        self._failures = 0
        if self.state == "half-open":
            self._successes += 1
            if self._successes >= self._success_threshold:
                self._change("closed")

    def _change(self, state: State) -> None:
        self.state = state
        self._changes += 1
        if self.report is not None:
            self.report(self.name, state)
