"""A conversation in a few sentences and its own words: who, how long, the images and feelings, where it ended."""

from collections.abc import Sequence

from oneiro.dreamwork import feelings, imagery, moves, people, phrases, topics
from oneiro.dreamwork.imagery import Image
from oneiro.dreamwork.moves import Move

_DREAMER = frozenset({"user", "dreamer"})
_MAX_IMAGES, _MAX_FEELINGS, _MAX_THEMES = 3, 3, 3
_UNREADABLE = frozenset({Move.foreign, Move.nonsense, Move.injection})
_MAX_CHARS = 8_000


def summarise(messages: Sequence[tuple[str, str]], *, name: str, seconds: int) -> str:
    """Summarise (sender, text) pairs, sender "user" or "interpreter", held with `name` for `seconds`; never empty.

    What is quoted is verbatim; a span that holds somebody's name is not quoted.
    """
    told = [text[:_MAX_CHARS] for sender, text in messages if sender in _DREAMER and text.strip()]
    if not told:
        return f"A conversation with {name}, {_spoken_time(seconds)}. Nothing was told."
    readable = [text for text in told if moves.recognise(text) not in _UNREADABLE]
    parts = (
        f"A conversation with {name}, {_spoken_time(seconds)}, {_turns(len(told))}.",
        _images(readable),
        _feelings(readable),
        _themes(readable),
        _ending(readable),
    )
    return " ".join(part for part in parts if part)


def _spoken_time(seconds: int) -> str:
    minutes = round(max(0, seconds) / 60)
    if minutes < 1:
        return "less than a minute"
    return "about a minute" if minutes == 1 else f"about {minutes} minutes"


def _turns(count: int) -> str:
    return "in one turn" if count == 1 else f"in {count} turns"


def _images(told: Sequence[str]) -> str:
    best: dict[str, Image] = {}
    for image in (image for text in told for image in imagery.find(text) if _unnamed(image.quote, text)):
        best.setdefault(image.key, image)
    vivid = sorted(best.values(), key=lambda image: -image.score)[:_MAX_IMAGES]
    if not vivid:
        return "No image stood out."
    first, *others = vivid
    more = " and ".join(f'"{image.short}"' for image in others if image.short not in first.quote)
    return f'At the centre stood "{first.quote}".' + (f" There was also {more}." if more else "")


def _feelings(told: Sequence[str]) -> str:
    named = dict.fromkeys(feeling.name for text in told for feeling in feelings.find(text) if not feeling.denied)
    return f"Feelings named: {', '.join(list(named)[:_MAX_FEELINGS])}." if named else ""


def _themes(told: Sequence[str]) -> str:
    themes = list(topics.tally("\n".join(told)))[:_MAX_THEMES]
    return f"Themes: {', '.join(themes)}." if themes else ""


def _ending(told: Sequence[str]) -> str:
    closed = bool(told) and moves.recognise(told[-1]) in {Move.goodbye, Move.thanks}
    last = next((text for text in reversed(told) if moves.recognise(text) is Move.told), "")
    phrase = phrases.telling(last)
    ending = "It ended with a farewell" if closed else "It stopped"
    if phrase is None or not _unnamed(phrase.words, last):
        return f"{ending}."
    return f'{ending}; the last thing told was "{phrase.words}".'


def _unnamed(quote: str, text: str) -> bool:
    """Tell whether no one is called by name in the words to quote."""
    return not any(person.words in quote for person in people.find(text) if person.role == "named")
