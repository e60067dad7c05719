"""What a dreamer does with a turn: tells, greets, asks, doubts, is silent, takes leave."""

import re
import tomllib
from enum import StrEnum
from functools import cache
from importlib.resources import files

from oneiro.dreamwork.grammar import listed
from oneiro.dreamwork.lexicon import tokens


class Move(StrEnum):
    """The kinds of turn that are answered in a way of their own; `told` is everything else."""

    told = "told"
    silence = "silence"
    sign = "sign"
    nonsense = "nonsense"
    foreign = "foreign"
    injection = "injection"
    medical = "medical"
    real = "real"
    anger = "anger"
    goodbye = "goodbye"
    thanks = "thanks"
    forgot = "forgot"
    unsure = "unsure"
    objection = "objection"
    advice = "advice"
    meaning = "meaning"
    ideas = "ideas"
    wellbeing = "wellbeing"
    able = "able"
    greeting = "greeting"
    clarify = "clarify"
    privacy = "privacy"
    question = "question"
    tears = "tears"
    shorter = "shorter"
    sleepless = "sleepless"
    assent = "assent"
    denial = "denial"


@cache
def _rules() -> tuple[tuple[Move, int, re.Pattern[str]], ...]:
    """Read `moves.toml`: the move, the longest turn in words that may be one, and how it sounds."""
    data = tomllib.loads(files("oneiro.dreamwork").joinpath("moves.toml").read_text(encoding="utf-8"))
    return tuple(
        (Move(rule["move"]), int(rule["longest"]), re.compile("|".join(rule["patterns"]), re.IGNORECASE))
        for rule in data["rule"]
    )


_DREAMING = re.compile(
    r"\b(?:dreamt|dreamed|dream about|in (?:the|my) dream|i was|there was|we were|suddenly)\b", re.IGNORECASE
)
_SOFT = frozenset({Move.greeting, Move.thanks, Move.goodbye, Move.assent, Move.unsure, Move.forgot, Move.wellbeing})
_KEY_RUNS = (
    "qwer",
    "wert",
    "asdf",
    "sdfg",
    "dfgh",
    "fghj",
    "ghjk",
    "hjkl",
    "zxcv",
    "xcvb",
    "cvbn",
    "uiop",
    "lkjh",
    "poiu",
)
_CLUSTER = re.compile(r"[bcdfghjklmnpqrstvwxz]{5,}|(.)\1{3,}", re.IGNORECASE)
_TEARS = re.compile("[\U0001f622\U0001f62d\U0001f63f\U0001f494\U0001f61e\U0001f614\U0001f625]")
_QUESTION = re.compile(r"\?\W*$")
_MAX_QUESTION_WORDS = 20
_POLITE_WORDS = 6
_SILENT = re.compile(r"^[\s.\u2026,\-\u2013\u2014_*~!?]*$")
_ENGLISH = listed("small_words")
_FOREIGN = listed("foreign_small_words")


def recognise(text: str) -> Move:
    """Return what kind of turn `text` is; a dream with a greeting before it is `told`."""
    words = [token.lower for token in tokens(text)]
    if not words:
        return _wordless(text)
    if is_foreign(text):
        return Move.foreign
    straight = text.replace("\u2019", "'")
    dreaming = bool(_DREAMING.search(straight))
    for move, longest, pattern in _rules():
        polite_dream = move in _SOFT and dreaming and len(words) > _POLITE_WORDS
        if len(words) <= longest and not polite_dream and pattern.search(straight):
            return move
    if not dreaming and _QUESTION.search(text) and 3 <= len(words) <= _MAX_QUESTION_WORDS:
        return Move.question
    return Move.nonsense if _is_nonsense(words) else Move.told


def _wordless(text: str) -> Move:
    if _TEARS.search(text):
        return Move.tears
    return Move.silence if _SILENT.match(text) else Move.sign


def is_foreign(text: str) -> bool:
    """Tell whether `text` is likely not English: another script, or mostly another language's small words."""
    letters = [letter for letter in text[:2000] if letter.isalpha()]
    other = sum(ord(letter) > 0x24F for letter in letters)
    if letters and other * 2 > len(letters):
        return True
    words = [token.lower for token in tokens(text[:2000])]
    foreign = sum(word in _FOREIGN for word in words)
    return foreign >= 2 and foreign > 1.2 * sum(word in _ENGLISH for word in words)


def _is_nonsense(words: list[str]) -> bool:
    if len(words) > 8 or any(word in _ENGLISH for word in words):
        return False
    odd = sum(_implausible(word) for word in words)
    return odd * 2 >= len(words) > 0 and odd > 0


def _implausible(word: str) -> bool:
    if word.isdigit():
        return True
    no_vowel = len(word) > 3 and not any(letter in "aeiouyäöüéèáíóú" for letter in word)
    return no_vowel or any(run in word for run in _KEY_RUNS) or bool(_CLUSTER.search(word))
