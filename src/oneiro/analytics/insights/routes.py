"""`/v1/me/insights`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from oneiro.analytics.insights.models import Insights
from oneiro.analytics.insights.service import DreamerInsights
from oneiro.http import Caller

router = APIRouter(tags=["dreamer"])


def _service(request: Request) -> DreamerInsights:
    service: DreamerInsights = request.app.state.insights
    return service


Service = Annotated[DreamerInsights, Depends(_service)]
Zone = Annotated[str, Query(max_length=64, description="Where you are, as the IANA names it: `Europe/Berlin`.")]


@router.get("/me/insights")
async def read_insights(caller: Caller, insights: Service, zone: Zone = "UTC") -> Insights:
    """The symbols, feelings and people that come back in your dreams and conversations, with their nights."""
    return await insights.read(caller, zone)
