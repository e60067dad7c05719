"""What is said when a turn is not a dream: greetings, doubts, silence, questions about the interpreter, farewells."""

import re

from oneiro.dreamwork.memory import Memory
from oneiro.dreamwork.moves import Move
from oneiro.dreamwork.reply import Draft, Piece
from oneiro.dreamwork.voice import Voice, bank, sentences

# How an idea is named, and where in `voices.toml` it is explained; the first that is met counts.
_IDEAS: tuple[tuple[str, str], ...] = (
    (r"shadow", "shadow"), (r"anim(?:a|us)\b", "anima"), (r"archetype", "archetype"),
    (r"individuation", "individuation"),
    (r"synchronicity", "synchronicity"), (r"red book", "red_book"), (r"oedipus|wish", "wish"), (r"freud", "freud"),
    (r"unconscious|subconscious", "unconscious"), (r"the self", "self"), (r"karma", "karma"), (r"dharma", "dharma"),
    (r"chakra", "chakra"), (r"past li|reincarnation", "past_life"), (r"soul", "soul"), (r"rem sleep", "rem"),
    (r"jung", "jung"),
)  # fmt: skip
CLOSINGS = frozenset({Move.goodbye, Move.thanks})


def answer(move: Move, text: str, voice: Voice, memory: Memory) -> Draft:
    """Return a whole reply to a move; a closing asks nothing and gives an image along."""
    if move in CLOSINGS:
        return _close(move, voice, memory)
    if move is Move.ideas:
        return _explain(text, voice)
    whole = voice.say(move.value, opens=True, needed=True)
    *statements, last = sentences(whole)
    if not last.endswith("?"):
        statements, last = [*statements, last], voice.ask("open") or voice.oldest("open")
    return Draft(_weighed(statements), last)


def _weighed(statements: list[str]) -> tuple[Piece, ...]:
    """The first sentence is worth most, so that it stays when words are few."""
    return tuple(Piece(sentence, max(1, 9 - at)) for at, sentence in enumerate(statements))


def _close(move: Move, voice: Voice, memory: Memory) -> Draft:
    pieces = _weighed(sentences(voice.say(move.value, opens=True, needed=True)))
    if memory.current and memory.current.noun and memory.current.symbol and not memory.dark:
        pieces = (*pieces, Piece(voice.say("keep", earlier=memory.current.short), 2))
    return Draft(pieces, None)


def _explain(text: str, voice: Voice) -> Draft:
    idea = next((name for pattern, name in _IDEAS if re.search(pattern, text, re.IGNORECASE)), "unconscious")
    first = Piece(voice.say("idea", opens=True, needed=True), 3)
    return Draft((first, Piece(bank()["idea"][idea], 9)), voice.ask_of("idea_ask"))
