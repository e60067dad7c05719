"""`/metrics`, for whoever is on this machine and for operators."""

import ipaddress
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, Request, Response

from oneiro import http
from oneiro.errors import Unauthenticated
from oneiro.metrics import CONTENT_TYPE
from oneiro.monitoring.service import Monitoring

router = APIRouter(tags=["health"])


async def watcher(request: Request, caller: http.CallerIfAny) -> None:
    """Let in a scraper on this machine, or an operator."""
    if is_local(request):
        return
    if caller is None:
        raise Unauthenticated("Send an operator's token: Authorization: Bearer …")
    await http.operator(caller)


def is_local(request: Request) -> bool:
    """Whether the request comes from this machine itself and was not passed on by a proxy that runs here.

    The Host header is looked at too: a foreign page that points its own name at 127.0.0.1 gets nothing.
    """
    forwarded = {"forwarded", "x-forwarded-for", "x-real-ip"} & set(request.headers)
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname
    return not forwarded and _loopback(request.client and request.client.host) and _loopback(host)


def _loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


@router.get("/metrics", dependencies=[Depends(watcher)], response_class=Response)
async def metrics(request: Request) -> Response:
    """Figures for Prometheus; from this machine, or with an operator's token."""
    monitoring: Monitoring = request.app.state.monitoring
    return Response(await monitoring.render(), media_type=CONTENT_TYPE)
