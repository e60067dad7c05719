"""How a call of the SDK is made: through its breaker, within its time, again where it may be, with errors of ours.

Known ways of SDK 2.78.0 that this module answers: it retries POSTs that are not idempotent (so `max_retries=0`), waits
240 s by default (so a bound on every call), lets httpx's errors through, and its errors print headers and bodies (so
none is chained to ours).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, TypeVar

import httpx
from elevenlabs.core.api_error import ApiError
from elevenlabs.core.parse_error import ParsingError
from elevenlabs.core.request_options import RequestOptions
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)

from oneiro import tracing
from oneiro.breaker import CircuitBreaker
from oneiro.errors import OneiroError
from oneiro.platform.errors import PlatformUnavailable
from oneiro.platform.faults import fault_of

Answer = TypeVar("Answer")
Call = Callable[[RequestOptions], Awaitable[Answer]]
Observe = Callable[[str, str, float], None]

ATTEMPTS: Final = 3
JITTER: Final = wait_random_exponential(multiplier=0.2, max=2.0)
REPEATABLE: Final = frozenset(
    {
        "signed_url",
        "list_agents",
        "read_agent",
        "delete_agent",
        "list_voices",
        "tune_voice",
        "delete_voice",
        "list_conversations",
        "read_conversation",
        "delete_conversation",
    }
)
"""Calls that may be made twice; an agent or a voice is made by one that may not: there is no key against a second."""


class Calls:
    """Makes calls; raises the errors that `VoicePlatform` names.

    secret: cut out of the platform's texts. observe: told the call, its outcome (`ok`, an error's code, or
    `cancelled`), its seconds.
    """

    def __init__(self, *, secret: str, clock: Callable[[], datetime], observe: Observe | None) -> None:
        self._secret = secret
        self._clock = clock
        self._observe = observe

    async def ask(self, breaker: CircuitBreaker, name: str, seconds: float, call: Call[Answer]) -> Answer:
        """Make one call through its breaker, bounded as a whole, and tell how it went."""
        began = time.perf_counter()
        outcome = "cancelled"
        try:
            answer = await breaker.call(lambda: self._insist(name, seconds, call))
        except OneiroError as error:
            outcome = error.code
            raise
        else:
            outcome = "ok"
            return answer
        finally:
            tracing.past(f"platform.{name}", time.perf_counter() - began, outcome)
            if self._observe is not None:
                self._observe(name, outcome, time.perf_counter() - began)

    async def _insist(self, name: str, seconds: float, call: Call[Answer]) -> Answer:
        """Make a call within its time; one that may be repeated is tried again while there is time for it."""
        if name not in REPEATABLE:
            return await self._once(seconds, call)
        latest = time.monotonic() + seconds
        again = AsyncRetrying(
            retry=retry_if_exception_type(PlatformUnavailable),
            stop=stop_after_attempt(ATTEMPTS) | stop_before_delay(seconds),
            wait=_pause,
            reraise=True,
        )

        async def attempt() -> Answer:
            return await self._once(seconds, call, left=latest - time.monotonic())

        return await again(attempt)

    async def _once(self, seconds: float, call: Call[Answer], *, left: float | None = None) -> Answer:
        # The SDK's own timeout is per phase of a request; the outer bound holds for the whole of it.
        # httpx takes fractions of a second, whatever the SDK declares.
        options = RequestOptions(max_retries=0, timeout_in_seconds=seconds)  # type: ignore[typeddict-item]
        try:
            async with asyncio.timeout(seconds if left is None else left):
                return await call(options)
        except ApiError as error:
            raise fault_of(
                error.status_code, error.headers, error.body, secret=self._secret, now=self._clock()
            ) from None
        except (httpx.TimeoutException, TimeoutError):
            raise PlatformUnavailable(f"The voice platform did not answer within {seconds:g} seconds.") from None
        except httpx.RequestError as error:
            raise PlatformUnavailable(f"The voice platform cannot be reached ({type(error).__name__}).") from None
        except (ParsingError, UnicodeDecodeError, TypeError):
            # TypeError: the SDK unpacks whatever stands where it expects an object.
            raise unreadable() from None


def _pause(state: RetryCallState) -> float:
    """Seconds before the next attempt: as the platform says, else a random part of 0.2 s, doubling."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, PlatformUnavailable) else None
    return JITTER(state) if asked is None else asked


def unreadable() -> PlatformUnavailable:
    """The error for an answer without what it should hold."""
    return PlatformUnavailable("The voice platform gave an answer that cannot be read.")
