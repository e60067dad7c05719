"""The gate on sentences labelled by somebody who had not read its rules. The figures stand in docs/why/safety.md."""

import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from oneiro.safety.crisis import Tier, assess

Matrix = Counter[tuple[Tier, Tier]]
LABELLED = Path(__file__).with_name("labelled.toml")
# What the gate honestly reaches; the aims are 0.95, 0.85, 0.90 and 0.05. Tighten with every better rule, never loosen.
GATES = {"active seen": 0.75, "active exact": 0.74, "passive seen": 0.70, "false alarms": 0.06}
ALARM = (Tier.passive_ideation, Tier.active_danger)


@pytest.fixture(scope="module")
def matrix() -> Matrix:
    lines = tomllib.loads(LABELLED.read_text("utf-8"))["line"]
    assert len(lines) >= 260
    return Counter((Tier(line["tier"]), assess(line["text"])) for line in lines)


def _share(matrix: Matrix, label: Tier, given: Iterable[Tier]) -> float:
    return sum(matrix[label, tier] for tier in given) / sum(matrix[label, tier] for tier in Tier)


def _shown(matrix: Matrix) -> str:
    head = f"{'label / given':18}" + "".join(f"{tier.value:>18}" for tier in Tier)
    rows = [f"{label.value:18}" + "".join(f"{matrix[label, tier]:18}" for tier in Tier) for label in Tier]
    return "\n" + "\n".join([head, *rows])


def test_active_danger_is_seen(matrix: Matrix) -> None:
    assert _share(matrix, Tier.active_danger, ALARM) >= GATES["active seen"], _shown(matrix)
    assert _share(matrix, Tier.active_danger, [Tier.active_danger]) >= GATES["active exact"], _shown(matrix)


def test_passive_ideation_is_seen(matrix: Matrix) -> None:
    assert _share(matrix, Tier.passive_ideation, ALARM) >= GATES["passive seen"], _shown(matrix)


def test_calm_words_rarely_alarm(matrix: Matrix) -> None:
    assert _share(matrix, Tier.none, ALARM) <= GATES["false alarms"], _shown(matrix)


def test_dreams_are_rarely_taken_for_danger(matrix: Matrix) -> None:
    assert _share(matrix, Tier.dream_content, [Tier.active_danger]) <= 0.10, _shown(matrix)
