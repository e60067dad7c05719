"""`/v1/me/export`, `DELETE /v1/me`, and `/v1/admin/dreamers…`."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Request, status
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from oneiro.http import Caller, ListOf, Operator, Paged
from oneiro.privacy.erasure.models import ErasureRequest
from oneiro.privacy.erasure.service import Erasure
from oneiro.privacy.export.models import Export
from oneiro.privacy.export.service import Exports, Written
from oneiro.privacy.operators.models import DreamerDetail, DreamerItem, DreamerPermissions
from oneiro.privacy.operators.service import DreamersForOperators

router = APIRouter()

EXPORT: dict[int | str, dict[str, Any]] = {200: {"model": Export, "description": "A file."}}


def _part(name: str) -> Any:
    def part(request: Request) -> Any:
        return getattr(request.app.state, name)

    return Depends(part)


Exporting = Annotated[Exports, _part("exports")]
Erasing = Annotated[Erasure, _part("erasure")]
Service = Annotated[DreamersForOperators, _part("dreamers_for_operators")]


class Attachment(StreamingResponse):
    """An export as a file to keep; ours is gone when it is sent, or nobody takes it."""

    media_type = "application/json"

    def __init__(self, written: Written) -> None:
        name = f"oneiro-{written.exported_at:%Y-%m-%d}.json"
        headers = {
            "Content-Disposition": f'attachment; filename="{name}"',
            "Content-Length": str(written.size),
            "Cache-Control": "no-store",
        }
        super().__init__(written.chunks(), headers=headers)
        self._written = written

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._written.file.close()


@router.get("/me/export", tags=["dreamer"], response_class=StreamingResponse, responses=EXPORT)
async def export_me(caller: Caller, exports: Exporting) -> Attachment:
    """Everything we have of you, as one JSON document to keep."""
    return Attachment(await exports.own(caller))


@router.delete("/me", tags=["dreamer"], status_code=status.HTTP_204_NO_CONTENT)
async def erase_me(caller: Caller, erasure: Erasing, request: ErasureRequest) -> None:
    """Erase everything we have of you, here and at the voice platform; a repeat changes nothing."""
    await erasure.erase(caller.dreamer(), by="dreamer")


@router.get("/admin/dreamers", tags=["dreamers"])
async def list_dreamers(caller: Operator, dreamers: Service, page: Paged) -> ListOf[DreamerItem]:
    """Dreamers, the newest first: never what they said or wrote."""
    return await dreamers.list(caller, page)


@router.get("/admin/dreamers/{user_id}", tags=["dreamers"])
async def read_dreamer(caller: Operator, dreamers: Service, user_id: UUID) -> DreamerDetail:
    """One dreamer."""
    return await dreamers.read(caller, user_id)


@router.patch("/admin/dreamers/{user_id}", tags=["dreamers"])
async def permit_dreamer(
    caller: Operator, dreamers: Service, user_id: UUID, change: DreamerPermissions
) -> DreamerDetail:
    """Say which interpreters a dreamer may talk to."""
    return await dreamers.permit(caller, user_id, change)


@router.get("/admin/dreamers/{user_id}/export", tags=["dreamers"], response_class=StreamingResponse, responses=EXPORT)
async def export_dreamer(caller: Operator, exports: Exporting, user_id: UUID) -> Attachment:
    """Everything we have of a dreamer, for her; that it was taken is noted."""
    return Attachment(await exports.of(user_id, by=caller.actor))


@router.delete("/admin/dreamers/{user_id}", tags=["dreamers"], status_code=status.HTTP_204_NO_CONTENT)
async def erase_dreamer(caller: Operator, erasure: Erasing, user_id: UUID, request: ErasureRequest) -> None:
    """Erase a dreamer as she could herself; a repeat changes nothing."""
    await erasure.erase(user_id, by=caller.actor)
