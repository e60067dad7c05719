"""`oneiro engine`: the stand-in of the voice platform, alone on a port."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from oneiro.cli.listen import bind
from oneiro.cli.stack import engine_settings
from oneiro.engine.app import EngineSettings, running
from oneiro.engine.faults import Fault, read
from oneiro.errors import SetupError
from oneiro.logs import configure_logs
from oneiro.settings import load_settings

app = typer.Typer()


@app.command()
def engine(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 8401,
    speed: Annotated[float, typer.Option(min=0.1, max=1000, help="How much faster than a person it answers.")] = 1.0,
    faults: Annotated[Path | None, typer.Option(help="TOML file of faults that it shall have.")] = None,
    webhook_url: Annotated[
        str | None,
        typer.Option(
            envvar="ONEIRO_ENGINE_WEBHOOK_URL",
            help="Where it posts each conversation that is over, e.g. http://127.0.0.1:8400/webhooks/elevenlabs.",
        ),
    ] = None,
    webhook_secret: Annotated[
        str | None,
        typer.Option(
            help="Signs what it posts; else ONEIRO_ELEVENLABS_WEBHOOK_SECRET does, which a list of processes hides.",
        ),
    ] = None,
) -> None:
    """Run the engine; it forgets everything when it stops.

    Point the product at it with ELEVENLABS_API_KEY=anything and ONEIRO_ELEVENLABS_BASE_URL set to its address.

    For webhooks give both the same secret: the product takes none that is not signed with it.
    """
    settings = load_settings()
    configure_logs(settings.log_format)
    if webhook_secret is None and settings.elevenlabs_webhook_secret:
        webhook_secret = settings.elevenlabs_webhook_secret.get_secret_value()
    told = replace(
        engine_settings(settings, speed),
        faults=_read(faults),
        webhook_url=_address(webhook_url) if webhook_url else None,
        webhook_secret=webhook_secret,
    )
    asyncio.run(_serve(told, port))


def _address(url: str) -> str:
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0):
            return url
    except ValueError:
        pass
    raise SetupError("--webhook-url: it must be an address like http://127.0.0.1:8400/webhooks/elevenlabs")


def _read(path: Path | None) -> tuple[Fault, ...]:
    try:
        return tuple(read(path)) if path else ()
    except (OSError, ValueError) as error:
        raise SetupError(f"--faults: {error}") from None


async def _serve(settings: EngineSettings, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # Looked at first for the one clear line; the engine binds the port itself.
    bind("127.0.0.1", port, what="the engine").close()
    async with running(settings, port=port) as url:
        typer.echo(f"The engine listens on {url}")
        await stop.wait()
