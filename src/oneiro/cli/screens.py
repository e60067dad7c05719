"""How a conversation looks: on a terminal, on a pipe, as JSON."""

import asyncio
import json
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any, Protocol, TextIO

from rich.cells import cell_len
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from oneiro.cli.chat import Line

FAREWELLS = {"/end", "/quit", "/exit"}


class Screen(Protocol):
    """Shows a conversation and reads what the dreamer says.

    `pace` is how much faster than a person the engine of this process shall answer: nobody watches a pipe.
    """

    pace: float

    def begin(self, started: dict[str, Any]) -> None:
        """Show that the conversation has started."""

    def show(self, line: Line) -> None:
        """Show one thing that happened."""

    def problem(self, detail: str) -> None:
        """Show that something went wrong."""

    def said(self) -> AsyncIterator[str]:
        """What the dreamer says, a turn at a time."""


async def _lines(prompt: str = "") -> AsyncIterator[str]:
    """Lines of standard input, read in a daemon thread, so that a conversation that ends need not wait for one."""
    loop = asyncio.get_running_loop()
    while True:
        waiting: asyncio.Future[str] = loop.create_future()
        threading.Thread(target=_read_line, args=(loop, waiting, prompt), daemon=True).start()
        line = await waiting
        if not line or line.strip() in FAREWELLS:
            return
        yield line.rstrip("\n")


def _read_line(loop: asyncio.AbstractEventLoop, waiting: "asyncio.Future[str]", prompt: str) -> None:
    if prompt:
        sys.stdout.write(prompt)
        sys.stdout.flush()
    line = sys.stdin.readline()
    # The conversation may be over, and its loop with it, before the dreamer presses the key.
    if not loop.is_closed():
        loop.call_soon_threadsafe(_settle, waiting, line)


def _settle(waiting: "asyncio.Future[str]", line: str) -> None:
    if not waiting.done():
        waiting.set_result(line)


class JsonScreen:
    """One object a line."""

    pace = 100.0

    def begin(self, started: dict[str, Any]) -> None:
        """Print `started`."""
        _print_json(Line("started", conversation_id=started["conversation_id"]))

    def show(self, line: Line) -> None:
        """Print the line; parts are left out, the whole reply follows."""
        if line.type != "part":
            _print_json(line)

    def problem(self, detail: str) -> None:
        """Print `error`."""
        _print_json(Line("error", detail))

    async def said(self) -> AsyncIterator[str]:
        """Each line of standard input that is not blank."""
        async for line in _lines():
            if line.strip():
                yield line


def _print_json(line: Line) -> None:
    sys.stdout.write(json.dumps(line.data(), ensure_ascii=False) + "\n")
    sys.stdout.flush()


class PlainScreen:
    """The interpreter's words on standard output, everything else on standard error."""

    pace = 100.0

    def begin(self, started: dict[str, Any]) -> None:
        """Show what a dreamer must know before she speaks."""
        sys.stderr.write(started["disclosure"]["text"] + "\n")

    def show(self, line: Line) -> None:
        """Print what the interpreter says; a safety card too."""
        if line.type in {"opening", "interpreter"}:
            sys.stdout.write(line.content + "\n\n")
            sys.stdout.flush()
        elif line.type == "safety" and line.card:
            sys.stdout.write(card_text(line.card) + "\n\n")
        elif line.type in {"degraded", "error", "ended"} and line.content:
            sys.stderr.write(line.content + "\n")

    def problem(self, detail: str) -> None:
        """Print the problem."""
        sys.stderr.write(f"oneiro: {detail}\n")

    async def said(self) -> AsyncIterator[str]:
        """Each line of standard input that is not blank."""
        async for line in _lines():
            if line.strip():
                yield line


class Flow:
    """Writes text as it comes, word by word, wrapped at `width` columns with a hanging indent."""

    def __init__(self, out: TextIO, *, width: int, indent: int) -> None:
        self._out = out
        self._width = max(width, indent + 20)
        self._indent = indent
        self._column = indent
        self._word = ""

    def add(self, text: str) -> None:
        """Write the words that are whole by now."""
        *words, self._word = (self._word + text).split(" ")
        for word in words:
            self._write(word)
        self._out.flush()

    def close(self) -> None:
        """Write the last word and leave a line free."""
        self._write(self._word)
        self._word = ""
        self._out.write("\n\n")
        self._out.flush()

    def _write(self, word: str) -> None:
        gap = 1 if self._column > self._indent else 0
        if self._column + gap + cell_len(word) > self._width:
            self._out.write("\n" + " " * self._indent)
            self._column, gap = self._indent, 0
        self._out.write(" " * gap + word)
        self._column += gap + cell_len(word)


class TerminalScreen:
    """A chat: the interpreter's words appear as they come."""

    pace = 1.0

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._name = ""
        self._flow: Flow | None = None

    def begin(self, started: dict[str, Any]) -> None:
        """Show who is there, what a dreamer must know, and how to leave."""
        self._name = started["interpreter_name"]
        demo = "  [yellow]demo[/]" if started["demo"] else ""
        self._console.print(f"\n[bold]{self._name}[/]{demo}")
        self._console.print(Text(started["disclosure"]["text"], style="dim"))
        self._console.print("[dim]/end or Ctrl-D ends the conversation.[/]\n")

    def show(self, line: Line) -> None:
        """Show a line; a reply that came in parts is there already."""
        if line.type == "part":
            self._speaking().add(line.content)
        elif line.type in {"opening", "interpreter"}:
            if self._flow is None:
                self._speaking().add(line.content)
            self._speaking().close()
            self._flow = None
        elif line.type == "safety" and line.card:
            self._console.print(Panel(Text(card_text(line.card)), border_style="yellow"))
        elif line.type == "ended":
            self._console.print(f"\n[dim]{line.content}[/]")
        elif line.type in {"degraded", "error"}:
            self.problem(line.content)

    def _speaking(self) -> "Flow":
        if self._flow is None:
            self._console.print(f"[bold magenta]{self._name}[/]  ", end="")
            self._flow = Flow(sys.stdout, width=self._console.width, indent=len(self._name) + 2)
        return self._flow

    def problem(self, detail: str) -> None:
        """Show the problem."""
        self._console.print(Text(detail, style="red"))

    async def said(self) -> AsyncIterator[str]:
        """What is typed; an empty line asks again."""
        async for line in _lines("You  "):
            if line.strip():
                yield line
        self._console.print()


def card_text(card: dict[str, Any]) -> str:
    """A safety card as text: the words, then a line for each help line."""
    lines = [card["title"], card["text"]]
    for line in card["lines"]:
        ways = [line.get("phone"), line.get("text_to"), line.get("url")]
        hours = f" ({line['hours']})" if line.get("hours") else ""
        lines.append(f"• {line['name']}: {', '.join(way for way in ways if way)}{hours}")
    return "\n".join(lines)
