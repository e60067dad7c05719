"""An interpreter with two releases, and a database."""

from collections.abc import AsyncIterator

import pytest

from oneiro.database.pool import Database
from oneiro.interpreters import documents, releases


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    """The service's pool, with `ada` in releases 1 (the default) and 2."""
    database = Database(service_url)
    await database.open()
    data = {
        "id": "ada",
        "name": "Ada",
        "full_name": "Ada of the Night Desk",
        "description": "A patient listener",
        "personality": {"approach": "cognitive"},
        "prompts": [{"type": "system", "template": "You are {{ interpreter.name }}."}],
    }
    async with database.as_service() as conn:
        for name in ("Ada", "Eda"):
            await releases.publish(conn, documents.from_data(data | {"name": name}), created_by="test")
        await releases.activate(conn, "ada", 1)
    yield database
    await database.close()
