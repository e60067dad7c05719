"""`/v1/me`."""

from typing import Annotated

from fastapi import APIRouter

from oneiro.dreamers.models import Dreamer, DreamerChange
from oneiro.dreamers.service import Dreamers
from oneiro.http import Caller, part

router = APIRouter(tags=["dreamer"])


Service = Annotated[Dreamers, part("dreamers")]


@router.get("/me")
async def read_me(caller: Caller, dreamers: Service) -> Dreamer:
    """Your profile, consents and minutes of today."""
    return await dreamers.me(caller)


@router.patch("/me")
async def change_me(caller: Caller, dreamers: Service, change: DreamerChange) -> Dreamer:
    """Change your name, language, region, year of birth or consents."""
    return await dreamers.change(caller, change)
