"""`oneiro engine`: the stand-in of the voice platform, alone on a port."""

import asyncio
import signal
from dataclasses import replace
from pathlib import Path
from typing import Annotated

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
) -> None:
    """Run the engine; it forgets everything when it stops.

    Point the product at it with ELEVENLABS_API_KEY=anything and ONEIRO_ELEVENLABS_BASE_URL set to its address.
    """
    settings = load_settings()
    configure_logs(settings.log_format)
    asyncio.run(_serve(replace(engine_settings(settings, speed), faults=_read(faults)), port))


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
