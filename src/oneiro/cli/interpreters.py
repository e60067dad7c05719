"""`oneiro interpreters`: interpreters as files, so that a team keeps them in git and applies them in CI."""

import asyncio
import logging
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from oneiro.cli import differences
from oneiro.cli.given import complain, fault_line, read_documents, read_dream
from oneiro.cli.operator_api import TOKEN_VARIABLE, OperatorApi, Refused, operator_api
from oneiro.errors import SetupError, ValidationError
from oneiro.interpreters import documents, files
from oneiro.interpreters.models import INTERPRETER_ID, InterpreterDocument
from oneiro.logs import configure_logs

app = typer.Typer(no_args_is_help=True, help="Interpreters as files: look, compare, apply, roll back, retire.")

SCHEMA = "interpreter.schema.json"

Url = Annotated[str | None, typer.Option(help="An Oneiro to work on; default: the one of this machine.")]
Token = Annotated[str | None, typer.Option(help="An operator's token at that address.", envvar=TOKEN_VARIABLE)]
DataDir = Annotated[Path | None, typer.Option(help="Where this machine's database is kept.")]


def _id(value: str) -> str:
    if not re.fullmatch(INTERPRETER_ID, value):
        raise typer.BadParameter(f"{value!r} is no interpreter's id, which is like carl")
    return value


def _file_or_id(value: str) -> str:
    if Path(value).is_file():
        return value
    if not re.fullmatch(INTERPRETER_ID, value):
        raise typer.BadParameter(f"{value!r} is neither a file that is there nor an interpreter's id")
    return value


Id = Annotated[str, typer.Argument(help="The interpreter, for example carl.", callback=_id)]
Files = Annotated[list[Path], typer.Argument(help="YAML files.", exists=True, dir_okay=False, readable=True)]


@app.command("list")
def list_(url: Url = None, token: Token = None, data_dir: DataDir = None) -> None:
    """List every interpreter, active or not."""

    async def work(api: OperatorApi) -> bool:
        table = _table("id", "name", "release", "newest", "state", "experiment")
        for one in sorted(await api.pages("/interpreters"), key=lambda one: str(one["id"])):
            state = "active" if one["active"] else "retired" if one["retired_at"] else "not active"
            _row(table, one["id"], one["name"], one["release"], one["newest"], state, one["running_experiment"])
        _print(table)
        return True

    _run(work, url, token, data_dir)


@app.command()
def show(interpreter: Id, url: Url = None, token: Token = None, data_dir: DataDir = None) -> None:
    """Show one interpreter, its default release and its agents on the platform."""

    async def work(api: OperatorApi) -> bool:
        one = await api.call("GET", f"/interpreters/{interpreter}")
        typer.echo(f"{one['name']} ({one['id']}), {one['full_name']}\n{one['description']}")
        release = f"release {one['release']}" if one["active"] else "not active"
        typer.echo(f"{release}, newest {one['newest']}, sha256 {one['content_hash']}")
        if one["previous"]:
            typer.echo(f"rollback leads to release {one['previous']}")
        if not one["agents"]:
            typer.echo("no agent is on the platform now: a start makes one")
            return True
        typer.echo()
        table = _table("agent", "release", "language", "model", "state", "drift")
        for agent in one["agents"]:
            leaves = agent["leaves_at"] and agent["leaves_at"][:16].replace("T", " ")
            failed = not agent["agent_id"] and agent["error_code"]
            state = f"leaves {leaves} UTC" if leaves else "failed" if failed else agent["state"]
            named = agent["agent_id"] or failed or "is being made"
            _row(table, named, agent["release"], agent["language"], agent["model"], state, ", ".join(agent["drift"]))
        _print(table)
        return True

    _run(work, url, token, data_dir)


@app.command()
def export(
    interpreter: Id,
    release: Annotated[int | None, typer.Option(min=1, help="A release; default: the active one.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write to this file.")] = None,
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
) -> None:
    """Write an interpreter as YAML."""

    async def work(api: OperatorApi) -> bool:
        at = f"/interpreters/{interpreter}" + (f"/releases/{release}" if release else "")
        data = (await api.call("GET", at))["document"]
        try:
            text = files.write(documents.from_data(data), SCHEMA)
        except ValidationError as error:
            complain(f"{interpreter} has what this version of Oneiro does not know: {error.detail}")
            return False
        if output is None:
            sys.stdout.write(text)
        else:
            try:
                output.write_text(text, encoding="utf-8")
            except OSError as error:
                complain(f"{output}: {error.strerror}")
                return False
        return True

    _run(work, url, token, data_dir)


