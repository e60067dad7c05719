"""What traces cost: the middleware off and on, a span, the trigger of events; the quietest of some rounds."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from starlette.types import Message, Receive, Scope, Send

from oneiro import tracing
from oneiro.database.embedded import embedded
from oneiro.database.migrate import migrate
from oneiro.database.pool import Database
from oneiro.metrics import Metrics
from oneiro.monitoring.middleware import Measured
from oneiro.otel import Otel

ROUNDS, CALLS = 15, 4000


class Nowhere(SpanExporter):
    """Takes spans and sends them nowhere: what is measured is ours and the SDK's, not a network's."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return SpanExportResult.SUCCESS


class Unmeasured(Measured):
    """The middleware as it was before there were traces."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.request("/x", scope["method"], message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, watched)


async def answering(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def silent() -> Message:
    return {"type": "http.request"}


async def nowhere(_message: Message) -> None:
    pass


async def microseconds(once: Callable[[], Awaitable[object]], calls: int = CALLS) -> float:
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            await once()
        rounds.append((time.perf_counter() - began) / calls * 1e6)
    return min(rounds)


async def requests() -> None:
    scope: Scope = {"type": "http", "method": "GET", "path": "/x", "headers": [(b"host", b"x")] * 8}
    before, now = Unmeasured(answering, Metrics()), Measured(answering, Metrics())

    @tracing.traced("a block")
    async def spanned() -> None:
        pass

    async def bare() -> None:
        pass

    print(f"request, measured without traces   {await microseconds(lambda: before(scope, silent, nowhere)):7.2f} µs")
    print(f"request, traces off                {await microseconds(lambda: now(scope, silent, nowhere)):7.2f} µs")
    print(f"call of a function                 {await microseconds(bare):7.2f} µs")
    print(f"the same, traced, traces off       {await microseconds(spanned):7.2f} µs")
    recorder = Otel(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    tracing.install(recorder)
    print(f"request, traces on                 {await microseconds(lambda: now(scope, silent, nowhere)):7.2f} µs")
    print(f"a span, traces on                  {await microseconds(spanned):7.2f} µs")
    tracing.install(None)
    recorder.close()


async def events(url: str) -> None:
    database = Database(url, max_size=1)
    await database.open()
    insert = (
        "INSERT INTO system_events (event_type, event_data) SELECT 'breaker.opened', '{}' FROM generate_series(1, 100)"
    )

    async def written() -> None:
        async with database.as_service() as conn:
            await conn.execute(insert)

    async def empty() -> None:
        async with database.as_service():
            pass

    async def both(what: str) -> None:
        print(f"transaction, {what:22}{await microseconds(empty, 100):7.1f} µs")
        print(f"100 events, {what:22} {await microseconds(written, 20):7.1f} µs")

    await both("traces off")
    recorder = Otel(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    tracing.install(recorder)
    with tracing.span("all of it"):
        await both("traces on")
    tracing.install(None)
    recorder.close()
    await database.close()


async def main() -> None:
    print(f"python {sys.version.split()[0]}; the quietest of {ROUNDS} rounds")
    await requests()
    with tempfile.TemporaryDirectory(prefix="oneiro-bench-") as place:
        os.chmod(place, 0o711)  # noqa: PTH101 - the server may run as another account, which has to enter it.
        async with embedded(Path(place) / "postgres", options={"fsync": "off", "synchronous_commit": "off"}) as server:
            migrate(server.admin_url)
            await events(server.url("postgres", user="oneiro_service"))


if __name__ == "__main__":
    asyncio.run(main())
