"""Bounds and cleaning of what people type: nothing is cut silently, nothing unstorable gets through.

The bounds are the guide's (InputValidator): a name 50, a message 2000, a context 5000 characters.
"""

import unicodedata

from oneiro.errors import ValidationError

MAX_NAME = 50
MAX_MESSAGE = 2000
MAX_CONTEXT = 5000
MAX_SYMBOL = 50


def clean(value: str) -> str:
    """The text as it can be stored and shown: NFC, line ends as newlines, no control characters, trimmed.

    Letters, emoji, `<`, `{{` and the like stay as they were typed; whoever renders the text escapes it.
    """
    text = unicodedata.normalize("NFC", value.replace("\r\n", "\n").replace("\r", "\n"))
    if text.isprintable():  # Then it holds none of them.
        return text.strip()
    return "".join(char for char in text if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs"}).strip()


def bounded(value: str, *, field: str, limit: int, empty: bool = False) -> str:
    """The cleaned text; raises `ValidationError` naming the field and the bound when it is empty or too long."""
    text = clean(value)
    if not text and not empty:
        raise _invalid(field, "must not be empty")
    if len(text) > limit:
        raise _invalid(field, f"may have at most {limit} characters, this has {len(text)}")
    return text


def _invalid(field: str, message: str) -> ValidationError:
    return ValidationError(f"{field} {message}.", errors=[{"field": field, "message": message}])
