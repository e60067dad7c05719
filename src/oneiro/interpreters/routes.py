"""`/v1/interpreters`."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from oneiro.http import CallerIfAny, ListOf
from oneiro.interpreters.cards import Cards
from oneiro.interpreters.models import Card

router = APIRouter(prefix="/interpreters", tags=["interpreters"])


def _service(request: Request) -> Cards:
    service: Cards = request.app.state.cards
    return service


Service = Annotated[Cards, Depends(_service)]


@router.get("")
async def list_interpreters(caller: CallerIfAny, cards: Service) -> ListOf[Card]:
    """The interpreters you can talk to, by name; prompts are never shown."""
    return ListOf(items=await cards.list(caller), next_cursor=None)


@router.get("/{interpreter_id}")
async def read_interpreter(caller: CallerIfAny, cards: Service, interpreter_id: str) -> Card:
    """One interpreter's card."""
    return await cards.read(caller, interpreter_id)
