"""`oneiro doctor`: what the surroundings offer, and what to do about what is missing."""

import asyncio
import platform as machine
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from oneiro import __version__
from oneiro.app import utc_now
from oneiro.breaker import CircuitBreaker
from oneiro.cli.listen import bind
from oneiro.cli.serve import look_at_database
from oneiro.database.binaries import Binaries, find_binaries
from oneiro.database.ownership import prepare_directory
from oneiro.errors import OneiroError, SetupError
from oneiro.platform.elevenlabs import ElevenLabsPlatform
from oneiro.settings import Settings, load_settings

app = typer.Typer()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `needed` findings that are not well make the exit code 1."""

    what: str
    well: bool
    detail: str
    needed: bool = True


@app.command()
def doctor(
    data_dir: Annotated[Path | None, typer.Option(help="Where the database is kept.")] = None,
) -> None:
    """Look at Python, PostgreSQL, data, port, speech and platform; exit 1 when something is amiss."""
    settings = load_settings(data_dir=data_dir)
    console = Console(highlight=False)
    findings = list(_findings(settings))
    for finding in findings:
        sign = "[green]✓[/]" if finding.well else ("[red]✗[/]" if finding.needed else "[yellow]·[/]")
        console.print(f"{sign} {finding.what:<15} {finding.detail}")
    if any(finding.needed and not finding.well for finding in findings):
        raise typer.Exit(1)


def _findings(settings: Settings) -> Iterator[Finding]:
    yield Finding("Oneiro", well=True, detail=f"{__version__} on Python {machine.python_version()}, {sys.platform}")
    if settings.database_url is None:
        yield from _embedded(settings)
    else:
        yield asyncio.run(_database(settings))
    yield _port(settings)
    yield _speech()
    yield asyncio.run(_platform(settings))


def _embedded(settings: Settings) -> Iterator[Finding]:
    try:
        binaries = find_binaries(settings.postgres_bin)
    except SetupError as error:
        yield Finding("PostgreSQL", well=False, detail=str(error))
        return
    yield Finding("PostgreSQL", well=True, detail=f"embedded, {binaries.version} from {binaries.folder}")
    yield _data_directory(settings.data_dir, binaries)


def _data_directory(path: Path, binaries: Binaries) -> Finding:
    if not path.exists():
        return Finding("Data directory", well=True, detail=f"{path} (will be made)")
    try:
        prepare_directory(path)
    except SetupError as error:
        return Finding("Data directory", well=False, detail=str(error))
    version = path / "pgdata" / "PG_VERSION"
    made_by = version.read_text().strip() if version.is_file() else str(binaries.major)
    if made_by != str(binaries.major):
        detail = f"{path} was made by PostgreSQL {made_by}, the binaries are {binaries.major}: set ONEIRO_POSTGRES_BIN"
        return Finding("Data directory", well=False, detail=detail)
    return Finding("Data directory", well=True, detail=str(path))


async def _database(settings: Settings) -> Finding:
    try:
        await look_at_database(settings)
    except (SetupError, OneiroError) as error:
        return Finding("Database", well=False, detail=str(error))
    return Finding("Database", well=True, detail="reachable, schema up to date")


def _port(settings: Settings) -> Finding:
    try:
        bind(settings.host, settings.port, what="the API").close()
    except SetupError as error:
        return Finding("Port", well=False, detail=f"{error} (a running Oneiro, perhaps)", needed=False)
    return Finding("Port", well=True, detail=f"{settings.host}:{settings.port} is free")


def _speech() -> Finding:
    found = shutil.which("espeak-ng")
    detail = f"the engine speaks by {found}" if found else "no espeak-ng on PATH; the `speech` extra or silence is used"
    return Finding("Speech", well=found is not None, detail=detail, needed=False)


async def _platform(settings: Settings) -> Finding:
    if settings.elevenlabs_api_key is None:
        detail = "no ELEVENLABS_API_KEY: up and talk run on the engine (demo)"
        return Finding("Platform", well=False, detail=detail, needed=False)
    where = settings.elevenlabs_base_url or "ElevenLabs"
    try:
        platform = ElevenLabsPlatform(
            settings.elevenlabs_api_key.get_secret_value(),
            base_url=settings.elevenlabs_base_url,
            conversations=CircuitBreaker("conversations"),
            provisioning=CircuitBreaker("agents"),
            clock=utc_now,
        )
    except SetupError as error:
        return Finding("Platform", well=False, detail=str(error))
    try:
        await platform.find_agent("oneiro-doctor")
    except OneiroError as error:
        return Finding("Platform", well=False, detail=f"{where}: {error.detail}")
    finally:
        await platform.close()
    return Finding("Platform", well=True, detail=f"{where} accepts the key")
