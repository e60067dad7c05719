"""`oneiro serve`: the API for production; nothing is embedded and nothing is simulated."""

import asyncio
import signal
from typing import Annotated

import psycopg
import typer

from oneiro.app import Surroundings, create_app
from oneiro.cli.listen import bind, listening
from oneiro.database.migrate import pending
from oneiro.errors import SetupError
from oneiro.logs import configure_logs
from oneiro.settings import Settings, load_settings

app = typer.Typer()


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on. [127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port to listen on. [8400]")] = None,
) -> None:
    """Run the API on the database and the platform that the settings name."""
    settings = _required(load_settings(host=host, port=port))
    configure_logs(settings.log_format)
    asyncio.run(_serve(settings))


def _required(settings: Settings) -> Settings:
    missing = [
        name
        for name, given in (
            ("ONEIRO_DATABASE_URL", settings.database_url),
            ("ONEIRO_JWT_SECRET or ONEIRO_JWKS_URL", settings.jwt_secret or settings.jwks_url),
            ("ELEVENLABS_API_KEY", settings.elevenlabs_api_key),
        )
        if not given
    ]
    if missing:
        raise SetupError(f"set {', '.join(missing)} (to try Oneiro without them: oneiro up)")
    return settings


async def _serve(settings: Settings) -> None:
    assert settings.database_url is not None
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await _look_at_database(settings)
    sock = bind(settings.host, settings.port, what="the API")
    app = create_app(settings, Surroundings(simulated=settings.elevenlabs_base_url is not None))
    async with listening(app, sock, grace=settings.drain_seconds) as served:
        typer.echo(f"Oneiro listens on {served.url}")
        await stop.wait()


async def _look_at_database(settings: Settings) -> None:
    assert settings.database_url is not None
    try:
        url = settings.database_url.get_secret_value()
        await (await psycopg.AsyncConnection.connect(url, connect_timeout=5)).close()
    except psycopg.Error:
        # The driver's own words are left out: they may hold parts of the address, and so of its password.
        raise SetupError("the database of ONEIRO_DATABASE_URL cannot be reached with that address and user") from None
    owner = settings.migrate_database_url
    missing = await asyncio.to_thread(pending, owner.get_secret_value()) if owner else []
    if missing:
        raise SetupError(f"{len(missing)} migrations are pending; run: oneiro migrate")
