"""`oneiro migrate`: bring a database to this version's schema, print the SQL, or say what is pending."""

from typing import Annotated

import typer

from oneiro.database.migrate import migrate as apply
from oneiro.database.migrate import pending, script
from oneiro.errors import SetupError
from oneiro.settings import load_settings

app = typer.Typer()


@app.command()
def migrate(
    show: Annotated[bool, typer.Option("--print", help="Print the SQL and change nothing.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit 1 when migrations are pending.")] = False,
) -> None:
    """Apply what the database of ONEIRO_MIGRATE_DATABASE_URL (or DATABASE_URL) lacks; a second run changes nothing."""
    if show:
        typer.echo(script())
        return
    settings = load_settings()
    url = settings.migrate_database_url or settings.database_url
    if url is None:
        raise SetupError("set ONEIRO_MIGRATE_DATABASE_URL to the database, as the owner of its schema")
    if check:
        _check(url.get_secret_value())
        return
    applied = apply(url.get_secret_value())
    for name in applied:
        typer.echo(f"applied {name}")
    typer.echo(f"{len(applied)} applied; the schema is up to date.")


def _check(url: str) -> None:
    missing = pending(url)
    for name in missing:
        typer.echo(f"pending {name}")
    if missing:
        raise typer.Exit(1)
    typer.echo("The schema is up to date.")
