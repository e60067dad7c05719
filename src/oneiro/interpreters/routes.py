"""`/v1/interpreters`."""

from datetime import UTC
from typing import Annotated

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from oneiro.http import CallerIfAny, ListOf, part
from oneiro.interpreters import documents
from oneiro.interpreters.cards import Cards, Copy
from oneiro.interpreters.models import Card

router = APIRouter(prefix="/interpreters", tags=["interpreters"])
schema_router = APIRouter(tags=["interpreters"])

STALE = "Oneiro-Stale"


Service = Annotated[Cards, part("cards")]


@router.get("")
async def list_interpreters(caller: CallerIfAny, cards: Service, response: Response) -> ListOf[Card]:
    """The interpreters you can talk to, by name; prompts are never shown."""
    copy = await cards.list(caller)
    response.headers.update(_said(copy))
    return ListOf(items=list(copy.cards), next_cursor=None)


@router.get("/{interpreter_id}")
async def read_interpreter(caller: CallerIfAny, cards: Service, response: Response, interpreter_id: str) -> Card:
    """One interpreter's card."""
    card, copy = await cards.read(caller, interpreter_id)
    response.headers.update(_said(copy))
    return card


@schema_router.get("/interpreters.schema.json")
async def read_schema() -> JSONResponse:
    """The JSON Schema of the interpreter document, for editors."""
    return JSONResponse(documents.json_schema(), media_type="application/schema+json")


def _said(copy: Copy) -> dict[str, str]:
    """While the database is away the cards are a copy, and a header tells of when."""
    return {STALE: copy.read_at.astimezone(UTC).isoformat(timespec="seconds")} if copy.stale else {}
