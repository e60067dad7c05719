"""Documents made from the smallest valid one, and the service's database."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from oneiro.database.pool import Database
from oneiro.interpreters import documents
from oneiro.interpreters.models import InterpreterDocument

Make = Callable[..., InterpreterDocument]


@pytest.fixture
def data() -> dict[str, Any]:
    return {
        "id": "ada",
        "name": "Ada",
        "full_name": "Ada of the Night Desk",
        "description": "A patient listener",
        "personality": {"approach": "cognitive", "traits": ["calm", "exact"]},
        "prompts": [{"type": "system", "template": "You are {{ interpreter.name }}.\n{{ dream_context }}"}],
    }


@pytest.fixture
def make(data: dict[str, Any]) -> Make:
    return lambda **changes: documents.from_data(data | changes)


@pytest.fixture
def prompted(make: Make) -> Make:
    """A document whose only prompt has this template."""
    return lambda template, kind="system", **more: make(prompts=[{"type": kind, "template": template, **more}])


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    database = Database(service_url)
    await database.open()
    yield database
    await database.close()
