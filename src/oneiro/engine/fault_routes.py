"""The switchboard under /engine: which faults strike, and a restart. Only for this machine, with the key as header."""

import ipaddress
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request

from oneiro.engine import faults
from oneiro.engine.problems import Refusal, invalid
from oneiro.engine.state import EngineOf

router = APIRouter(prefix="/engine")
Listed = dict[str, list[dict[str, Any]]]


def _local(request: Request) -> None:
    host = request.client.host if request.client else ""
    try:
        near = ipaddress.ip_address(host).is_loopback
    except ValueError:
        near = False
    if not near:
        raise Refusal(404, "not_found", "Not Found", "not_found")


@router.get("/faults")
async def list_faults(request: Request, engine: EngineOf) -> Listed:
    """Every fault, with how often it has struck."""
    _local(request)
    return {"faults": [fault.model_dump() for fault in engine.faults.all()]}


@router.post("/faults")
async def add_faults(request: Request, engine: EngineOf, body: Annotated[Any, Body()]) -> Listed:
    """Add faults: `{"faults": [{"kind": …}]}`."""
    _local(request)
    engine.faults.add(_read(body))
    return await list_faults(request, engine)


@router.put("/faults")
async def set_faults(request: Request, engine: EngineOf, body: Annotated[Any, Body()]) -> Listed:
    """Put these faults in place of all others."""
    _local(request)
    found = _read(body)
    engine.faults.clear()
    engine.faults.add(found)
    return await list_faults(request, engine)


@router.delete("/faults")
async def clear_faults(request: Request, engine: EngineOf) -> Listed:
    """Behave well again."""
    _local(request)
    engine.faults.clear()
    return await list_faults(request, engine)


@router.post("/restart")
async def restart(request: Request, engine: EngineOf) -> dict[str, bool]:
    """Forget agents, voices, conversations and signatures, and break every socket, as a restart would."""
    _local(request)
    engine.restart()
    return {"restarted": True}


def _read(body: Any) -> list[faults.Fault]:
    try:
        return faults.parse(body.get("faults") if isinstance(body, dict) else None)
    except ValueError as error:
        raise invalid(("body", "faults"), str(error), "value_error") from None
