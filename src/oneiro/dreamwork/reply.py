"""Putting a reply together: whole sentences in their order, within the words allowed, one question last."""

from collections.abc import Iterable
from dataclasses import dataclass

from oneiro.dreamwork.voice import sentences

LAST_RESORT = "What happened next?"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some sentences of a reply; when room is short those of the smallest `worth` go first."""

    text: str
    worth: int


@dataclass(frozen=True, slots=True)
class Draft:
    """What a reply wants to say, and what it asks; a closing asks nothing."""

    pieces: tuple[Piece, ...]
    question: str | None


def fit(draft: Draft, limit: int) -> str:
    """Return the draft in at most `limit` words (at least three), dropping whole sentences of least worth."""
    asked = _question(draft.question, limit) if draft.question is not None else None
    room = limit - (len(asked.split()) if asked else 0)
    kept = [(piece.worth, sentence) for piece in draft.pieces for sentence in _statements(piece.text)]
    while kept and sum(len(sentence.split()) for _, sentence in kept) > room:
        least = min(worth for worth, _ in kept)
        kept.pop(max(at for at, (worth, _) in enumerate(kept) if worth == least))
    return " ".join([sentence for _, sentence in kept] + ([asked] if asked else []))


def _statements(text: str) -> Iterable[str]:
    """Yield the sentences of a piece; a question in the middle of a reply would be a second one."""
    return (sentence for sentence in sentences(text) if "?" not in sentence)


def _question(text: str, limit: int) -> str:
    """Return the one question of `text`, or a short one where it has none that fits."""
    last = (sentences(text) or [""])[-1]
    fits = last.endswith("?") and last.count("?") == 1 and len(last.split()) <= limit
    return last if fits else LAST_RESORT
