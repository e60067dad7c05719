"""`/v1/admin/interpreters`."""

from typing import Annotated

from fastapi import APIRouter, status

from oneiro.http import Cursor, ListOf, Operator, Paged, part
from oneiro.interpreters.publishing.models import (
    Activation,
    InterpreterDetail,
    InterpreterView,
    NewInterpreter,
    NewRelease,
    Preview,
    PreviewRequest,
    ReleaseDocument,
    ReleaseView,
)
from oneiro.interpreters.publishing.service import Publishing

router = APIRouter(prefix="/admin/interpreters", tags=["operators: interpreters"])


Service = Annotated[Publishing, part("publishing")]


@router.get("")
async def list_all_interpreters(caller: Operator, publishing: Service, page: Paged) -> ListOf[InterpreterView]:
    """Interpreters, active or not, the newest first."""
    items = await publishing.interpreters(page)
    more = len(items) == page.limit
    return ListOf(items=items, next_cursor=Cursor(items[-1].created_at, items[-1].id).encode() if more else None)


@router.post("", status_code=status.HTTP_201_CREATED)
async def create_interpreter(caller: Operator, publishing: Service, new: NewInterpreter) -> ReleaseView:
    """A whole new interpreter from one document, active at once unless you say otherwise."""
    return await publishing.create(caller, new)


@router.get("/{interpreter_id}")
async def read_interpreter_whole(caller: Operator, publishing: Service, interpreter_id: str) -> InterpreterDetail:
    """One interpreter with the document of its default release and its agents on the platform."""
    return await publishing.interpreter(interpreter_id)


@router.get("/{interpreter_id}/releases")
async def list_releases(caller: Operator, publishing: Service, interpreter_id: str, page: Paged) -> ListOf[ReleaseView]:
    """Releases, the newest first."""
    items = await publishing.releases(interpreter_id, page)
    more = len(items) == page.limit
    last = Cursor(items[-1].created_at, str(items[-1].number)).encode() if more else None
    return ListOf(items=items, next_cursor=last)


@router.post("/{interpreter_id}/releases", status_code=status.HTTP_201_CREATED)
async def publish_release(caller: Operator, publishing: Service, interpreter_id: str, new: NewRelease) -> ReleaseView:
    """Publish changes or a whole document as the next release, and make it the default with `activate`."""
    return await publishing.publish(caller, interpreter_id, new)


@router.get("/{interpreter_id}/releases/{number}")
async def read_release(caller: Operator, publishing: Service, interpreter_id: str, number: int) -> ReleaseDocument:
    """One release with its document."""
    return await publishing.release(interpreter_id, number)


@router.post("/{interpreter_id}/releases/{number}/activate")
async def activate_release(
    caller: Operator, publishing: Service, interpreter_id: str, number: int, wanted: Activation | None = None
) -> ReleaseView:
    """Make a release the default; an earlier one rolls back, any brings a retired interpreter back.

    With `based_on` it is refused when another release took charge since you looked.
    """
    return await publishing.activate(interpreter_id, number, based_on=wanted.based_on if wanted else None)


@router.post("/{interpreter_id}/preview")
async def preview_release(
    caller: Operator, publishing: Service, interpreter_id: str, wanted: PreviewRequest
) -> Preview:
    """What the platform and the dreamer would get; nothing is stored."""
    return await publishing.preview(interpreter_id, wanted)


@router.post("/{interpreter_id}/retire")
async def retire_interpreter(caller: Operator, publishing: Service, interpreter_id: str) -> InterpreterView:
    """Take an interpreter out of service; nobody can start with it any more."""
    return await publishing.retire(interpreter_id)
