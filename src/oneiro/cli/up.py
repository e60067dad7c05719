"""`oneiro up`: everything on this machine, until Ctrl-C."""

import asyncio
import signal
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from oneiro.app import local_dreamer
from oneiro.cli.listen import run
from oneiro.cli.stack import Stack, local_stack
from oneiro.errors import SetupError
from oneiro.logs import configure_logs
from oneiro.settings import Settings, load_settings

app = typer.Typer()
console = Console(highlight=False)


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Port; 0 takes a free one. [8400]")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where the database is kept.")] = None,
) -> None:
    """Run everything here: database, interpreters, API; without ELEVENLABS_API_KEY on the engine."""
    settings = load_settings(host=host, port=port, data_dir=data_dir)
    configure_logs(settings.log_format)
    run(_up(settings))


async def _up(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with console.status("Starting PostgreSQL, interpreters and API …") as status:
        async with local_stack(settings) as stack:
            status.stop()
            if not stack.own:
                console.print(f"Oneiro is running already: [bold]{stack.api_url}[/] (data in {settings.data_dir})")
                return
            _greet(stack, settings)
            await _until(stop, stack.failed)
            failed = stack.failed.is_set()
    if failed:
        raise SetupError(f"it could not be kept running; see the lines above and {settings.data_dir}/postgres.log")
    console.print("Stopped.")


async def _until(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


def _greet(stack: Stack, settings: Settings) -> None:
    kind = "[yellow]demo[/]: the platform is simulated here; set ELEVENLABS_API_KEY for real voices"
    console.print("\n[bold]Oneiro is running.[/]")
    console.print(f"  Talk page  [bold]{stack.api_url}[/]   (signed in on this machine)")
    console.print(f"  API        {stack.api_url}/v1   (described at {stack.api_url}/openapi.json)")
    console.print(f"  Sign in    curl -X POST {stack.api_url}/v1/dev/session   (dreamer {local_dreamer()})")
    console.print("  Talk       oneiro talk carl   or   make talk   (in another terminal)")
    console.print(f"  Data       {settings.data_dir}")
    console.print(f"  Platform   {kind if stack.simulated else 'ElevenLabs'}")
    console.print("\nCtrl-C stops everything.\n")
