"""Which lines of the platform's transcript are missing here, and where they belong.

A line is found again by its event id, then by order, sender and text, then by sender and text alone; an interrupted
one also by its beginning. Pure: no clock, no database.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from difflib import SequenceMatcher
from typing import Final

from oneiro.conversations.models import Sender
from oneiro.platform.port import HeldLine

_STEP: Final = timedelta(microseconds=1)
_ELLIPSES: Final = (".", "…", " ", "-", "—")


@dataclass(frozen=True, slots=True)
class Known:
    """A line that we have; `original` is what stood there before it was corrected."""

    event_id: str
    sender: Sender
    content: str
    original: str | None
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Missing:
    """A line that we have not, under the event id and at the time that it is to get."""

    event_id: str
    line: HeldLine
    at: datetime


@dataclass(frozen=True, slots=True)
class Cut:
    """A line of ours of which the dreamer heard only the beginning."""

    event_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is to be done so that we have what the platform has."""

    missing: list[Missing]
    cuts: list[Cut]


def compare(
    lines: Sequence[HeldLine], known: Sequence[Known], *, session: int, span: tuple[datetime, datetime]
) -> Comparison:
    """Compare a transcript with the lines of the same session, both in order; new times lie within `span`."""
    pairs = _Pairs(lines, known, session).found()
    return Comparison(
        missing=list(_placed(lines, known, pairs, session=session, span=span)),
        cuts=[Cut(known[j].event_id, lines[i].text) for i, j in pairs.items() if _is_cut(lines[i], known[j])],
    )


class _Pairs:
    """Finds which line is which, surest first; each is taken once."""

    def __init__(self, lines: Sequence[HeldLine], known: Sequence[Known], session: int) -> None:
        self._lines, self._known, self._session = lines, known, session
        self._pairs: dict[int, int] = {}
        self._taken: set[int] = set()

    def found(self) -> dict[int, int]:
        self._by_id()
        self._by_order()
        self._by_text()
        self._by_beginning()
        return self._pairs

    def _pair(self, i: int, j: int) -> None:
        self._pairs[i] = j
        self._taken.add(j)

    def _left(self) -> tuple[list[int], list[int]]:
        return (
            [i for i in range(len(self._lines)) if i not in self._pairs],
            [j for j in range(len(self._known)) if j not in self._taken],
        )

    def _by_id(self) -> None:
        """By the id that we gave an inserted line, or by the platform's number where the words are alike."""
        places = {(line.event_id, line.sender): j for j, line in enumerate(self._known)}
        for i, line in enumerate(self._lines):
            j = places.get((inserted_id(self._session, i), line.sender))
            if j is None and line.event_id is not None:
                j = places.get((str(line.event_id), line.sender))
                j = j if j is not None and _alike(line, self._known[j]) else None
            if j is not None and j not in self._taken:
                self._pair(i, j)

    def _by_order(self) -> None:
        left, right = self._left()
        ours = [(self._known[j].sender, _plain(self._known[j].original or self._known[j].content)) for j in right]
        theirs = [(self._lines[i].sender, _plain(self._lines[i].original or self._lines[i].text)) for i in left]
        for block in SequenceMatcher(None, theirs, ours, autojunk=False).get_matching_blocks():
            for step in range(block.size):
                self._pair(left[block.a + step], right[block.b + step])

    def _by_text(self) -> None:
        left, right = self._left()
        waiting: dict[tuple[str, str], list[int]] = {}
        for j in right:
            for words in _versions(self._known[j].content, self._known[j].original):
                waiting.setdefault((self._known[j].sender, words), []).append(j)
        for i in left:
            line = self._lines[i]
            for words in _versions(line.text, line.original):
                free = [j for j in waiting.get((line.sender, words), ()) if j not in self._taken]
                if free:
                    self._pair(i, min(free, key=lambda j: _apart(line, self._known[j])))
                    break

    def _by_beginning(self) -> None:
        left, right = self._left()
        for i in left:
            if self._lines[i].interrupted:
                j = next((j for j in right if j not in self._taken and _alike(self._lines[i], self._known[j])), None)
                if j is not None:
                    self._pair(i, j)


def inserted_id(session: int, place: int) -> str:
    """The event id of a line that comes from the platform's transcript: the same whichever way it comes."""
    return f"{session}:platform:{place}"


def _placed(
    lines: Sequence[HeldLine],
    known: Sequence[Known],
    pairs: dict[int, int],
    *,
    session: int,
    span: tuple[datetime, datetime],
) -> Iterator[Missing]:
    """The missing lines, between their neighbours in time: the platform's clock may not be ours."""
    earliest, latest = span
    last, skew = earliest - _STEP, timedelta(0)
    following = _following(known, pairs, len(lines), latest)
    for i, line in enumerate(lines):
        if i in pairs:
            paired = known[pairs[i]].occurred_at
            skew = paired - line.at if line.at else skew
            last = max(last, paired)
            continue
        at = min((line.at or last) + skew, following[i] - _STEP, latest)
        last = max(at, last + _STEP)
        yield Missing(inserted_id(session, i), line, last)


def _following(known: Sequence[Known], pairs: dict[int, int], count: int, latest: datetime) -> list[datetime]:
    """For each line the time of the next one that we have."""
    times, following = [latest] * count, latest
    for i in reversed(range(count)):
        times[i] = following
        if i in pairs:
            following = known[pairs[i]].occurred_at
    return times


def _is_cut(line: HeldLine, ours: Known) -> bool:
    """Whether the platform says that less was heard of a line than we have, and nobody has told us yet."""
    if not line.interrupted or line.sender != "interpreter" or ours.original is not None:
        return False
    heard, stored = _beginning(line.text), _plain(ours.content)
    return stored.startswith(heard) and len(heard) < len(_beginning(ours.content))


def _alike(line: HeldLine, ours: Known) -> bool:
    if line.sender != ours.sender:
        return False
    theirs, own = _versions(line.text, line.original), _versions(ours.content, ours.original)
    if set(theirs) & set(own):
        return True
    beginning = _beginning(line.text)
    return bool(beginning) and any(each.startswith(beginning) for each in own)


def _apart(line: HeldLine, ours: Known) -> timedelta:
    return abs(line.at - ours.occurred_at) if line.at else timedelta(0)


def _versions(words: str, original: str | None) -> list[str]:
    return [_plain(words), *([_plain(original)] if original else [])]


def _beginning(words: str) -> str:
    """The words without what marks that they broke off."""
    plain = _plain(words)
    while plain.endswith(_ELLIPSES):
        plain = plain[:-1]
    return plain


def _plain(words: str) -> str:
    return " ".join(words.split()).casefold()
