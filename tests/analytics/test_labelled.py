"""How well themes and moods are read, on passages that a reader labelled; the figures are in the reference."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from oneiro.analytics import sentiment
from oneiro.analytics.conversations import words
from oneiro.dreamwork import topics

HERE = Path(__file__).parent
OWN = tomllib.loads((HERE / "labelled.toml").read_text())
BLIND = tomllib.loads((HERE / "labelled_blind.toml").read_text())
MOODS = {"positive": "positive", "negative": "negative", "neutral": "neither"}


def measured(labelled_set: dict[str, Any]) -> dict[str, float]:
    """Precision and recall of the themes the reader used; how often the mood is hers, and how often its opposite."""
    hits = found = wanted = same = opposite = 0
    passages = labelled_set["passage"]
    used = {topic for passage in passages for topic in passage["topics"]}
    for passage in passages:
        named, labelled = used & set(topics.named(passage["text"])), set(passage["topics"])
        hits, found, wanted = hits + len(named & labelled), found + len(named), wanted + len(labelled)
        score = sentiment.score(passage["text"])
        assert score is not None
        mood = MOODS[sentiment.mood(score)]
        same += mood == passage["mood"]
        opposite += {mood, passage["mood"]} == {"positive", "negative"}
    count = len(passages)
    figures = {"precision": hits / found, "recall": hits / wanted, "same": same / count, "opposite": opposite / count}
    return {**figures, **insights(labelled_set["line"])}


def insights(lines: list[dict[str, Any]]) -> dict[str, float]:
    """Precision and recall of the lines in which something becomes clear, each said after a dream was told."""
    hits = found = wanted = 0
    for line in lines:
        read = words.read(["I dreamed of my mother at the lake.", line["text"]], "en")
        assert read is not None
        seen = read.phases[-1] == "insight"
        hits, found, wanted = hits + (seen and line["insight"]), found + seen, wanted + line["insight"]
    return {"insights": hits / found, "insights_found": hits / wanted}


def test_themes_and_moods_are_read_as_well_as_was_measured() -> None:
    now = measured(OWN)
    assert now["precision"] >= 0.58
    assert now["recall"] >= 0.43
    assert now["same"] >= 0.6
    assert now["opposite"] <= 0.06
    assert now["insights"] >= 0.75
    assert now["insights_found"] >= 0.5


def test_on_words_of_somebody_who_knows_no_rule_it_is_as_poor_as_was_measured() -> None:
    now = measured(BLIND)
    assert now["precision"] >= 0.45
    assert now["recall"] >= 0.38
    assert now["same"] >= 0.45
    assert now["opposite"] <= 0.18
    assert now["insights"] >= 0.9


def test_the_reference_tells_what_is_measured() -> None:
    page = (HERE.parents[1] / "docs" / "reference" / "analytics.md").read_text()
    told = [int(number) for number in re.findall(r"\*\*(\d+) %\*\*", page)]
    pairs = zip(measured(OWN).values(), measured(BLIND).values(), strict=True)
    assert told == [round(value * 100) for pair in pairs for value in pair]


@pytest.mark.parametrize("labelled", [OWN, BLIND], ids=["own", "blind"])
def test_the_labels_are_themes_and_moods_that_there_are(labelled: dict[str, Any]) -> None:
    assert {topic for passage in labelled["passage"] for topic in passage["topics"]} <= set(topics.TOPICS)
    assert {passage["mood"] for passage in labelled["passage"]} == {"positive", "negative", "neither"}


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("", "en"),
        ("…", "en"),
        ("12 34", "en"),
        ("我梦见了一条很长的河", "en"),
        ("Я стоял один и боялся", "en"),
        ("ich war in dem Haus und ich habe nicht gewusst wo die Tür ist", "en"),
        ("I was happy and safe.", "de"),
        ("🙂🙂🙂", "en"),
    ],
)
def test_what_the_lexicon_does_not_cover_has_no_score(text: str, language: str) -> None:
    assert sentiment.score(text, language) is None


def test_a_long_line_is_scored_in_pieces_that_do_not_grow_with_it() -> None:
    text = "I was happy but sad and lost and then again glad, " * 400
    assert max(len(piece) for piece in sentiment._pieces(text)) <= 500
    assert "".join(sentiment._pieces(text)).split() == text.split()
    assert sentiment.score(text) is not None


def test_negation_is_heard() -> None:
    happy, unhappy = sentiment.score("I was happy there."), sentiment.score("I was not happy there.")
    assert happy is not None
    assert unhappy is not None
    assert happy > 0 > unhappy
