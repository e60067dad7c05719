import time

import pytest

from oneiro.dreamwork import symbols
from oneiro.dreamwork.lexicon import inflections, plurals
from oneiro.dreamwork.symbols import SYMBOLS, Finder, Symbol
from oneiro.dreamwork.topics import TOPICS
from oneiro.dreamwork.voice import sentences

KINDS = frozenset({"nature", "animal", "place", "person", "object", "action", "body", "event"})


def _symbol(name: str, kind: str, *words: str) -> Symbol:
    return Symbol(name, words, kind, 3, ("self",), "j.", "s.", "n.", "q?")


SMALL = Finder((
    _symbol("house", "place", "house", "old house"),
    _symbol("wolf", "animal", "wolf"),
    _symbol("tooth", "body", "tooth"),
    _symbol("star", "nature", "star"),
    _symbol("falling", "action", "fall", "falling from a height"),
    _symbol("well", "object", "well"),
    _symbol("rain", "nature", "rain"),
))  # fmt: skip


def found(text: str) -> list[tuple[str, str]]:
    return [(sighting.symbol.id, sighting.words) for sighting in SMALL.find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("three Wolves came", [("wolf", "Wolves")]),
        ("my teeth and a tooth", [("tooth", "teeth"), ("tooth", "tooth")]),
        ("the old houses stood", [("house", "old houses")]),
        ("I fell and kept falling", [("falling", "fell"), ("falling", "falling")]),
        ("he was staring at me", []),
        ("the warehouse and a household", []),
        ("I feel well", []),
        ("a very old well", [("well", "well")]),
        ("it was raining", [("rain", "raining")]),
        ("the wolf's eye", [("wolf", "wolf's")]),
        ("the wolf\u2019s eye", [("wolf", "wolf\u2019s")]),
        ("", []),
    ],
)
def test_whole_words_inflections_and_the_longest_match(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


def test_a_sighting_says_where_the_words_stand() -> None:
    text = "Then an old house, and a wolf."
    for sighting in SMALL.find(text):
        assert text[sighting.start : sighting.end] == sighting.words


def test_inflections_double_a_short_final_consonant_and_drop_a_silent_e() -> None:
    assert {"run", "runs", "running", "ran"} <= inflections("run")
    assert {"chased", "chasing"} <= inflections("chase")
    assert {"buries", "buried", "burying"} <= inflections("bury")
    assert {"cities", "city's"} <= plurals("city")
    assert "caring" not in inflections("car")


def test_the_lexicon_is_large_and_sound() -> None:
    assert len(SYMBOLS) >= 200
    assert len({symbol.id for symbol in SYMBOLS}) == len(SYMBOLS)
    for symbol in SYMBOLS:
        assert symbol.kind in KINDS, symbol.id
        assert 1 <= symbol.vividness <= 5, symbol.id
        assert symbol.topics, symbol.id
        assert set(symbol.topics) <= set(TOPICS), symbol.id
        assert symbol.words, symbol.id
        for reading in (symbol.jungian, symbol.spiritual, symbol.neutral):
            assert any(not sentence.endswith("?") for sentence in sentences(reading)), symbol.id
        assert symbol.question.endswith("?"), symbol.id


def test_every_symbol_is_found_by_each_of_its_own_words() -> None:
    missed = [
        (symbol.id, word)
        for symbol in SYMBOLS
        for word in symbol.words
        if not symbols.find(f"There was the {word}.") and not symbols.find(f"{word}.")
    ]
    assert missed == []


def test_finding_in_a_long_dream_takes_less_than_five_milliseconds() -> None:
    symbols.find("water")
    text = ("I was walking down to the black lake with my brother and a white horse stood in the snow. " * 25)[:2000]
    best = min(_seconds(text + str(run)) for run in range(5))
    assert best < 0.005


def _seconds(text: str) -> float:
    began = time.thread_time()
    symbols.find(text)
    return time.thread_time() - began
