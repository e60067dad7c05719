"""The gate on three sets of labelled sentences. Figures, and what they are worth, stand in docs/why/safety.md.

`labelled` was written by somebody who had not read the rules; only its counts are looked at. `held_out` was written
by the author of the rules before measuring on it; `development` is what the rules were written against.
"""

import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from oneiro.safety.crisis import Tier, assess

Matrix = Counter[tuple[Tier, Tier]]
ALARM = (Tier.passive_ideation, Tier.active_danger)


@dataclass(frozen=True, slots=True)
class Gates:
    """What the gate honestly reaches on one set: least shares, and most for the false alarms."""

    lines: int
    active_seen: float
    active_exact: float
    passive_seen: float
    false_alarms: float
    dream_active: float


# Tighten with every better rule. The false alarms on `labelled` were let rise for the recall; the limit meant is 0.08.
GATES = {
    "labelled": Gates(260, 0.88, 0.88, 0.75, 0.16, 0.05),
    "held_out": Gates(170, 0.92, 0.92, 0.94, 0.05, 0.02),
    "development": Gates(750, 0.97, 0.96, 0.97, 0.03, 0.02),
}


@pytest.fixture(scope="module", params=list(GATES))
def measured(request: pytest.FixtureRequest) -> tuple[Matrix, Gates]:
    path = Path(__file__).with_name(f"{request.param}.toml")
    lines = tomllib.loads(path.read_text("utf-8"))["line"]
    gates = GATES[request.param]
    assert len(lines) >= gates.lines
    return Counter((Tier(line["tier"]), assess(line["text"])) for line in lines), gates


def _share(matrix: Matrix, label: Tier, given: Iterable[Tier]) -> float:
    return sum(matrix[label, tier] for tier in given) / sum(matrix[label, tier] for tier in Tier)


def _shown(matrix: Matrix) -> str:
    head = f"{'label / given':18}" + "".join(f"{tier.value:>18}" for tier in Tier)
    rows = [f"{label.value:18}" + "".join(f"{matrix[label, tier]:18}" for tier in Tier) for label in Tier]
    return "\n" + "\n".join([head, *rows])


def test_active_danger_is_seen(measured: tuple[Matrix, Gates]) -> None:
    matrix, gates = measured
    assert _share(matrix, Tier.active_danger, ALARM) >= gates.active_seen, _shown(matrix)
    assert _share(matrix, Tier.active_danger, [Tier.active_danger]) >= gates.active_exact, _shown(matrix)


def test_passive_ideation_is_seen(measured: tuple[Matrix, Gates]) -> None:
    matrix, gates = measured
    assert _share(matrix, Tier.passive_ideation, ALARM) >= gates.passive_seen, _shown(matrix)


def test_calm_words_rarely_alarm(measured: tuple[Matrix, Gates]) -> None:
    matrix, gates = measured
    assert _share(matrix, Tier.none, ALARM) <= gates.false_alarms, _shown(matrix)


def test_dreams_are_rarely_taken_for_danger(measured: tuple[Matrix, Gates]) -> None:
    matrix, gates = measured
    assert _share(matrix, Tier.dream_content, [Tier.active_danger]) <= gates.dream_active, _shown(matrix)
