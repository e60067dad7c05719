"""How a conversation goes on after a pause: the words that open it, and what was told so far."""

from collections.abc import Sequence
from typing import Final

from oneiro.conversations.models import Sender, Tier
from oneiro.dreamwork import imagery, people
from oneiro.interpreters.variables import neutral

_ON_IMAGE: Final = {
    "en": 'I am here again. We were with "{image}". Please go on whenever you like.',
    "de": "Ich bin wieder da. Wir waren bei „{image}“. Erzähl weiter, wann immer du magst.",
}
_ON: Final = {
    "en": "I am here again. Please go on where we were, whenever you like.",
    "de": "Ich bin wieder da. Erzähl weiter, wo wir waren, wann immer du magst.",
}
_ON_SAFETY: Final = {
    "en": "I am here again. Before anything else: are you safe right now?",
    "de": "Ich bin wieder da. Vor allem anderen: bist du gerade in Sicherheit?",
}
_MOST_WORDS: Final = 12
# Enough for the last dozen turns; a model reads all of it before it says a word.
_MOST_CHARACTERS: Final = 4_000


def opening(lines: Sequence[tuple[Sender, str]], language: str, tier: Tier) -> str:
    """The first words after a pause: no greeting, but the last image the dreamer told, or a look after her."""
    code = language.partition("-")[0]
    code = code if code in _ON else "en"
    if tier in {"passive_ideation", "active_danger"}:
        return _ON_SAFETY[code]
    image = next((found for sender, line in reversed(lines) if sender == "user" and (found := _image(line))), None)
    return neutral(_ON_IMAGE[code].format(image=image)) if image else _ON[code]


def story(lines: Sequence[tuple[Sender, str]], name: str) -> str:
    """What was said so far, the latest in full, as material for the interpreter who goes on."""
    told: list[str] = []
    room = _MOST_CHARACTERS
    for sender, line in reversed(lines):
        spoken = f"{'Dreamer' if sender == 'user' else f'Interpretation by {name}'}: {' '.join(line.split())}"
        room -= len(spoken)
        if room < 0:
            break
        told.append(spoken)
    if not told:
        return "This conversation was interrupted before anything was told. It goes on now; do not greet again."
    head = "This conversation was interrupted and goes on now; do not greet again. So far:"
    return "\n".join([head, *reversed(told)])


def _image(line: str) -> str | None:
    """A short image in the dreamer's own words, what happened in it where there is room, nobody's name."""
    named = [person.words for person in people.find(line) if person.role == "named"]
    for words in (words for image in imagery.find(line) for words in (image.quote, image.short)):
        if 0 < len(words.split()) <= _MOST_WORDS and not any(name in words for name in named):
            return words
    return None
