"""The reference names every event, and no other."""

import re
from pathlib import Path

from oneiro.events.models import DREAMER_TYPES, EVENT_TYPES

TEXT = (Path(__file__).parents[2] / "docs/reference/events.md").read_text()


def test_the_reference_names_every_type_and_no_other() -> None:
    section = TEXT.split("## Types")[1].split("##", maxsplit=1)[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]

    assert {name for cell in cells for name in re.findall(r"`([\w.]+)`", cell)} == set(EVENT_TYPES)


def test_a_dreamer_sees_what_the_reference_says() -> None:
    others = {name for name in DREAMER_TYPES if not name.startswith("conversation.")}

    assert others == {"safety.flagged", "safety.escalated", "disclosure.given"}
    assert all(f"`{name}`" in TEXT for name in others)
