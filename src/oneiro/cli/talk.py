"""`oneiro talk`: a chat on a terminal, a turn a line on a pipe, an object a line with `--json`."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer

from oneiro.cli.chat import Api, ApiError, Chat, chat, signed_in
from oneiro.cli.screens import JsonScreen, PlainScreen, Screen, TerminalScreen
from oneiro.cli.stack import local_stack
from oneiro.errors import ValidationError
from oneiro.logs import configure_logs
from oneiro.settings import load_settings
from oneiro.text import MAX_CONTEXT, MAX_MESSAGE, bounded

app = typer.Typer()


@app.command()
def talk(
    interpreter: Annotated[str, typer.Argument(help="Who to talk to, for example carl or lakshmi.")],
    url: Annotated[str | None, typer.Option(help="An Oneiro to talk to; default: the one on this machine.")] = None,
    token: Annotated[str | None, typer.Option(help="Your token at that address.", envvar="ONEIRO_TOKEN")] = None,
    dream: Annotated[Path | None, typer.Option(help="A file with a dream to write down and talk about.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    data_dir: Annotated[Path | None, typer.Option(help="Where the database is kept.")] = None,
) -> None:
    """Tell a dream to an interpreter.

    On a terminal this is a chat; end it with /end or Ctrl-D. On a pipe each line is one turn and each reply is printed.
    Exit code 0 when the conversation ended well, 1 when it did not, 2 for a wrong call.
    """
    settings = load_settings(data_dir=data_dir)
    configure_logs(settings.log_format, level=logging.ERROR)
    told = _read_dream(dream) if dream else None
    screen = _screen(json=json)

    async def run() -> bool:
        async with _address(url, data_dir, screen.pace) as address, signed_in(address, token) as api:
            return await _converse(api, interpreter, told, screen)

    if not asyncio.run(run()):
        raise typer.Exit(1)


def _read_dream(path: Path) -> str:
    try:
        return bounded(path.read_text(encoding="utf-8"), field="the dream", limit=MAX_CONTEXT)
    except (OSError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{path} cannot be read as text ({type(error).__name__})") from None
    except ValidationError as error:
        raise typer.BadParameter(f"{path}: {error.detail}") from None


def _screen(*, json: bool) -> Screen:
    if json:
        return JsonScreen()
    return TerminalScreen() if sys.stdin.isatty() and sys.stdout.isatty() else PlainScreen()


@asynccontextmanager
async def _address(url: str | None, data_dir: Path | None, pace: float) -> AsyncIterator[str]:
    if url is not None:
        yield url
        return
    async with local_stack(load_settings(data_dir=data_dir), port=0, speed=pace) as stack:
        yield stack.api_url


async def _converse(api: Api, interpreter: str, told: str | None, screen: Screen) -> bool:
    try:
        dream_id = (await api.call("POST", "/dreams", {"content": told}))["id"] if told else None
        async with chat(api, interpreter, dream_id) as conversation:
            return await _turns(conversation, screen)
    except ApiError as error:
        screen.problem(str(error))
        return False


async def _turns(conversation: Chat, screen: Screen) -> bool:
    screen.begin(conversation.started)
    well = True
    try:
        async for line in conversation.opening():
            screen.show(line)
        async for text in screen.said():
            well = await _turn(conversation, text, screen) and well
            if conversation.over:
                break
    finally:
        reason = "agent_ended" if conversation.over else "user_ended"
        screen.show(await conversation.end(reason))
    return well


async def _turn(conversation: Chat, text: str, screen: Screen) -> bool:
    try:
        checked = bounded(text, field="your message", limit=MAX_MESSAGE)
    except ValidationError as error:
        screen.problem(error.detail)
        return False
    async for line in conversation.say(checked):
        screen.show(line)
    return True
