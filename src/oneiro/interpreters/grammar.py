"""What a template may do: a small, closed part of Jinja2; everything else is refused with line and reason.

No calls, no arithmetic, no assignments, no attributes but the release's own. So a template's time is bounded by its
cost: the number of its nodes, those in loops counted once for each of the most entries a list can have, and for a
filter or a comparison the longest text it can be given besides.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from jinja2 import TemplateSyntaxError, nodes

from oneiro.interpreters.models import MAX_ITEMS, Prompt, PromptType
from oneiro.interpreters.sandbox import BEGIN, END, ENVIRONMENT, FILTERS, TEXT_FILTERS
from oneiro.interpreters.variables import CONVERSATION, longest_values, specimen

MAX_EXPANDED_BYTES: Final = 64 * 1024
MAX_COST: Final = 100_000
LETTERS_A_STEP: Final = 16  # a filter takes about as long for these as any other step
MAX_DEPTH: Final = 40
MAX_INCLUDES: Final = 3

_FILTER_SUBJECT: Mapping[str, Any] = {"default": object, "join": list, "length": (list, str)}
_FILTER_VALUES: Mapping[str, Callable[[list[Any]], bool]] = {
    **dict.fromkeys((*TEXT_FILTERS, "length"), lambda values: not values),
    "default": lambda values: len(values) == 1 or (len(values) == 2 and isinstance(values[1], bool)),
    "join": lambda values: not values or (len(values) == 1 and isinstance(values[0], str)),
}
_LOOP = {"first": True, "last": True, "index": 1, "index0": 0, "length": 1}
_MARKS = ("{{", "}}", "{%", "%}", "{#", "#}")
_ORDER = {"lt", "lteq", "gt", "gteq"}

_SPECIMEN: Final = specimen()

Scope = dict[str, Any]


class Fault(Exception):
    """What is wrong with a template, and on which of its lines."""

    def __init__(self, prompt: Prompt, line: int | None, message: str) -> None:
        super().__init__(message)
        self.prompt = prompt
        self.line = line or 1
        self.message = message


def checked(prompt: Prompt, among: Sequence[Prompt]) -> list[nodes.Node]:
    """The nodes of a prompt with what it includes from `among` in place; raises `Fault` at the first breach."""
    return _Check(among, prompt.type).body(prompt, _SPECIMEN | longest_values())


def _parsed(prompt: Prompt) -> list[nodes.Node]:
    try:
        body = ENVIRONMENT.parse(prompt.template).body
    except TemplateSyntaxError as error:
        raise Fault(prompt, error.lineno, (error.message or "is not a template").rstrip(".")) from None
    except (ValueError, RecursionError, MemoryError):
        raise Fault(prompt, 1, "holds something too large or too deeply nested") from None
    for node, depth in _walk(body):
        if depth > MAX_DEPTH:
            raise Fault(prompt, node.lineno, f"is nested more than {MAX_DEPTH} deep")
    return body


def _walk(body: Sequence[nodes.Node]) -> Iterator[tuple[nodes.Node, int]]:
    waiting = [(node, 1) for node in reversed(body)]
    while waiting:
        node, depth = waiting.pop()
        yield node, depth
        waiting.extend((child, depth + 1) for child in node.iter_child_nodes())


class _Check:
    """Walks a template once: refuses what is not allowed, and puts the included ones in place of their tags."""

    def __init__(self, among: Sequence[Prompt], kind: PromptType) -> None:
        self._among = among
        self._kind = kind
        self._bytes = 0
        self._cost = 0
        self._times = 1
        self._trail: tuple[Prompt, ...] = ()  # the prompt at hand, behind those that include it

    def body(self, prompt: Prompt, scope: Scope) -> list[nodes.Node]:
        """The checked body of a prompt, with its own variables around it."""
        self._bytes += len(prompt.template.encode())
        if self._bytes > MAX_EXPANDED_BYTES:
            raise Fault(prompt, 1, f"has more than {MAX_EXPANDED_BYTES} bytes with its includes")
        self._trail = (*self._trail, prompt)
        names, values = self._declared(prompt)
        for name in names:
            self._count(name)
        body = self._body(_parsed(prompt), scope | _own(prompt, scope))
        self._trail = self._trail[:-1]
        return [nodes.With(names, values, body, lineno=1)] if names else body

    def _declared(self, prompt: Prompt) -> tuple[list[nodes.Name], list[nodes.Expr]]:
        """Declared variables as assignments: a constant, or the stand-in for a conversation's empty value."""
        names: list[nodes.Name] = []
        values: list[nodes.Expr] = []
        for name, variable in prompt.variables.items():
            of_conversation = name in CONVERSATION
            if name in _SPECIMEN or name == "loop":
                raise Fault(prompt, 1, f"declares {name}, which every template has already")
            if variable.default is None and of_conversation:
                continue
            if variable.default is None:
                raise Fault(prompt, 1, f"declares {name} without a default, and nothing else can give it a value")
            if of_conversation and self._kind == "system":
                raise Fault(prompt, 1, f"declares a default for {name}, which the platform fills in; leave it out here")
            constant = nodes.Const(variable.default, lineno=1)
            names.append(nodes.Name(name, "store", lineno=1))
            given = nodes.Name(name, "load", lineno=1)
            values.append(nodes.Or(given, constant, lineno=1) if of_conversation else constant)
        return names, values

    def _body(self, body: Sequence[nodes.Node], scope: Scope) -> list[nodes.Node]:
        return [node for statement in body for node in self._statement(statement, scope)]

    def _statement(self, node: nodes.Node, scope: Scope) -> list[nodes.Node]:
        self._count(node)
        if isinstance(node, nodes.Include):
            return self._included(node, scope)
        if isinstance(node, nodes.Output):
            for part in node.nodes:
                self._printed(part, scope)
        elif isinstance(node, nodes.If):
            self._condition(node, scope)
        elif isinstance(node, nodes.For):
            self._loop(node, scope)
        else:
            raise self._fault(node, f"{_tag(node)} is not available in prompts")
        return [node]

    def _printed(self, node: nodes.Node, scope: Scope) -> None:
        if isinstance(node, nodes.TemplateData):
            mark = next((mark for mark in _MARKS if mark in node.data), None)
            if mark:
                raise self._fault(node, f"{mark} stands here without its other half")
        elif not (isinstance(node, nodes.Name) and self._left_to_platform(node.name)):
            self._expression(node, scope, "in an expression")
        else:
            self._count(node)

    def _left_to_platform(self, name: str) -> bool:
        return self._kind == "system" and name in CONVERSATION

    def _condition(self, node: nodes.If, scope: Scope) -> None:
        self._expression(node.test, scope, "in a condition")
        node.body = self._body(node.body, scope)
        for branch in node.elif_:
            self._count(branch)
            self._condition(branch, scope)
        node.else_ = self._body(node.else_, scope)

    def _loop(self, node: nodes.For, scope: Scope) -> None:
        items = self._expression(node.iter, scope, "in a loop")
        if not isinstance(items, list):
            raise self._fault(
                node, "a loop runs over a list of the interpreter, such as interpreter.personality.traits"
            )
        if not isinstance(node.target, nodes.Name) or node.recursive or node.test is not None:
            raise self._fault(node, "a loop has the plain form {% for item in list %}")
        if node.target.name in scope:
            raise self._fault(node, f"{node.target.name} is taken: choose another name for the loop")
        inner = scope | {node.target.name: items[0], "loop": _LOOP}
        self._times *= MAX_ITEMS
        node.body = self._body(node.body, inner)
        self._times //= MAX_ITEMS
        node.else_ = self._body(node.else_, scope)

    def _included(self, node: nodes.Include, scope: Scope) -> list[nodes.Node]:
        name = node.template.value if isinstance(node.template, nodes.Const) else None
        if not isinstance(name, str) or node.ignore_missing or not node.with_context:
            raise self._fault(node, 'an include names a prompt, as in {% include "tone" %}')
        kind, _, plain = name.rpartition("/")
        key = (kind or self._trail[-1].type, plain)
        prompt = next((known for known in self._among if (known.type, known.name) == key), None)
        if prompt is None:
            raise self._fault(node, f"there is no prompt {key[0]}/{plain} to include")
        if prompt in self._trail:
            raise self._fault(node, f"{prompt.type}/{prompt.name} would include itself")
        if len(self._trail) > MAX_INCLUDES:
            raise self._fault(node, f"includes go {MAX_INCLUDES} levels deep at most")
        return self.body(prompt, scope)

    def _expression(self, node: nodes.Node, scope: Scope, use: str) -> Any:
        """Check an expression and return a specimen of its value, as long as it can be."""
        self._count(node)
        found: Any
        match node:
            case nodes.Const():
                found = self._constant(node)
            case nodes.Name():
                found = self._name(node, scope, use)
            case nodes.Getattr():
                found = self._member(node, node.attr, scope, use)
            case nodes.Getitem(arg=nodes.Const(value=str(key))):
                found = self._member(node, key, scope, use)
            case nodes.Filter():
                found = self._filter(node, scope)
            case nodes.CondExpr():
                found = self._choice(node, scope)
            case _:
                found = self._logic(node, scope, use)
        return found

    def _logic(self, node: nodes.Node, scope: Scope, use: str) -> Any:
        match node:
            case nodes.And() | nodes.Or():
                left = self._expression(node.left, scope, use)
                return self._alike(node, left, self._expression(node.right, scope, use))
            case nodes.Not() | nodes.Test(name="defined" | "none", args=[], kwargs=[]):
                self._expression(node.node, scope, use)
                return True
            case nodes.Compare():
                return self._comparison(node, scope, use)
            case _:
                raise self._fault(node, f"{_tag(node)} is not available in prompts")

    def _constant(self, node: nodes.Const) -> Any:
        if isinstance(node.value, str) and (BEGIN in node.value or END in node.value):
            raise self._fault(node, "a text must not hold control characters")
        return node.value

    def _name(self, node: nodes.Name, scope: Scope, use: str) -> Any:
        name = node.name
        if name not in scope:
            raise self._fault(node, f"{name} is unknown{_meant(name, scope)}")
        if self._left_to_platform(name):
            reason = f"{name} is known only in a conversation: in a system prompt it can be printed as {{{{ {name} }}}}"
            raise self._fault(node, f"{reason}, but not used {use}")
        if name == "opening" and self._kind in {"greeting", "follow_up"}:
            raise self._fault(node, f"opening is what this {self._kind} becomes: it cannot use itself")
        return scope[name]

    def _member(self, node: nodes.Getattr | nodes.Getitem, key: str, scope: Scope, use: str) -> Any:
        owner = self._expression(node.node, scope, use)
        if not isinstance(owner, dict) or key not in owner:
            known = owner if isinstance(owner, dict) else {}
            raise self._fault(node, f"{_path(node.node)}.{key} is unknown{_meant(key, known)}")
        return owner[key]

    def _filter(self, node: nodes.Filter, scope: Scope) -> Any:
        values = _plain_values(node)
        if node.name not in FILTERS or node.node is None:
            raise self._fault(node, f"the filter {node.name} is not available; there are {', '.join(FILTERS)}")
        if values is None or not _FILTER_VALUES[node.name](values):
            raise self._fault(node, f"the filter {node.name} does not take these values")
        subject = self._expression(node.node, scope, "in a filter")
        if not isinstance(subject, _FILTER_SUBJECT.get(node.name, str)):
            raise self._fault(node, f"the filter {node.name} does not work on this value")
        return self._filtered(node, subject, values)

    def _filtered(self, node: nodes.Filter, subject: Any, values: list[Any]) -> Any:
        match node.name:
            case "length":
                return 0
            case "default":
                return self._alike(node, subject, values[0])
            case "join":
                text = "".join((*values, str(subject[0]))) * MAX_ITEMS
                self._count(node, text)
                return text
            case _:
                self._count(node, subject)
                return subject

    def _choice(self, node: nodes.CondExpr, scope: Scope) -> Any:
        self._expression(node.test, scope, "in a condition")
        if node.expr2 is None:
            raise self._fault(node, "an `if` within {{ }} needs its `else`")
        otherwise = self._expression(node.expr2, scope, "in a condition")
        return self._alike(node, otherwise, self._expression(node.expr1, scope, "in a condition"))

    def _alike(self, node: nodes.Node, one: Any, other: Any) -> Any:
        """Either of two values; a list and a text would make a loop over a text's letters pass for one over a list."""
        if isinstance(one, (list, tuple, dict)) is not isinstance(other, (list, tuple, dict)):
            raise self._fault(node, "a list and a single value cannot stand for each other")
        return max(other, one, key=_letters)

    def _comparison(self, node: nodes.Compare, scope: Scope, use: str) -> Any:
        left = self._expression(node.expr, scope, use)
        for operand in node.ops:
            right = self._expression(operand.expr, scope, use)
            numbers = isinstance(left, int | float) and isinstance(right, int | float)
            within = isinstance(right, list) or (isinstance(right, str) and isinstance(left, str))
            if (operand.op in _ORDER and not numbers) or (operand.op in {"in", "notin"} and not within):
                raise self._fault(node, "these two cannot be compared")
            if operand.op in {"in", "notin"} and isinstance(right, str):
                self._count(node, right)
            left = right
        return True

    def _count(self, node: nodes.Node, text: str = "") -> None:
        """A step, and those that going through a text takes, as often as the loops around it go."""
        self._cost += self._times * (1 + len(text) // LETTERS_A_STEP)
        if self._cost > MAX_COST:
            reason = (
                "takes too many steps: fewer or smaller loops and includes, and fewer filters on long texts, please"
            )
            raise self._fault(node, reason)

    def _fault(self, node: nodes.Node, message: str) -> Fault:
        lines = (part.lineno for part, _ in _walk([node]))
        return Fault(self._trail[-1], next(filter(None, lines), 1), message)


def _own(prompt: Prompt, scope: Scope) -> Scope:
    """The variables a prompt declares: constants, and stand-ins, which count when they are the longer."""
    given = {name: variable.default for name, variable in prompt.variables.items() if variable.default is not None}
    return {
        name: max(scope.get(name, ""), value, key=_letters) if name in CONVERSATION else value
        for name, value in given.items()
    }


def _letters(value: Any) -> int:
    """How long a specimen's text is; a list has one entry where the real one may have the most there can be."""
    match value:
        case str():
            return len(value)
        case list():
            return sum(_letters(item) for item in value) * MAX_ITEMS
        case dict():
            return sum(_letters(item) for item in value.values())
        case _:
            return 0


def _plain_values(node: nodes.Filter) -> list[Any] | None:
    """The values given to a filter; None when they are more than plain constants."""
    if node.kwargs or node.dyn_args or node.dyn_kwargs:
        return None
    values = [arg.value for arg in node.args if isinstance(arg, nodes.Const)]
    return values if len(values) == len(node.args) else None


def _tag(node: nodes.Node) -> str:
    return {"Call": "a call", "Assign": "set", "Block": "block", "Macro": "macro"}.get(
        type(node).__name__, type(node).__name__.lower()
    )


def _path(node: nodes.Node) -> str:
    match node:
        case nodes.Name(name=name):
            return str(name)
        case nodes.Getattr(node=owner, attr=attr):
            return f"{_path(owner)}.{attr}"
        case nodes.Const(value=value):
            return repr(value)[:40]
        case _:
            return "this"


def _meant(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
