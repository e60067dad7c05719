"""The command `oneiro`: a module a command, imported only when it is called."""

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from oneiro.errors import SetupError

COMMANDS = {
    "up": "Run everything here: database, interpreters, API; without a key, the engine too.",
    "talk": "Tell a dream to an interpreter, in the terminal or through a pipe.",
    "serve": "Run the API for production, on a database and a platform that you name.",
    "worker": "Run what goes on behind the requests, in a process of its own.",
    "migrate": "Bring the database to this version's schema.",
    "doctor": "Look at the surroundings and say what is missing.",
    "interpreters": "Keep interpreters as files: list, export, diff, apply, preview, roll back, retire.",
    "load": "Write a made-up history, to try dashboards and measure them at size; or take it away.",
    "token": "Issue a token for a dreamer or an operator.",
    "engine": "Run the stand-in of the voice platform alone.",
}


class LazyGroup(TyperGroup):
    """Lists commands by their summary and imports only the one that is called, so that `--help` is quick."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Every command, in the order of first use."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """The command's name and summary, for help texts."""
        summary = COMMANDS.get(cmd_name)
        return TyperCommand(cmd_name, help=summary) if summary else None

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The called command itself, imported."""
        if args and args[0] in COMMANDS:
            return args[0], load(args[0]), args[1:]
        return super().resolve_command(ctx, args)


def load(name: str) -> Any:
    """Import a command; its module defines `app`, a Typer of one command or of several."""
    command = typer.main.get_command(import_module(f"oneiro.cli.{name}").app)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root() -> None:
    """Oneiro: tell a dream to Carl or Lakshmi, and talk it through."""


def main() -> None:
    """Run the command line; wrong surroundings end in one line and exit code 1."""
    try:
        app()
    except SetupError as error:
        sys.stderr.write(f"oneiro: {error}\n")
        sys.exit(1)
