"""The figures of a real run: those that the reference names and no others, and nothing personal in their labels."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
from prometheus_client.parser import text_string_to_metric_families

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-|(conv|agent)_[0-9a-z]{16,}|/[0-9a-f]{32}")
MARKER = "quillwort"

Until = Callable[..., Awaitable[list[dict[str, Any]]]]
Watched = Callable[[], Awaitable[Any]]


def families(text: str) -> dict[str, Any]:
    return {
        family.name + ("_total" if family.type == "counter" else ""): family
        for family in text_string_to_metric_families(text)
        if family.name.startswith("oneiro_")
    }


async def test_a_run_shows_every_figure_of_the_reference_and_no_other(watched: Watched, until: Until) -> None:
    dreamer = await watched()
    started = await dreamer.start()
    await dreamer.talk(started["signed_url"], f"I dreamt of a {MARKER} on the stairs.")
    await dreamer.http.get(f"/v1/{MARKER}/{started['conversation_id']}")
    await dreamer.http.get(f"/v1/conversations/{started['conversation_id']}")
    await until("SELECT 1 FROM conversations WHERE status = 'completed'")
    text = (await dreamer.http.get("/metrics")).text
    shown = families(text)

    described = re.findall(r"^\| `(oneiro_\w+)` \|", PAGE.read_text(), flags=re.MULTILINE)
    assert sorted(shown) == sorted(described)
    assert shown["oneiro_turn_latency_seconds"].samples, "the run had a turn"
    assert shown["oneiro_platform_request_seconds"].samples, "the run asked the platform"
    values = {value for family in shown.values() for sample in family.samples for value in sample.labels.values()}
    assert not [value for value in values if UUID.search(value) or MARKER in value or len(value) > 64]


async def test_parked_events_are_counted_for_each_consumer(watched: Watched, db_url: str) -> None:
    dreamer = await watched()
    with psycopg.connect(db_url, autocommit=True) as conn:
        conn.execute("""
            INSERT INTO event_cursors (consumer) VALUES ('stumbling'), ('walking');
            INSERT INTO parked_events (consumer, position, event_id, attempts, error)
            SELECT 'stumbling', 0, id, 6, 'ValueError' FROM system_events LIMIT 1
        """)
    lines = (await dreamer.http.get("/metrics")).text.splitlines()

    assert 'oneiro_parked_events{consumer="stumbling"} 1.0' in lines
    assert 'oneiro_parked_events{consumer="walking"} 0.0' in lines
