"""`/v1/admin/dashboard` and `/v1/admin/interpreters/{id}/performance`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import AwareDatetime

from oneiro.analytics.reports.models import Dashboard, Performance
from oneiro.analytics.reports.service import Reports
from oneiro.http import Operator

router = APIRouter(prefix="/admin", tags=["operators: analytics"])


def _service(request: Request) -> Reports:
    service: Reports = request.app.state.reports
    return service


Service = Annotated[Reports, Depends(_service)]


@router.get("/dashboard")
async def read_dashboard(caller: Operator, reports: Service) -> Dashboard:
    """The last 24 hours beside the 24 before, by interpreter, and how the system is."""
    return await reports.dashboard()


@router.get("/interpreters/{interpreter_id}/performance")
async def read_performance(
    caller: Operator,
    reports: Service,
    interpreter_id: str,
    start: Annotated[AwareDatetime | None, Query(description="Without it: 30 days before `end`.")] = None,
    end: Annotated[AwareDatetime | None, Query(description="Not included; without it: now.")] = None,
) -> Performance:
    """Figures of the conversations that ended in a range of at most ten years, by release and arm."""
    return await reports.performance(interpreter_id, start, end)
