"""Templates: checked and compiled when a document is published, rendered within bounds."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import Template, nodes
from jinja2.exceptions import TemplateError

from oneiro.errors import ValidationError
from oneiro.interpreters.grammar import Fault, checked
from oneiro.interpreters.models import InterpreterDocument, Prompt
from oneiro.interpreters.sandbox import BEGIN, END, ENVIRONMENT, UNTIL
from oneiro.interpreters.variables import neutral

MAX_OUTPUT_BYTES: Final = 64 * 1024
MAX_SECONDS: Final = 0.5  # of CPU; several times what the dearest template allowed takes


@dataclass(frozen=True, slots=True)
class Compiled:
    """A checked template with its includes, ready to render."""

    prompt: Prompt
    template: Template

    def render(self, values: Mapping[str, Any]) -> str:
        """Render with these values; raises `Fault` when more than 64 KB would come out, or it takes too long."""
        chunks: list[str] = []
        size = 0
        try:
            for chunk in self.template.generate(values, **{UNTIL: time.thread_time() + MAX_SECONDS}):
                chunks.append(chunk)
                size += len(chunk)
                if size > MAX_OUTPUT_BYTES:
                    break
        except TemplateError as error:
            raise Fault(self.prompt, 1, str(error)) from None
        except (TypeError, ValueError, ArithmeticError):
            raise Fault(self.prompt, 1, "compares or searches values that do not go together") from None
        text = "".join(chunks)
        if len(text.encode()) > MAX_OUTPUT_BYTES:
            raise Fault(self.prompt, 1, f"renders to more than {MAX_OUTPUT_BYTES} bytes")
        return text


def fill(text: str) -> str:
    """Neutralise the whole text, then turn what is left to the platform into its `{{name}}`."""
    parts = neutral(text).split(BEGIN)
    filled = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition(END)
        before, after = " " * filled[-1].endswith("{"), " " * rest.startswith("}")
        filled.append(f"{before}{{{{{name}}}}}{after}{rest}")
    return "".join(filled)


def refusal(document: InterpreterDocument, faults: Sequence[Fault]) -> ValidationError:
    """The error that names prompt, line and reason of every fault."""
    errors = [
        {
            "field": f"prompts[{document.prompts.index(fault.prompt)}].template",
            "prompt": f"{fault.prompt.type}/{fault.prompt.name}",
            "line": fault.line,
            "message": fault.message,
        }
        for fault in faults
    ]
    first = errors[0]
    end = "" if faults[0].message.endswith("?") else "."
    return ValidationError(f"Prompt {first['prompt']}, line {first['line']}: {first['message']}{end}", errors=errors)


def compiled(prompt: Prompt, among: Sequence[Prompt]) -> Compiled:
    """Check a prompt with what it includes from `among` and compile it; raises `Fault`."""
    tree = nodes.Template(checked(prompt, among), lineno=1)
    tree.set_environment(ENVIRONMENT)
    try:
        code = ENVIRONMENT.compile(tree)
    except (TemplateError, SyntaxError, RecursionError, MemoryError) as error:
        raise Fault(prompt, 1, f"cannot be compiled: {error}") from None
    return Compiled(prompt, Template.from_code(ENVIRONMENT, code, {}))
