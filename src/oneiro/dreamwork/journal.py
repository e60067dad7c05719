"""Reading the dream context: the dream as the dreamer wrote it down, and what is remembered of earlier talks."""

import re
from dataclasses import dataclass

_LABEL = re.compile(r"^\W*([A-Za-z][A-Za-z' ]{1,40}?)\s*(?:\([^)]{0,40}\))?\s*:\s*(.*)$")
_FENCE = re.compile(r"^\s*(?:<[^>]*>|[`~=\-#*_<>|+\s]{3,}|={2,}.*={2,}|-{2,}.*-{2,})\s*$")
_DREAM = ("dream", "content", "text", "what happened", "journal", "told")
_REMEMBERED = ("remember", "memory", "memories", "earlier", "last time", "before", "previous", "summary")
_NOT_OWN = ("interpretation", "symbol", "date", "title", "name", "language", "note", "instruction", "today")
_MAX_CHARS = 8_000


@dataclass(frozen=True, slots=True)
class Journal:
    """The dreamer's own words about the dream, and what is remembered; either may be empty."""

    dream: str = ""
    remembered: str = ""

    @classmethod
    def read(cls, context: str) -> "Journal":
        """Read labelled lines ("Dream: …", "Remembered: …"); unlabelled text counts as the dream.

        An interpretation or a list of symbols is left out, since those are not words the dreamer spoke.
        """
        parts: dict[str, list[str]] = {"dream": [], "remembered": [], "other": []}
        section = "dream"
        for line in context[:_MAX_CHARS].splitlines():
            if _FENCE.match(line):
                continue
            label = _LABEL.match(line)
            named = _section(label.group(1)) if label else None
            if label and named:
                section, line = named, label.group(2)  # noqa: PLW2901 (what follows the label is the line)
            parts[section].append(line)
        return cls("\n".join(parts["dream"]).strip(), "\n".join(parts["remembered"]).strip())


def _section(label: str) -> str | None:
    words = label.lower()
    for section, names in (("remembered", _REMEMBERED), ("other", _NOT_OWN), ("dream", _DREAM)):
        if any(name in words for name in names):
            return section
    return None