@app.command()
def diff(paths: Files, url: Url = None, token: Token = None, data_dir: DataDir = None) -> None:
    """Show what applying files would change; exit code 1 when something would, 2 when that cannot be told."""
    wanted = read_documents(paths, failed=2)

    async def work(api: OperatorApi) -> bool:
        return not any([await _differs(api, path, document) for path, document in wanted])

    _run(work, url, token, data_dir, failed=2)


@app.command()
def apply(
    paths: Files,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    note: Annotated[str, typer.Option(help="Why; kept with the release.")] = "",
    activate: Annotated[bool, typer.Option(help="Make it the default.")] = True,
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
) -> None:
    """Make interpreters as their files say: new ones are created, changed ones get a release, others are left alone.

    All files are checked before anything is done. Applying the same files again changes nothing.
    """
    wanted = read_documents(paths)

    async def work(api: OperatorApi) -> bool:
        for path, document in wanted:
            if dry_run:
                await _differs(api, path, document)
            done = await applied(api, document, note, activate=activate, dry_run=dry_run)
            typer.echo(f"{document.id}: {done}")
        return True

    _run(work, url, token, data_dir)


@app.command()
def preview(
    what: Annotated[str, typer.Argument(help="A YAML file, or the id of an interpreter.", callback=_file_or_id)],
    name: Annotated[str | None, typer.Option(help="The dreamer's name.")] = None,
    dream: Annotated[Path | None, typer.Option(help="A file with a dream.", exists=True, dir_okay=False)] = None,
    title: Annotated[str | None, typer.Option(help="The dream's title.")] = None,
    last_time: Annotated[str, typer.Option(help="What the last talk was about, as in “the house by the sea”.")] = "",
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
) -> None:
    """Show the system prompt, first and last words, variables and lengths, without publishing anything."""
    context: dict[str, Any] = {"user_name": name, "dream_title": title, "last_time": last_time}
    context["dream"] = read_dream(dream) if dream else None
    document = read_documents([Path(what)])[0][1] if Path(what).is_file() else None

    async def work(api: OperatorApi) -> bool:
        body = {"context": context} | ({"document": document.data()} if document else {})
        shown = await api.call("POST", f"/interpreters/{document.id if document else what}/preview", body)
        for part in ("system", "opening", "closing"):
            length = shown["lengths"][part]
            typer.echo(f"── {part} · {length['words']} words, {length['characters']} characters\n{shown[part]}\n")
        typer.echo("── variables")
        for variable, value in shown["variables"].items():
            typer.echo(f"{variable}: {value}")
        return True

    _run(work, url, token, data_dir)


@app.command()
def releases(interpreter: Id, url: Url = None, token: Token = None, data_dir: DataDir = None) -> None:
    """List the releases of an interpreter, the newest first."""

    async def work(api: OperatorApi) -> bool:
        table = _table("release", "state", "created (UTC)", "by", "sha256", "note")
        for one in await api.pages(f"/interpreters/{interpreter}/releases"):
            state = "active" if one["active"] else "was active" if one["activated_at"] else ""
            created = one["created_at"][:16].replace("T", " ")
            _row(table, one["number"], state, created, one["created_by"], one["content_hash"][:12], one["note"])
        _print(table)
        return True

    _run(work, url, token, data_dir)


@app.command()
def rollback(
    interpreter: Id,
    to: Annotated[int | None, typer.Option(min=1, help="A release; default: the one in charge before.")] = None,
    url: Url = None,
    token: Token = None,
    data_dir: DataDir = None,
) -> None:
    """Make the release the default again that was in charge before; once more goes back further.

    What was rolled back from is left out; name it with --to to take it up again. A retired interpreter comes back.
    """

    async def work(api: OperatorApi) -> bool:
        known = await api.call("GET", f"/interpreters/{interpreter}")
        number = to or known["previous"]
        if number is None:
            complain(f"{interpreter}: no other release was in charge before; name one with --to")
            return False
        if number == known["release"]:
            typer.echo(f"{interpreter}: release {number} is active already")
            return True
        await api.call("POST", f"/interpreters/{interpreter}/releases/{number}/activate", _seen(known))
        before = f" instead of release {known['release']}" if known["release"] else " again"
        typer.echo(f"{interpreter}: release {number} is active{before}")
        return True

    _run(work, url, token, data_dir)


