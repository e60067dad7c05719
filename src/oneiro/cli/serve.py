"""`oneiro serve`: the API for production; nothing is embedded and nothing is simulated."""

import asyncio
import signal
from contextlib import AsyncExitStack
from typing import Annotated
from urllib.parse import urlsplit

import psycopg
import typer
from pydantic import SecretStr

from oneiro.app import CALLS, ROUTERS, Surroundings, create_app, is_loopback
from oneiro.cli.listen import bind, listening, run
from oneiro.cli.stack import model_breaker, standing_in
from oneiro.database.migrate import lacking
from oneiro.database.pool import Database
from oneiro.errors import SetupError
from oneiro.logs import configure_logs
from oneiro.settings import Settings, load_settings

app = typer.Typer()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on. [8400]")] = None,
    relay: Annotated[bool, typer.Option("--relay", help="Serve the relay's calls without the API.")] = False,
    no_worker: Annotated[bool, typer.Option("--no-worker", help="Leave events and jobs to `oneiro worker`.")] = False,
) -> None:
    """Run the API on the database and the platform that the settings name."""
    settings = required(load_settings(host=host, port=port))
    configure_logs(settings.log_format)
    run(_serve(settings, relay=relay, worker=not (relay or no_worker)))


def required(settings: Settings) -> Settings:
    """The settings; raises `SetupError` naming every one that production needs and that is missing."""
    missing = [
        name
        for name, given in (
            ("ONEIRO_DATABASE_URL", settings.database_url),
            ("ONEIRO_JWT_SECRET or ONEIRO_JWKS_URL", settings.jwt_secret or settings.jwks_url),
            ("ELEVENLABS_API_KEY", settings.elevenlabs_api_key or is_engine(settings.elevenlabs_base_url)),
        )
        if not given
    ]
    if missing:
        raise SetupError(f"set {', '.join(missing)} (to try Oneiro without them: oneiro up)")
    if settings.jwt_secret and settings.jwks_url:
        raise SetupError("set ONEIRO_JWT_SECRET or ONEIRO_JWKS_URL, not both: one of them would check nothing")
    if settings.elevenlabs_api_key is None:
        return settings.model_copy(update={"elevenlabs_api_key": SecretStr("engine")})
    return settings


def is_engine(base_url: str | None) -> bool:
    """Whether this address is an engine's: it listens on loopback, the platform's regions do not."""
    return is_loopback(urlsplit(base_url or "").hostname)


async def _serve(settings: Settings, *, relay: bool, worker: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await look_at_database(settings)
    sock = bind(settings.host, settings.port, what="the API")
    async with AsyncExitStack() as stack:
        llm = model_breaker(settings)
        stand_in = await stack.enter_async_context(standing_in(settings, llm))
        around = Surroundings(simulated=is_engine(settings.elevenlabs_base_url), stand_in=stand_in, llm=llm)
        app = create_app(settings, around, worker=worker, routers=CALLS if relay else ROUTERS)
        served = await stack.enter_async_context(listening(app, sock, leaving=app.state.tail.close))
        typer.echo(f"Oneiro listens on {served.url}")
        served.task.add_done_callback(lambda _ended: stop.set())
        await stop.wait()
        app.state.stopping.set()
        await app.state.relay.drain(settings.drain_seconds, app.state.sweeper.interrupt)
    if served.task.done() and served.task.exception():
        raise SetupError("the server ended by itself; see the lines above")


async def look_at_database(settings: Settings) -> None:
    """Raise `SetupError` when the database cannot be reached or lacks migrations."""
    assert settings.database_url is not None
    url = settings.database_url.get_secret_value()
    try:
        await (await psycopg.AsyncConnection.connect(url, connect_timeout=5)).close()
    except psycopg.Error:
        # The driver's own words are left out: they may hold parts of the address, and so of its password.
        raise SetupError("the database of ONEIRO_DATABASE_URL cannot be reached with that address and user") from None
    database = Database(url)
    await database.open()
    missing = await lacking(database)
    await database.close()
    if missing:
        raise SetupError(f"{len(missing)} migrations are pending; run: oneiro migrate")
