import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from oneiro.breaker import CircuitBreaker
from oneiro.errors import PlatformUnavailable
from oneiro.metrics import (
    AGENT_SECONDS,
    MOST_INTERPRETERS,
    PLATFORM_SECONDS,
    START_SECONDS,
    TURN_SECONDS,
    LoopLag,
    Metrics,
    Snapshot,
)
from oneiro.platform.elevenlabs import CONVERSATION_SECONDS
from oneiro.platform.port import DESIGN_SECONDS, PROVISIONING_SECONDS

SNAPSHOT = Snapshot(
    active=3,
    slots={"taken": 4, "free": 96},
    jobs={"queued": 2, "running": 1, "done": 7, "dead": 0},
    lag={"webhooks": 5},
    unreconciled=1,
    parked={"webhooks": 2},
    unacknowledged={"passive_ideation": 0, "active_danger": 4},
)


def samples(text: bytes) -> dict[str, float]:
    """Samples by name and labels, as a reader of the text format sees them."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = ",".join(f"{key}={value}" for key, value in sorted(sample.labels.items()))
            key = f"{sample.name}{{{labels}}}"
            assert key not in found, f"{key} comes twice"
            found[key] = sample.value
    return found


def observed() -> Metrics:
    metrics = Metrics()
    metrics.start("carl", "ok", 0.02)
    metrics.agent_created("carl", 0.4, success=True)
    metrics.turn("carl", 0.7)
    metrics.messages("user", 2)
    metrics.frames("up", "audio")
    metrics.breaker("agents", "half-open")
    metrics.platform_call("signed_url", "ok", 0.1)
    metrics.safety("active_danger")
    metrics.request("/v1/dreams/{dream_id}", "GET", 200, 0.003)
    metrics.loop_lag(0.002)
    return metrics


CONTRACT = {
    "oneiro_conversations_active{}": 3,
    "oneiro_conversation_starts_total{interpreter=carl,outcome=ok}": 1,
    "oneiro_conversation_start_seconds_count{}": 1,
    "oneiro_agent_creation_seconds_count{interpreter=carl,success=true}": 1,
    "oneiro_turn_latency_seconds_sum{interpreter=carl}": 0.7,
    "oneiro_messages_total{sender=user}": 2,
    "oneiro_relay_frames_total{direction=up,kind=audio}": 1,
    "oneiro_slots{state=free}": 96,
    "oneiro_breaker_state{name=agents}": 1,
    "oneiro_platform_request_seconds_count{call=signed_url,outcome=ok}": 1,
    "oneiro_consumer_lag_events{consumer=webhooks}": 5,
    "oneiro_parked_events{consumer=webhooks}": 2,
    "oneiro_jobs{state=done}": 7,
    "oneiro_unreconciled_conversations{}": 1,
    "oneiro_safety_total{tier=active_danger}": 1,
    "oneiro_safety_unacknowledged{tier=active_danger}": 4,
    "oneiro_http_request_seconds_count{method=GET,route=/v1/dreams/{dream_id},status=200}": 1,
    "oneiro_event_loop_lag_seconds_count{}": 1,
}


def test_every_name_of_the_contract_is_there_with_its_labels() -> None:
    shown = samples(observed().render(SNAPSHOT))

    assert {key: shown.get(key) for key in CONTRACT} == CONTRACT


def test_without_the_database_its_figures_are_missing_and_the_others_stay() -> None:
    shown = samples(observed().render(None))

    assert "oneiro_messages_total{sender=user}" in shown
    assert not any(key.startswith(("oneiro_slots", "oneiro_jobs", "oneiro_unreconciled")) for key in shown)


def test_a_figure_that_is_gone_is_not_shown_again() -> None:
    metrics = Metrics()
    metrics.render(SNAPSHOT)
    lag = {"summaries": 0}
    later = Snapshot(active=0, slots={}, jobs={}, lag=lag, unreconciled=0, parked={}, unacknowledged={})

    assert "oneiro_consumer_lag_events{consumer=webhooks}" not in samples(metrics.render(later))


def test_interpreters_beyond_the_bound_share_a_label() -> None:
    metrics = Metrics()
    for number in range(MOST_INTERPRETERS + 5):
        metrics.start(f"i{number}", "ok", 0.01)
    metrics.start("i0", "ok", 0.01)

    shown = samples(metrics.render(None))

    starts = {key: value for key, value in shown.items() if key.startswith("oneiro_conversation_starts_total")}
    assert len(starts) == MOST_INTERPRETERS + 1
    assert starts["oneiro_conversation_starts_total{interpreter=other,outcome=ok}"] == 5
    assert starts["oneiro_conversation_starts_total{interpreter=i0,outcome=ok}"] == 2


async def test_a_breaker_reports_its_state_itself() -> None:
    metrics = Metrics()
    breaker = CircuitBreaker("agents", failure_threshold=1, report=metrics.breaker)

    async def fail() -> None:
        raise PlatformUnavailable("away")

    await asyncio.gather(breaker.call(fail), return_exceptions=True)

    assert samples(metrics.render(None))["oneiro_breaker_state{name=agents}"] == 2


def test_two_registries_do_not_share_figures() -> None:
    one, other = Metrics(), Metrics()
    one.messages("user")

    assert samples(one.render(None))["oneiro_messages_total{sender=user}"] == 1
    assert samples(other.render(None))["oneiro_messages_total{sender=user}"] == 0


def test_the_longest_that_the_platform_may_take_is_within_the_buckets() -> None:
    making = 2 * PROVISIONING_SECONDS  # An agent is made and read back.
    voice = DESIGN_SECONDS + 2 * PROVISIONING_SECONDS  # A voice is designed, kept and tuned.

    assert max(PLATFORM_SECONDS) >= DESIGN_SECONDS
    assert max(AGENT_SECONDS) >= making + voice
    assert max(START_SECONDS) >= making + voice + CONVERSATION_SECONDS
    assert min(START_SECONDS) <= 0.005, "a start with a known agent is told from a slow one"
    assert min(TURN_SECONDS) <= 0.1
    assert max(TURN_SECONDS) >= 20
    assert all(list(bounds) == sorted(set(bounds)) for bounds in (AGENT_SECONDS, START_SECONDS, TURN_SECONDS))


async def test_the_loops_lag_is_what_a_sleep_takes_too_long() -> None:
    metrics = Metrics()
    ticks: Iterator[float] = iter([0.0, 0.3, 0.3, 10.0])
    lag = LoopLag(metrics, every=0.0, clock=lambda: next(ticks))

    await asyncio.gather(lag.run(), return_exceptions=True)

    shown = samples(metrics.render(None))
    assert shown["oneiro_event_loop_lag_seconds_count{}"] == 2
    assert round(shown["oneiro_event_loop_lag_seconds_sum{}"], 6) == 10.0


def test_the_reference_names_every_figure_with_its_labels_and_no_other() -> None:
    page = (Path(__file__).parents[1] / "docs" / "reference" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(oneiro_\w+)` \|(?: (?:counter|gauge|histogram) \|)?([^|]*)\|", page, flags=re.MULTILINE)
    described = {name: set(re.findall(r"`(\w+)`", labels.partition(":")[0])) for name, labels in rows}

    shown: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(observed().render(SNAPSHOT).decode()):
        if family.name.startswith("oneiro_"):
            name = family.name + ("_total" if family.type == "counter" else "")
            shown[name] = {label for sample in family.samples for label in sample.labels} - {"le"}

    assert described == shown
