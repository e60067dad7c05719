"""Pages of a list by an opaque cursor, which survives deletions between two pages."""

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from typing import TypeVar

from oneiro.engine.problems import Refusal

Item = TypeVar("Item")
Key = tuple[str | int, str]


def page(
    items: Iterable[Item], key: Callable[[Item], Key], *, size: int, cursor: str | None, descending: bool
) -> tuple[list[Item], str | None]:
    """The items after the cursor in the order of `key`, at most `size`, and the cursor of the next page."""
    ordered = sorted(items, key=key, reverse=descending)
    if cursor and ordered:
        last = _read(cursor, type(key(ordered[0])[0]))
        ordered = [item for item in ordered if _after(key(item), last, descending=descending)]
    shown = ordered[:size]
    return shown, _write(key(shown[-1])) if len(ordered) > size else None


def _after(key: Key, last: Key, *, descending: bool) -> bool:
    return key < last if descending else key > last


def _write(key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


def _read(cursor: str, kind: type[str | int]) -> Key:
    """The key in a cursor; a cursor that is not of this list is refused."""
    try:
        head, tail = json.loads(base64.urlsafe_b64decode(cursor.encode()))
    except (ValueError, TypeError, binascii.Error):
        raise Refusal(400, "invalid_cursor", "The cursor is not valid.") from None
    if type(head) is not kind:
        raise Refusal(400, "invalid_cursor", "The cursor is that of another list.")
    return head, str(tail)
