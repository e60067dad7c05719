"""`oneiro worker`: what goes on behind the requests, in a process of its own."""

import asyncio
import signal

import typer

from oneiro.background import consumer_names, work
from oneiro.cli.listen import run
from oneiro.cli.serve import look_at_database, required
from oneiro.cli.stack import model_breaker
from oneiro.logs import configure_logs
from oneiro.parts import Surroundings, make_parts
from oneiro.settings import Settings, load_settings

app = typer.Typer()


@app.command()
def worker() -> None:
    """Stamp events, run their consumers and the jobs; beside `serve --no-worker`, as many as you like."""
    settings = required(load_settings())
    configure_logs(settings.log_format)
    run(_work(settings))


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await look_at_database(settings)
    typer.echo("The worker is at work.")
    await work(
        make_parts(settings, Surroundings(llm=model_breaker(settings)), consumers=consumer_names(settings)), stop
    )
