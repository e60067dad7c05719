"""`/v1/me/insights`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from oneiro.analytics.insights.models import Insights
from oneiro.analytics.insights.service import DreamerInsights
from oneiro.http import Caller

router = APIRouter(tags=["dreamer"])


def _service(request: Request) -> DreamerInsights:
    service: DreamerInsights = request.app.state.insights
    return service


Service = Annotated[DreamerInsights, Depends(_service)]


@router.get("/me/insights")
async def read_insights(caller: Caller, insights: Service) -> Insights:
    """The symbols, feelings and people that come back in your dreams and conversations, with their nights."""
    return await insights.read(caller)
