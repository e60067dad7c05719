"""Traces: one for a conversation from its request to the consumers of its events, and nothing in it that was said."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import psycopg
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import oneiro
from oneiro import tracing
from oneiro.database.pool import Database
from oneiro.errors import ConversationError, SetupError
from oneiro.logs import add_trace
from oneiro.otel import Otel

MARKER = "quillwort"
WAY = (
    "POST /v1/conversations",
    "conversation.start",
    "platform.create_agent",
    "relay.call",
    "relay.open",
    "platform.signed_url",
    "relay.connect",
    "relay.turn",
    "ingest.relayed",
    "relay.close",
    "consumer.summaries",
)
Until = Callable[..., Awaitable[list[dict[str, Any]]]]
Watched = Callable[[], Awaitable[Any]]


class Spans:
    """The spans that have ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def all(self) -> tuple[ReadableSpan, ...]:
        return self.exporter.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    async def until(self, name: str) -> ReadableSpan:
        async with asyncio.timeout(10):
            while not self.named(name):  # noqa: ASYNC110 - another task ends it.
                await asyncio.sleep(0.02)
        return self.named(name)[0]

    def text(self) -> str:
        """Everything that would leave the process."""
        return "\n".join(span.to_json() for span in self.all())


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Has spans recorded for the test."""
    kept = Spans()
    recorder = Otel(SimpleSpanProcessor(kept.exporter))
    tracing.install(recorder)
    yield kept
    tracing.install(None)
    recorder.close()


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    trace: int = span.context.trace_id
    return trace


def noted(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


async def test_a_relayed_conversation_is_one_trace_from_its_request_to_its_consumers(
    watched: Watched, spans: Spans, until: Until
) -> None:
    dreamer = await watched()
    started = await dreamer.start()
    await dreamer.talk(started["signed_url"], f"I dreamt of a {MARKER} in a flooded cellar.")
    await until("SELECT 1 FROM conversations WHERE id = %s AND status = 'completed'", started["conversation_id"])
    trace = trace_of(await spans.until("consumer.summaries"))

    assert {name: {trace_of(span) for span in spans.named(name)} for name in WAY} == {name: {trace} for name in WAY}
    happened = [event.name for span in spans.all() for event in span.events]
    assert {"conversation.requested", "conversation.connected", "conversation.ended"} <= set(happened)


async def test_spans_stand_under_what_caused_them(watched: Watched, spans: Spans) -> None:
    dreamer = await watched()
    started = await dreamer.start()
    await dreamer.talk(started["signed_url"], "I dreamt of a locked gate.")
    await spans.until("consumer.summaries")

    by_id = {span.context.span_id: span.name for span in spans.all() if span.context}
    above = {span.name: by_id.get(span.parent.span_id) if span.parent else None for span in spans.all()}
    assert above["POST /v1/conversations"] is None
    assert above["conversation.start"] == "POST /v1/conversations"
    assert above["platform.create_agent"] == "conversation.start"
    assert above["relay.call"] == "conversation.start"
    assert above["platform.signed_url"] == "relay.open"
    assert above["relay.turn"] == above["ingest.relayed"] == above["relay.close"] == "relay.call"
    assert above["consumer.summaries"] == "relay.close"


async def test_no_span_holds_what_was_said_who_said_it_or_a_ticket(watched: Watched, spans: Spans) -> None:
    dreamer = await watched()
    title = await dreamer.http.post("/v1/dreams", json={"title": f"The {MARKER}", "content": f"A {MARKER} grew."})
    started = await dreamer.start(dream_id=title.json()["id"])
    await dreamer.talk(started["signed_url"], f"The {MARKER} was as tall as a house.")
    await dreamer.http.post("/v1/conversations", json={"interpreter_id": MARKER})
    await dreamer.http.get(f"/v1/{MARKER}?q={MARKER}", headers={"user-agent": MARKER})
    await spans.until("consumer.summaries")

    shown = spans.text()
    assert started["conversation_id"] in shown
    assert MARKER not in shown
    assert str(dreamer.user_id) not in shown
    assert started["signed_url"].partition("ticket=")[2] not in shown
    assert started["opening"] not in shown


async def test_reported_lines_and_their_consumers_belong_to_the_conversations_trace(
    watched: Watched, spans: Spans, until: Until
) -> None:
    dreamer = await watched()
    started = await dreamer.start(transport="direct")
    path = f"/v1/conversations/{started['conversation_id']}"
    line = {"event_id": "1", "sender": "user", "content": f"A {MARKER}, and then rain."}
    assert (await dreamer.http.post(f"{path}/messages", json={"messages": [line]})).status_code == 202
    assert (await dreamer.http.post(f"{path}/end", json={})).is_success

    trace = trace_of(await spans.until("conversation.start"))
    (written,) = spans.named("ingest.reported")
    assert trace_of(written) == trace
    assert trace_of(await spans.until("consumer.summaries")) == trace
    posted = await spans.until("POST /v1/conversations/{conversation_id}/messages")
    assert trace_of(posted) != trace
    assert [link.context.trace_id for link in written.links] == [trace_of(posted)]
    events = await until(
        "SELECT DISTINCT substr(traceparent, 4, 32) AS trace FROM system_events WHERE entity_id = %s",
        started["conversation_id"],
    )
    assert [event["trace"] for event in events] == [f"{trace:032x}"]
    assert MARKER not in spans.text()


async def test_lines_of_two_conversations_written_together_stay_in_their_own_traces(
    watched: Watched, spans: Spans, until: Until
) -> None:
    dreamer = await watched()
    both = [(await dreamer.start(transport="direct"))["conversation_id"] for _ in range(2)]

    async def report(conversation_id: str, number: int) -> None:
        line = {"event_id": str(number), "sender": "user", "content": "And then?"}
        answer = await dreamer.http.post(f"/v1/conversations/{conversation_id}/messages", json={"messages": [line]})
        assert answer.status_code == 202

    await asyncio.gather(*(report(one, number) for number in range(8) for one in both))

    rows = await until("""
        SELECT e.entity_id, count(DISTINCT substr(e.traceparent, 4, 32)) AS traces,
               bool_and(substr(e.traceparent, 4, 32) = substr(c.traceparent, 4, 32)) AS its_own
        FROM system_events AS e JOIN conversations AS c ON c.id = e.conversation_id GROUP BY 1
    """)
    assert {row["entity_id"] for row in rows} == set(both)
    assert all(row["traces"] == 1 and row["its_own"] for row in rows)


async def test_a_callers_own_trace_is_linked_and_never_joined(watched: Watched, spans: Spans) -> None:
    dreamer = await watched()
    theirs = "0af7651916cd43dd8448eb211c80319c"
    await dreamer.http.get("/v1/interpreters", headers={"traceparent": f"00-{theirs}-b7ad6b7169203331-01"})
    await dreamer.http.get("/v1/me", headers={"traceparent": f"00-{MARKER}"})

    linked, strange = await spans.until("GET /v1/interpreters"), await spans.until("GET /v1/me")
    assert linked.parent is None
    assert [f"{link.context.trace_id:032x}" for link in linked.links] == [theirs]
    assert f"{trace_of(linked):032x}" != theirs
    assert strange.links == ()


async def test_a_request_is_named_by_its_route_and_a_probe_not_at_all(watched: Watched, spans: Spans) -> None:
    dreamer = await watched()
    await dreamer.http.get("/v1/dreams/7d2f6a52-6f0e-4d4e-9be5-6a6a5c1f9a10")
    for probe in ("/healthz", "/readyz", "/metrics"):
        assert (await dreamer.http.get(probe)).status_code == 200

    asked = await spans.until("GET /v1/dreams/{dream_id}")
    assert noted(asked)["http.response.status_code"] == 404
    assert noted(asked)["http.route"] == "/v1/dreams/{dream_id}"
    assert not any(name in span.name for span in spans.all() for name in ("healthz", "readyz", "metrics"))


async def test_what_is_not_sampled_is_not_sampled_anywhere_on_its_way(
    watched: Watched, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    kept = InMemorySpanExporter()
    recorder = Otel(SimpleSpanProcessor(kept))
    tracing.install(recorder)
    try:
        dreamer = await watched()
        started = await dreamer.start()
        await dreamer.talk(started["signed_url"])
        rows = await until(
            """
            SELECT e.traceparent FROM system_events AS e
            JOIN event_cursors AS c ON c.consumer = 'summaries' AND c.position >= e.position
            WHERE e.event_type = 'conversation.ended'
            """
        )
    finally:
        tracing.install(None)
        recorder.close()

    assert rows[0]["traceparent"].endswith("-00")
    assert kept.get_finished_spans() == ()


async def test_without_a_recorder_nothing_is_stored(watched: Watched, until: Until) -> None:
    dreamer = await watched()
    started = await dreamer.start()
    await dreamer.talk(started["signed_url"])

    rows = await until("SELECT traceparent FROM system_events WHERE event_type = 'conversation.ended'")
    begun = await until("SELECT traceparent FROM conversations")
    assert [row["traceparent"] for row in (*rows, *begun)] == [None, None]


async def test_the_place_in_a_trace_ends_with_its_transaction(service_url: str, spans: Spans) -> None:
    database = Database(service_url, max_size=1)
    await database.open()
    read = "SELECT nullif(current_setting('oneiro.traceparent', true), '')"
    async with database.as_service() as conn:
        before = await (await conn.execute(read)).fetchone()
    with tracing.span("a change"):
        place = tracing.traceparent()
        async with database.as_service() as conn:
            within = await (await conn.execute(read)).fetchone()
    async with database.as_service() as conn:
        after = await (await conn.execute(read)).fetchone()
    await database.close()

    assert (before, within, after) == ((None,), (place,), (None,))


async def test_an_event_of_no_conversation_has_the_place_of_its_transaction(db_url: str) -> None:
    with psycopg.connect(db_url) as conn:
        conn.execute("INSERT INTO system_events (event_type, event_data) VALUES ('breaker.opened', '{}')")
        conn.execute("SELECT set_config('oneiro.traceparent', '00-aa-bb-01', true)")
        conn.execute(
            "INSERT INTO system_events (event_type, event_data, conversation_id) "
            "VALUES ('breaker.closed', '{}', gen_random_uuid())"
        )
        rows = conn.execute(
            "SELECT traceparent FROM system_events WHERE event_type LIKE 'breaker.%' ORDER BY seq"
        ).fetchall()

    assert rows == [(None,), ("00-aa-bb-01",)]


async def test_an_errors_words_are_not_kept_but_its_code_is(spans: Spans) -> None:
    @tracing.traced("ours")
    async def ours() -> None:
        raise ConversationError(f"about a {MARKER}", code="conversation_start_failed")

    @tracing.traced("theirs")
    async def theirs() -> None:
        raise ValueError(MARKER)

    @tracing.traced("cancelled")
    async def cancelled() -> None:
        raise asyncio.CancelledError

    for fails in (ours, theirs, cancelled):
        with suppress(ConversationError, ValueError, asyncio.CancelledError):
            await fails()
    tracing.past("platform.signed_url", 0.25, "platform_unavailable")

    told = {span.name: (span.status.status_code.name, span.status.description) for span in spans.all()}
    assert told == {
        "ours": ("ERROR", "conversation_start_failed"),
        "theirs": ("ERROR", "ValueError"),
        "cancelled": ("UNSET", None),
        "platform.signed_url": ("ERROR", "platform_unavailable"),
    }
    assert MARKER not in spans.text()
    (late,) = spans.named("platform.signed_url")
    assert late.start_time is not None
    assert late.end_time is not None
    assert round((late.end_time - late.start_time) / 1e9, 6) == 0.25


def process(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "ONEIRO_"))}
    return subprocess.run(
        [sys.executable, "-c", program], env=kept | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_endpoint_without_the_extra_is_one_clear_line(service_url: str) -> None:
    ended = process(
        "import sys; sys.modules['opentelemetry.sdk'] = None; sys.argv[1:] = ['worker']\n"
        "from oneiro.cli import main; main()",
        ONEIRO_DATABASE_URL=service_url,
        ONEIRO_JWT_SECRET="a secret of at least thirty-two bytes",
        ELEVENLABS_API_KEY="a key",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318",
    )

    assert ended.returncode == 1
    assert ended.stderr == (
        "oneiro: OTEL_EXPORTER_OTLP_ENDPOINT is set, but traces need an extra: pip install 'oneiro[otel]'\n"
    )


def test_without_an_endpoint_nothing_of_the_extra_is_imported() -> None:
    ended = process(
        "import sys, oneiro.app; from oneiro import tracing; tracing.start(None);"
        "print([name for name in sys.modules if name == 'oneiro.otel' or name.startswith('opentelemetry.sdk')])"
    )

    assert ended.stdout == "[]\n", ended.stderr


def test_an_endpoint_that_is_no_address_is_refused() -> None:
    with pytest.raises(SetupError, match="http"):
        tracing.start("127.0.0.1:4318")


class Collector(BaseHTTPRequestHandler):
    """Keeps what is sent to it."""

    received: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self) -> None:
        self.received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's signature.
        pass


def test_spans_reach_a_collector_and_the_last_ones_when_the_process_ends() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ended = process(
        f"from oneiro import tracing; tracing.start('http://127.0.0.1:{server.server_port}/')\n"
        "with tracing.span('a block', lines=3): pass",
        OTEL_SERVICE_NAME="oneiro-eu",
    )
    server.shutdown()
    server.server_close()

    assert ended.returncode == 0, ended.stderr
    ((path, body),) = Collector.received
    assert path == "/v1/traces"
    sent = ExportTraceServiceRequest.FromString(body).resource_spans[0]
    about = {item.key: item.value.string_value for item in sent.resource.attributes}
    (span,) = sent.scope_spans[0].spans
    assert (about["service.name"], about["service.version"]) == ("oneiro-eu", oneiro.__version__)
    assert (span.name, span.attributes[0].key, span.attributes[0].value.int_value) == ("a block", "oneiro.lines", 3)


def test_a_log_line_names_its_trace(spans: Spans) -> None:
    outside = add_trace(None, "info", {"event": "x"})
    with tracing.span("a block"):
        place = tracing.traceparent()
        inside = add_trace(None, "info", {"event": "x"})

    assert outside == {"event": "x"}
    assert place == f"00-{inside['trace_id']}-{inside['span_id']}-01"
    (span,) = spans.named("a block")
    assert inside["trace_id"] == f"{trace_of(span):032x}"


async def test_what_a_job_writes_of_a_conversation_joins_its_trace(
    watched: Watched, spans: Spans, until: Until, db_url: str
) -> None:
    dreamer = await watched()
    started = await dreamer.start(transport="direct")
    with psycopg.connect(db_url, autocommit=True) as conn:
        conn.execute(
            "UPDATE conversations SET started_at = now() - interval '3 h', last_activity_at = now() - interval '2 h'"
        )
        conn.execute("UPDATE conversation_sessions SET last_activity_at = now() - interval '2 h'")
        conn.execute("UPDATE conversation_slots SET leased_until = now() - interval '1 h'")
        conn.execute("INSERT INTO jobs (kind) VALUES ('conversations.sweep')")

    (ended,) = await until(
        "SELECT traceparent FROM system_events WHERE event_type = 'conversation.ended' AND entity_id = %s",
        started["conversation_id"],
    )
    begun = trace_of(await spans.until("conversation.start"))
    assert ended["traceparent"].split("-")[1] == f"{begun:032x}"
    assert trace_of(await spans.until("job.conversations.sweep")) != begun
    assert trace_of(await spans.until("consumer.summaries")) == begun
