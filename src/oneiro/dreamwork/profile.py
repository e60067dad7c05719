"""Who speaks: the interpreter's profile, and the block at the end of a system prompt that carries it."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_BEGIN = "=== INTERPRETER PROFILE ==="
_END = "=== END OF PROFILE ==="
_MAX_VALUE = 120
_MAX_ITEMS = 40
_MAX_BLOCK = 16_000
_WORDS = (12, 400)
_DEFAULT_WORDS = 120
_NUMBER = re.compile(r"\d{1,6}")
_SEPARATORS = re.compile(r"[\s,;=>|{}]+")


@dataclass(frozen=True)
class Profile:
    """An interpreter as the engine needs to know it; `response_patterns` are pairs of trigger and response."""

    name: str = "the interpreter"
    full_name: str = "the interpreter"
    approach: str = "neutral"
    traits: tuple[str, ...] = ()
    conversation_style: Mapping[str, str] = field(default_factory=dict)
    expertise: tuple[str, ...] = ()
    response_patterns: tuple[tuple[str, str], ...] = ()
    max_turn_length: int = _DEFAULT_WORDS
    language: str = "en"

    def block(self) -> str:
        """Render the fenced lines that `read` finds again and a language model can read too."""
        style = (f"{_item(key)} = {_item(value)}" for key, value in self.conversation_style.items())
        patterns = (f"{_item(trigger)} > {_item(response)}" for trigger, response in self.response_patterns)
        lines = (
            _BEGIN,
            f"name: {_item(self.name)}",
            f"full name: {_item(self.full_name)}",
            f"approach: {_item(self.approach)}",
            f"traits: {_listed(self.traits)}",
            f"conversation style: {', '.join(list(style)[:_MAX_ITEMS])}",
            f"expertise: {_listed(self.expertise)}",
            f"response patterns (when > then): {', '.join(list(patterns)[:_MAX_ITEMS])}",
            f"max turn length: {_bounded(self.max_turn_length)} words",
            f"language: {_item(self.language)}",
            _END,
        )
        return "\n".join(lines)

    @classmethod
    def read(cls, prompt: str) -> "Profile":
        """Find the last block in `prompt`; what is missing or unreadable there keeps its neutral value.

        The last one counts because ours is appended last: text further up cannot speak in its place.
        """
        begin = prompt.rfind(_BEGIN)
        if begin < 0:
            return cls()
        body = prompt[begin + len(_BEGIN) : begin + _MAX_BLOCK].partition(_END)[0]
        values = dict(_fields(body))
        name = values.get("name") or cls.name
        return cls(
            name=name,
            full_name=values.get("full name") or name,
            approach=(values.get("approach") or cls.approach).lower(),
            traits=_items(values.get("traits", "")),
            conversation_style=dict(_pairs(values.get("conversation style", ""), "=")),
            expertise=_items(values.get("expertise", "")),
            response_patterns=tuple(_pairs(values.get("response patterns", ""), ">")),
            max_turn_length=_words(values.get("max turn length", "")),
            language=values.get("language") or cls.language,
        )


def _item(value: str) -> str:
    """Keep one value on one line and clear of the block's own separators."""
    return _SEPARATORS.sub(" ", value.replace("===", " ")).strip()[:_MAX_VALUE].strip()


def _listed(values: Iterable[str]) -> str:
    return ", ".join(item for item in (_item(value) for value in list(values)[:_MAX_ITEMS]) if item)


def _bounded(words: int) -> int:
    return max(_WORDS[0], min(_WORDS[1], words))


def _fields(body: str) -> Iterable[tuple[str, str]]:
    for line in body.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            yield key.partition("(")[0].strip().lower(), value.strip()


def _items(value: str) -> tuple[str, ...]:
    found = (_item(part) for part in value.split(","))
    return tuple(part for part in found if part)[:_MAX_ITEMS]


def _pairs(value: str, between: str) -> list[tuple[str, str]]:
    parts = (part.partition(between) for part in value.split(","))
    return [(_item(left), _item(right)) for left, _, right in parts if _item(left) and _item(right)][:_MAX_ITEMS]


def _words(value: str) -> int:
    number = _NUMBER.search(value)
    return _bounded(int(number.group())) if number else _DEFAULT_WORDS
