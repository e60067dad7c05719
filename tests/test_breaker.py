"""The circuit breaker, by a hand clock."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from oneiro.breaker import BreakerStats, CircuitBreaker, State
from oneiro.errors import CircuitBreakerOpenError, PlatformUnavailable
from oneiro.platform.errors import PlatformLacks, PlatformRefused

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


class Hand:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def fine() -> str:
    return "fine"


async def away() -> str:
    raise PlatformUnavailable("away")


def raising(error: BaseException) -> Callable[[], Awaitable[str]]:
    async def attempt() -> str:
        raise error

    return attempt


async def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(PlatformUnavailable, match="away"):
            await breaker.call(away)


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
def changes() -> list[tuple[str, State]]:
    return []


@pytest.fixture
def breaker(hand: Hand, changes: list[tuple[str, State]]) -> CircuitBreaker:
    return CircuitBreaker("agents", clock=hand, report=lambda *told: changes.append(told))


async def half_open(breaker: CircuitBreaker, hand: Hand) -> None:
    await fail(breaker, 5)
    hand.now += 30


async def test_an_answer_is_passed_on(breaker: CircuitBreaker) -> None:
    assert await breaker.call(fine) == "fine"


async def test_it_opens_after_five_faults_in_a_row_and_not_after_four(breaker: CircuitBreaker) -> None:
    states = []
    for _ in range(5):
        await fail(breaker)
        states.append(breaker.state)

    assert states == ["closed"] * 4 + ["open"]


async def test_a_success_between_faults_starts_the_count_anew(breaker: CircuitBreaker) -> None:
    await fail(breaker, 4)
    await breaker.call(fine)
    await fail(breaker, 4)

    assert breaker.state == "closed"


async def test_an_open_breaker_tries_nothing_and_says_when_to_come_back(breaker: CircuitBreaker, hand: Hand) -> None:
    tried: list[int] = []
    await fail(breaker, 5)
    hand.now += 12

    async def attempt() -> None:
        tried.append(1)

    with pytest.raises(CircuitBreakerOpenError) as caught:
        await breaker.call(attempt)

    assert not tried
    assert caught.value.retry_after == 18
    assert caught.value.retryable


async def test_how_long_it_rests_may_be_set_later(hand: Hand) -> None:
    breaker = CircuitBreaker("agents", clock=hand)
    await fail(breaker, 5)
    breaker.retry_timeout = 4.0
    assert breaker.rest() == 4.0
    hand.now += 4
    assert await breaker.call(fine) == "fine"


async def test_after_thirty_seconds_three_successes_close_it(
    breaker: CircuitBreaker, hand: Hand, changes: list[tuple[str, State]]
) -> None:
    await half_open(breaker, hand)

    states = []
    for _ in range(3):
        await breaker.call(fine)
        states.append(breaker.state)

    assert states == ["half-open", "half-open", "closed"]
    assert changes == [("agents", "open"), ("agents", "half-open"), ("agents", "closed")]


async def test_one_fault_in_half_open_opens_it_for_another_thirty_seconds(breaker: CircuitBreaker, hand: Hand) -> None:
    await half_open(breaker, hand)
    await breaker.call(fine)
    await fail(breaker)

    assert breaker.state == "open"
    hand.now += 29
    with pytest.raises(CircuitBreakerOpenError):
        await breaker.call(fine)
    hand.now += 1
    assert await breaker.call(fine) == "fine"


async def test_successes_before_a_relapse_do_not_count(breaker: CircuitBreaker, hand: Hand) -> None:
    await half_open(breaker, hand)
    await breaker.call(fine)
    await breaker.call(fine)
    await fail(breaker)
    hand.now += 30
    await breaker.call(fine)

    assert breaker.state == "half-open"


async def test_half_open_lets_one_call_through_at_a_time(breaker: CircuitBreaker, hand: Hand) -> None:
    await half_open(breaker, hand)
    gate, running = asyncio.Event(), 0

    async def probe() -> str:
        nonlocal running
        running += 1
        await gate.wait()
        return "fine"

    first = asyncio.create_task(breaker.call(probe))
    others = await asyncio.gather(*(breaker.call(probe) for _ in range(20)), return_exceptions=True)
    gate.set()

    assert await first == "fine"
    assert running == 1
    assert all(isinstance(other, CircuitBreakerOpenError) and other.retry_after == 1.0 for other in others)


@pytest.mark.parametrize("error", [PlatformRefused("no"), PlatformLacks("what?"), KeyError("a bug of ours")])
async def test_what_is_not_the_dependencys_fault_changes_nothing(breaker: CircuitBreaker, error: Exception) -> None:
    await fail(breaker, 4)
    for _ in range(10):
        with pytest.raises(type(error)):
            await breaker.call(raising(error))

    assert breaker.stats(NOON).failure_count == 4


async def test_a_refused_probe_leaves_room_for_the_next(breaker: CircuitBreaker, hand: Hand) -> None:
    await half_open(breaker, hand)
    with pytest.raises(PlatformRefused):
        await breaker.call(raising(PlatformRefused("no")))

    assert breaker.state == "half-open"
    assert await breaker.call(fine) == "fine"


async def test_a_cancelled_probe_leaves_room_for_the_next(breaker: CircuitBreaker, hand: Hand) -> None:
    await half_open(breaker, hand)
    entered = asyncio.Event()

    async def endless() -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(breaker.call(endless))
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert breaker.state == "half-open"
    assert await breaker.call(fine) == "fine"


async def test_cancellation_is_no_fault(breaker: CircuitBreaker) -> None:
    await fail(breaker, 4)
    with pytest.raises(asyncio.CancelledError):
        await breaker.call(raising(asyncio.CancelledError()))

    assert breaker.state == "closed"


async def test_a_call_that_takes_too_long_is_ended_and_counts(hand: Hand) -> None:
    breaker = CircuitBreaker("agents", clock=hand, call_timeout=0.01, failure_threshold=1, is_fault=lambda _: False)

    with pytest.raises(PlatformUnavailable, match=r"within 0\.01 seconds"):
        await breaker.call(asyncio.Event().wait)

    assert breaker.state == "open"


async def test_a_timeout_of_the_call_itself_is_passed_on(breaker: CircuitBreaker) -> None:
    with pytest.raises(TimeoutError, match="mine"):
        await breaker.call(raising(TimeoutError("mine")))


async def test_a_call_from_before_the_change_says_nothing_about_now(breaker: CircuitBreaker, hand: Hand) -> None:
    gates = [asyncio.Event(), asyncio.Event()]

    async def late_success() -> None:
        await gates[0].wait()

    async def late_fault() -> None:
        await gates[1].wait()
        raise PlatformUnavailable("late")

    tasks = [asyncio.create_task(breaker.call(attempt)) for attempt in (late_success, late_fault)]
    await asyncio.sleep(0)
    await half_open(breaker, hand)
    await breaker.call(fine)
    for gate in gates:
        gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)

    assert breaker.stats(NOON) == BreakerStats("agents", "half-open", 0, 1, NOON - timedelta(seconds=30))


async def test_stats_give_the_time_of_the_last_fault(breaker: CircuitBreaker, hand: Hand) -> None:
    assert breaker.stats(NOON) == BreakerStats("agents", "closed", 0, 0, None)
    await fail(breaker, 2)
    hand.now += 90

    assert breaker.stats(NOON) == BreakerStats("agents", "closed", 2, 0, NOON - timedelta(seconds=90))


class Breaker(RuleBasedStateMachine):
    """Any order of calls that end well, badly or not yet, and of time: compared with the rules, plainly told."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.hand = Hand()
        self.told: list[State] = []
        self.breaker = CircuitBreaker("agents", clock=self.hand, report=lambda _, state: self.told.append(state))
        self.faults = self.successes = 0
        self.opened_at: float | None = None
        self.probe: asyncio.Task[Any] | None = None
        self.gate = asyncio.Event()

    def teardown(self) -> None:
        if self.probe is not None:
            self.finish_probe()
        self.loop.close()

    def expected(self) -> State:
        if self.opened_at is not None:
            return "open"
        return "half-open" if self.successes >= 0 and self.told and self.told[-1] == "half-open" else "closed"

    def due(self) -> bool:
        return self.opened_at is not None and self.hand.now - self.opened_at >= 30

    def admitted(self) -> bool:
        return self.probe is None and (self.expected() != "open" or self.due())

    def enter(self) -> None:
        if self.expected() == "open":
            self.opened_at, self.successes = None, 0
            assert self.told[-1] == "half-open"

    def attempt(self, what: Callable[[], Awaitable[str]]) -> str:
        async def run() -> str:
            try:
                return await self.breaker.call(what)
            except CircuitBreakerOpenError:
                return "turned away"
            except (PlatformUnavailable, PlatformRefused):
                return "raised"

        return self.loop.run_until_complete(run())

    @rule()
    def success(self) -> None:
        admitted, half = self.admitted(), self.breaker.state != "closed"
        assert self.attempt(fine) == ("fine" if admitted else "turned away")
        if admitted:
            self.enter()
            self.succeeded(half=half)

    def succeeded(self, *, half: bool) -> None:
        self.faults = 0
        self.successes += half
        if half and self.successes == 3:
            assert self.told[-1] == "closed"
            self.successes = 0

    @rule()
    def fault(self) -> None:
        admitted, half = self.admitted(), self.breaker.state != "closed"
        assert self.attempt(away) == ("raised" if admitted else "turned away")
        if admitted:
            if self.opened_at is not None:
                self.opened_at = None
            self.faults += 1
            if half or self.faults >= 5:
                self.opened_at = self.hand.now

    @rule()
    def refusal(self) -> None:
        admitted = self.admitted()
        assert self.attempt(raising(PlatformRefused("no"))) == ("raised" if admitted else "turned away")
        if admitted:
            self.enter()

    @rule(seconds=st.sampled_from([1, 10, 29, 30, 31]))
    def time_passes(self, seconds: int) -> None:
        self.hand.now += seconds

    @precondition(lambda self: self.probe is None and self.breaker.state != "closed" and self.admitted())
    @rule()
    def begin_probe(self) -> None:
        self.gate = asyncio.Event()

        async def slow() -> str:
            await self.gate.wait()
            return "fine"

        self.probe = self.loop.create_task(self.breaker.call(slow))
        self.loop.run_until_complete(asyncio.sleep(0))
        self.enter()

    @precondition(lambda self: self.probe is not None)
    @rule()
    def finish_probe(self) -> None:
        assert self.probe is not None
        self.gate.set()
        assert self.loop.run_until_complete(self.probe) == "fine"
        self.probe = None
        self.succeeded(half=True)

    @precondition(lambda self: self.probe is not None)
    @rule()
    def cancel_probe(self) -> None:
        assert self.probe is not None
        self.probe.cancel()
        self.loop.run_until_complete(asyncio.wait([self.probe]))
        self.probe = None

    @invariant()
    def the_state_is_as_told(self) -> None:
        assert self.breaker.state == self.expected()
        assert self.breaker.stats(NOON).failure_count == self.faults


Breaker.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBreakerInAnyOrder = Breaker.TestCase
