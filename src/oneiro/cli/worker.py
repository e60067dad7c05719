"""`oneiro worker`: what goes on behind the requests, in a process of its own."""

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import Annotated

import typer

from oneiro.background import consumer_names, work
from oneiro.cli.listen import bind, listening, run
from oneiro.cli.serve import look_at_database, required
from oneiro.cli.stack import model_breaker
from oneiro.events.loops import running
from oneiro.logs import configure_logs
from oneiro.metrics import LoopLag
from oneiro.monitoring.app import create_app
from oneiro.parts import Parts, Surroundings, make_parts
from oneiro.settings import Settings, load_settings

app = typer.Typer()


@app.command()
def worker(
    metrics_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Answer /metrics on this port; without it a worker listens on nothing."),
    ] = None,
    metrics_host: Annotated[str, typer.Option(help="Address for /metrics.")] = "127.0.0.1",
) -> None:
    """Stamp events, run their consumers and the jobs; beside `serve --no-worker`, as many as you like."""
    settings = required(load_settings())
    configure_logs(settings.log_format)
    run(_work(settings, None if metrics_port is None else (metrics_host, metrics_port)))


async def _work(settings: Settings, watched: tuple[str, int] | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await look_at_database(settings)
    parts = make_parts(settings, Surroundings(llm=model_breaker(settings)), consumers=consumer_names(settings))
    async with AsyncExitStack() as stack:
        if watched is not None:
            await _watch(stack, parts, *watched)
        typer.echo("The worker is at work.")
        await work(parts, stop)


async def _watch(stack: AsyncExitStack, parts: Parts, host: str, port: int) -> None:
    """Answer `/metrics` until the worker ends; one that cannot be watched any more goes on working."""
    sock = bind(host, port, what="the worker's metrics")
    served = await stack.enter_async_context(
        listening(create_app(parts.monitoring, parts.metrics, parts.tokens), sock, grace=1)
    )
    await stack.enter_async_context(running(LoopLag(parts.metrics)))
    typer.echo(f"Metrics are at {served.url}/metrics")
