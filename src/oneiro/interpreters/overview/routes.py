"""`/v1/admin/platform`."""

from fastapi import APIRouter, Request

from oneiro.http import Operator
from oneiro.interpreters.overview.models import PlatformView
from oneiro.interpreters.overview.service import PlatformOverview

router = APIRouter(tags=["operators: platform"])


@router.get("/admin/platform")
async def read_platform(caller: Operator, request: Request) -> PlatformView:
    """Breakers, agents and voices that are kept, slots, drift."""
    overview: PlatformOverview = request.app.state.platform_overview
    return await overview.read()