@app.command()
def retire(interpreter: Id, url: Url = None, token: Token = None, data_dir: DataDir = None) -> None:
    """Take an interpreter out of service and stop its experiment; `rollback` brings it back, not the experiment."""

    async def work(api: OperatorApi) -> bool:
        known = await api.call("GET", f"/interpreters/{interpreter}")
        await api.call("POST", f"/interpreters/{interpreter}/retire")
        stopped = f"; its experiment {known['running_experiment']} was stopped" if known["running_experiment"] else ""
        typer.echo(f"{interpreter}: retired{stopped}")
        return True

    _run(work, url, token, data_dir)


def _run(
    work: Callable[[OperatorApi], Awaitable[bool]],
    url: str | None,
    token: str | None,
    data_dir: Path | None,
    *,
    failed: int = 1,
) -> None:
    """Do the work; exit code 1 when it says so, `failed` when the API refuses or is not there."""
    configure_logs("console", level=logging.ERROR)

    async def run() -> bool:
        async with operator_api(url, token, data_dir) as api:
            return await work(api)

    try:
        well = asyncio.run(run())
    except Refused as error:
        complain(str(error))
        for found in error.errors:
            complain(f"  {fault_line(found)}")
        raise typer.Exit(failed) from None
    except SetupError as error:
        complain(f"oneiro: {error}")
        raise typer.Exit(failed) from None
    if not well:
        raise typer.Exit(1)


async def _differs(api: OperatorApi, path: Path, document: InterpreterDocument) -> bool:
    """Print how a file differs from the default release; whether it does."""
    known = await _known(api, document.id)
    before = known["document"] if known else {}
    found = list(differences.lines(before, document.data()))
    if found:
        typer.echo(f"{document.id}: {_present(known)} → {path}")
        typer.echo("\n".join(f"  {line}" for line in found))
    elif known and not known["active"]:
        typer.echo(f"{document.id}: {path} is as {_present(known)}")
    return bool(found) or known is None or not known["active"]


def _present(known: dict[str, Any] | None) -> str:
    if known is None:
        return "not known yet"
    return f"release {known['release']}" if known["release"] else f"release {known['newest']}, which is not active"


async def applied(api: OperatorApi, document: InterpreterDocument, note: str, *, activate: bool, dry_run: bool) -> str:
    """Do what is to be done for a document; what that was."""
    known = await _known(api, document.id)
    body: dict[str, Any] = {"document": document.data(), "note": note, "activate": activate}
    if known is None:
        if dry_run:
            return "would be created"
        made = await api.call("POST", "/interpreters", body)
        return f"created, {_state(made)}"
    if known["active"] and known["content_hash"] == document.content_hash:
        return f"unchanged (release {known['release']})"
    number = await _number_of(api, document)
    if number is not None:
        return await _again(api, known, number, activate=activate, dry_run=dry_run)
    if dry_run:
        return f"would become release {known['newest'] + 1}"
    return _state(await api.call("POST", f"/interpreters/{document.id}/releases", body | _seen(known)))


async def _again(api: OperatorApi, known: dict[str, Any], number: int, *, activate: bool, dry_run: bool) -> str:
    if not activate:
        return f"unchanged (stored as release {number})"
    if dry_run:
        return f"release {number} would be active again"
    await api.call("POST", f"/interpreters/{known['id']}/releases/{number}/activate", _seen(known))
    return f"release {number} is active again"


def _seen(known: dict[str, Any]) -> dict[str, Any]:
    """What a request says of the default it replaces, so that no colleague's is undone unseen."""
    return {"based_on": known["release"]} if known["release"] else {}


async def _known(api: OperatorApi, interpreter: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = await api.call("GET", f"/interpreters/{interpreter}")
    except Refused as error:
        if error.code == "interpreter_not_found":
            return None
        raise
    return found


async def _number_of(api: OperatorApi, document: InterpreterDocument) -> int | None:
    """The newest release with this content."""
    listed = await api.pages(f"/interpreters/{document.id}/releases")
    return next((one["number"] for one in listed if one["content_hash"] == document.content_hash), None)


def _state(made: dict[str, Any]) -> str:
    drift = f" (the platform changed {', '.join(made['drift'])})" if made["drift"] else ""
    return f"release {made['number']} {'is active' if made['active'] else 'is stored'}{drift}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _row(table: Table, *values: Any) -> None:
    table.add_row(*("" if value is None else str(value) for value in values))


def _print(table: Table) -> None:
    Console(highlight=False, markup=False).print(table)
