"""Help lines by region, the card a dreamer sees and the words an interpreter says in her stead.

Numbers live in `resources.toml`, each with the public page that states it and the day it was read there.
"""

import tomllib
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import BaseModel, ConfigDict, computed_field

from oneiro.safety.crisis import Tier, assess

INTERNATIONAL = "international"


class Line(BaseModel):
    """A place where a person answers. `phone` is as people write it, `tel` for a `tel:` link."""

    model_config = ConfigDict(frozen=True)

    name: str
    phone: str | None = None
    text_to: str | None = None
    url: str | None = None
    hours: str
    languages: tuple[str, ...]
    region: str

    @computed_field  # type: ignore[prop-decorator]  # Pydantic documents this pair; mypy has no rule for it.
    @property
    def tel(self) -> str | None:
        """Digits only."""
        return None if self.phone is None else "".join(char for char in self.phone if char.isdigit())


class Card(BaseModel):
    """What is shown beside the conversation. `checked` is the day the oldest of its entries was read at its source."""

    model_config = ConfigDict(frozen=True)

    tier: Tier
    title: str
    text: str
    lines: tuple[Line, ...]
    checked: date


_TITLES = {
    Tier.passive_ideation: "You do not have to carry this alone",
    Tier.active_danger: "Your safety comes first, right now",
}
_TEXTS = {
    Tier.passive_ideation: (
        "What you said sounds heavy, and it matters. People at these lines listen day and night, without judging. "
        "You can stay here too: nothing ends because you spoke about it."
    ),
    Tier.active_danger: (
        "If you or someone else is in danger now, please call {emergency} or ask a person near you to do it. "
        "The lines below listen as well. You can stay here while you call: this conversation does not hang up."
    ),
}
_LOCAL = "your local emergency number"


def card(tier: Tier, region: str | None, language: str = "en") -> Card | None:
    """The card for a tier in a region (ISO 3166-1 alpha-2, any case); None for `none` and `dream_content`.

    A dream of death is no alarm. In active danger the emergency number stands first, where one is confirmed. Lines in
    the dreamer's language stand before others, and the international directories close every card.
    """
    if tier not in _TITLES:
        return None
    code = known_region(region)
    urgent = emergency(code)
    first = (urgent,) if urgent and tier is Tier.active_danger else ()
    short = language.lower().replace("_", "-").split("-")[0]
    local = sorted(_lines(code), key=lambda line: short not in line.languages) if code != INTERNATIONAL else []
    return Card(
        tier=tier,
        title=_TITLES[tier],
        text=_TEXTS[tier].format(emergency=_named(urgent)),
        lines=(*first, *local, *_lines(INTERNATIONAL)),
        checked=min(_dates(code) + _dates(INTERNATIONAL)),
    )


def spoken(tier: Tier, region: str | None) -> str | None:
    """What an interpreter says, to be read aloud; None where she goes on with the dream."""
    if tier not in _TITLES:
        return None
    code = known_region(region)
    line = _line_words(code)
    if tier is Tier.active_danger:
        return (
            "I am setting the dream aside, because you matter more. I am an AI, and you deserve a person with you now. "
            f"If there is danger this moment, please call {_named(emergency(code))}. {line} "
            "I am staying here with you. Are you safe right now?"
        )
    return (
        "Thank you for telling me that. It sounds so heavy, and I am glad you said it aloud. I am an AI, so I would "
        f"like you to have a person beside you too. {line} I am staying right here. Are you safe right now?"
    )


def guardrail(text: str) -> str | None:
    """The words to say instead of the brain's when the dreamer's words need care first; else None."""
    return spoken(assess(text), None)


def regions() -> list[str]:
    """The region codes we have lines for, without the international entry."""
    return [code for code in _resources() if code != INTERNATIONAL]


def known_region(region: str | None) -> str:
    """The code under which we have lines; `international` for anything else."""
    code = (region or "").strip().upper()
    return code if code in _resources() else INTERNATIONAL


def emergency(code: str) -> Line | None:
    """The emergency number of a region as a line."""
    entry = _resources()[code].get("emergency")
    if entry is None:
        return None
    return Line(name="Emergency services", phone=entry["phone"], hours="24/7", languages=(), region=code)


def _named(urgent: Line | None) -> str:
    return urgent.phone if urgent and urgent.phone else _LOCAL


def _line_words(code: str) -> str:
    if code == INTERNATIONAL:
        return "People listen day and night: the help lines for where you are stand on your screen."
    line = _lines(code)[0]
    reach = f"call {line.phone}" if line.phone else f"text {line.text_to}"
    return f"You can {reach} to reach {line.name}; it stands on your screen."


def _lines(code: str) -> list[Line]:
    return [Line.model_validate({**entry, "region": code}) for entry in _resources()[code]["line"]]


def _dates(code: str) -> list[date]:
    entry = _resources()[code]
    urgent = [entry["emergency"]["checked"]] if "emergency" in entry else []
    return urgent + [line["checked"] for line in entry["line"]]


@cache
def _resources() -> dict[str, dict[str, Any]]:
    data = tomllib.loads(files("oneiro.safety").joinpath("resources.toml").read_text("utf-8"))
    return {entry["code"]: entry for entry in data["region"]}
