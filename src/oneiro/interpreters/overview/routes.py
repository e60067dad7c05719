"""`/v1/admin/platform`."""

from fastapi import APIRouter, Request

from oneiro.http import Operator
from oneiro.interpreters.overview.models import PlatformView, Settling
from oneiro.interpreters.overview.service import PlatformOverview

router = APIRouter(tags=["operators: platform"])


@router.get("/admin/platform")
async def read_platform(caller: Operator, request: Request) -> PlatformView:
    """Breakers, agents and voices that are kept, slots, drift."""
    overview: PlatformOverview = request.app.state.platform_overview
    return await overview.read()


@router.post("/admin/platform/home")
async def settle_home(caller: Operator, request: Request, settling: Settling) -> PlatformView:
    """Tell whether a database that changed its place was moved or copied; deletions on the platform go on then."""
    overview: PlatformOverview = request.app.state.platform_overview
    await overview.settle(settling)
    return await overview.read()
