"""Files that people give to a command: read, or told in one line why not."""

from pathlib import Path
from typing import Any

import typer

from oneiro.errors import ValidationError
from oneiro.interpreters import files
from oneiro.interpreters.models import InterpreterDocument


def read_dream(dream: Path) -> str:
    """The text of a file with a dream; ends the command with exit code 1 when it cannot be read."""
    try:
        return dream.read_text(encoding="utf-8")
    except OSError as error:
        complain(f"{dream}: {error.strerror}")
    except UnicodeDecodeError:
        complain(f"{dream}: this is not UTF-8")
    raise typer.Exit(1)


def read_documents(paths: list[Path], *, failed: int = 1) -> list[tuple[Path, InterpreterDocument]]:
    """The documents of all files; with a fault in one, all faults are told and the command ends with `failed`."""
    read: list[tuple[Path, InterpreterDocument]] = []
    for path in paths:
        try:
            read.append((path, files.read(path.read_bytes())))
        except ValidationError as error:
            for found in error.errors or [{"field": "", "message": error.detail}]:
                complain(f"{path}:{found.get('line', 1)}: {fault_line(found)}")
        except OSError as error:
            complain(f"{path}: {error.strerror}")
    ids = [document.id for _, document in read]
    for one in sorted({one for one in ids if ids.count(one) > 1}):
        complain(f"two files are about {one}")
    if len(set(ids)) < len(paths):
        raise typer.Exit(failed)
    return read


def fault_line(found: dict[str, Any]) -> str:
    """A fault of an answer or a file: field, prompt and reason."""
    named = found.get("field") or ""
    prompt = f" ({found['prompt']}, line {found.get('template_line', found['line'])})" if "prompt" in found else ""
    return f"{named}{prompt}: {found['message']}" if named and "message" in found else str(found.get("message", named))


def complain(text: str) -> None:
    """Tell what is wrong."""
    typer.echo(text, err=True)
