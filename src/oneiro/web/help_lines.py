"""Help lines by region, for everybody and at any time: whoever looks for them need not be signed in."""

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from oneiro.safety.cards import Line, card, emergency, known_region, regions
from oneiro.safety.crisis import Tier

router = APIRouter(tags=["help"])


class HelpLines(BaseModel):
    """Places where people answer. `region` is the one they are for; `international` when none is known for it."""

    region: str
    emergency: Line | None
    lines: tuple[Line, ...]
    checked: date
    regions: list[str]


Region = Annotated[str | None, Query(max_length=16, description="ISO 3166 country.")]


@router.get("/help-lines")
async def help_lines(region: Region = None, language: Annotated[str, Query(max_length=16)] = "en") -> HelpLines:
    """Help lines of a region, those in the given language first."""
    shown = card(Tier.passive_ideation, region, language)
    assert shown is not None  # This tier always has a card.
    code = known_region(region)
    return HelpLines(
        region=code, emergency=emergency(code), lines=shown.lines, checked=shown.checked, regions=regions()
    )
