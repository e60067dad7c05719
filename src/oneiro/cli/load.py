"""`oneiro load`: fill a database with a made-up history, so that dashboards can be tried and measured at size."""

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from oneiro.analytics.history import service
from oneiro.analytics.history.models import SEEDS, Plan
from oneiro.analytics.history.service import Advance
from oneiro.cli.stack import DATABASE, local_stack
from oneiro.database.embedded import embedded
from oneiro.database.migrate import lacking
from oneiro.database.pool import Database, DatabaseUnavailable
from oneiro.errors import SetupError
from oneiro.logs import configure_logs
from oneiro.settings import Settings, load_settings

app = typer.Typer()

MOST = 100_000_000


@app.command(no_args_is_help=True)
def load(
    history: Annotated[int | None, typer.Option(min=1, max=MOST, help="Write this many past conversations.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take away all that was written so.")] = False,
    days: Annotated[int, typer.Option(min=1, max=3650, help="Over how many days, up to now.")] = 365,
    messages: Annotated[float, typer.Option(min=0, max=100, help="Lines of a conversation, on average.")] = 6.0,
    seed: Annotated[int, typer.Option(min=0, max=SEEDS - 1, help="The same seed makes the same history.")] = 1,
    data_dir: Annotated[Path | None, typer.Option(help="Where this machine's database is kept.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Also into a database that is not embedded.")] = False,
) -> None:
    """Write a made-up history into the database of this machine, or of ONEIRO_[MIGRATE_]DATABASE_URL; or remove it."""
    if (history is None) is not remove:
        raise typer.BadParameter("say either --history N or --remove")
    configure_logs("console", level=logging.ERROR)
    settings = load_settings(data_dir=data_dir)
    named = (settings.migrate_database_url or settings.database_url) if data_dir is None else None
    if named is not None and not yes:
        raise SetupError("this writes made-up conversations into ONEIRO_DATABASE_URL: add --yes if you mean it")
    if history is None:
        asyncio.run(_with_database(settings, named, _remove))
        return
    plan = Plan(history, datetime.now(UTC), days=days, messages=messages, seed=seed)

    async def work(url: str) -> None:
        await _load(url, plan, trusting=named is None)

    asyncio.run(_with_database(settings, named, work))


async def _with_database(settings: Settings, named: SecretStr | None, work: Callable[[str], Awaitable[None]]) -> None:
    async with _database(settings, named) as url:
        try:
            await work(url)
        except psycopg.Error as error:
            # Without a word of PostgreSQL's own it is the driver's, which may hold parts of the address.
            said = (error.diag.message_primary or "it cannot be reached, or went away").splitlines()[0]
            raise SetupError(f"the database refuses: {said}") from None


@asynccontextmanager
async def _database(settings: Settings, named: SecretStr | None) -> AsyncIterator[str]:
    """The database that is named, or the embedded one, which is made when there is none."""
    if named is not None:
        await _look_at(named.get_secret_value())
        yield named.get_secret_value()
        return
    async with local_stack(settings, port=0), embedded(settings.data_dir, binaries=settings.postgres_bin) as server:
        yield server.url(DATABASE)


async def _look_at(url: str) -> None:
    database = Database(url)
    try:
        await database.open()
        missing = await lacking(database)
    except DatabaseUnavailable:
        raise SetupError("the database cannot be reached with that address and user") from None
    finally:
        await database.close()
    if missing:
        raise SetupError(f"{len(missing)} migrations are pending, or this login may not see them; run: oneiro migrate")


async def _load(url: str, plan: Plan, *, trusting: bool) -> None:
    began = time.monotonic()
    with _bar() as bar:
        done = await service.load(url, plan, _advance(bar, "conversations", plan.conversations), trusting=trusting)
    seconds = time.monotonic() - began
    typer.echo(f"{done.conversations:,} conversations of {done.dreamers:,} dreamers in {seconds:,.1f} s")


async def _remove(url: str) -> None:
    with _bar() as bar:
        done = await service.remove(url, _advance(bar, "removing", await service.made_up(url)))
    stay = f"; {done.kept:,} dreamers stay, since they have something else" if done.kept else ""
    typer.echo(f"{done.conversations:,} conversations removed{stay}")


def _advance(bar: Progress, what: str, total: int) -> Advance:
    """Moves a bar; when it is full, another one says that the hours are being counted."""
    task = bar.add_task(what, total=total)

    def advance(found: int) -> None:
        bar.advance(task, found)
        if bar.finished:
            bar.add_task("counting its hours", total=None)

    return advance


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    )
