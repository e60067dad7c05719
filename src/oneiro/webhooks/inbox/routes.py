"""`POST /webhooks/elevenlabs`: at the root, since its address is written into the platform's settings."""

from typing import Annotated

from fastapi import APIRouter, Header, Request
from pydantic import BaseModel

from oneiro.http import body_of, part
from oneiro.webhooks.inbox.service import PATH, READ_SECONDS, Inbox

router = APIRouter(tags=["platform"])


class Received(BaseModel):
    """A webhook was taken; `new` is false for a repeat."""

    new: bool


Service = Annotated[Inbox, part("inbox")]


@router.post(PATH)
async def receive_platform_webhook(
    request: Request,
    inbox: Service,
    elevenlabs_signature: Annotated[str | None, Header(description="`t=…,v0=…`")] = None,
) -> Received:
    """Take what the voice platform tells after a conversation; signed, and kept once."""
    with inbox.admitted(elevenlabs_signature, request.headers.get("content-length")) as limit:
        raw = await body_of(request, limit=limit, seconds=READ_SECONDS)
        return Received(new=await inbox.receive(elevenlabs_signature, raw))
