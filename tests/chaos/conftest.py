"""A whole Oneiro in processes of its own, on a database that is looked into afterwards."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.pq import ExecStatus
from psycopg.rows import dict_row
from pydantic import SecretStr
from tests.chaos import clients, invariants
from tests.chaos.clients import MARKER, Dreamer, Traffic
from tests.chaos.processes import SECRET, WITHIN, House, house, until

from oneiro.database.migrate import migrate
from oneiro.database.pool import Database
from oneiro.interpreters.seed import load_seeds
from oneiro.parts import Parts, make_parts
from oneiro.settings import Settings


async def _seed(url: str) -> None:
    database = Database(url)
    await database.open()
    async with database.as_service() as conn:
        await load_seeds(conn)
    await database.close()


@pytest.fixture(scope="session")
def template(seeded: str) -> str:
    """Each test gets a copy of it."""
    return seeded


Prepare = Callable[[str, str], Awaitable[None]]


@pytest.fixture
def prepare() -> Prepare:
    """Makes an empty database a seeded one: `prepare(admin_url, service_url)`."""

    async def prepared(admin_url: str, service_url: str) -> None:
        migrate(admin_url)
        await _seed(service_url)

    return prepared


@pytest.fixture
def home(reachable_dir: Path) -> Path:
    """Where processes live and write their logs."""
    made = reachable_dir / uuid4().hex[:8]
    made.mkdir()
    made.chmod(0o711)
    return made


@pytest.fixture
async def oneiro(home: Path, service_url: str) -> AsyncIterator[House]:
    """Starts processes on the test's database; no log of theirs may hold what was said."""
    async with house(home, service_url) as made:
        yield made
    assert MARKER not in made.logs()
    assert "Traceback" not in made.logs()


@pytest.fixture
def traffic(request: pytest.FixtureRequest) -> Iterator[Traffic]:
    """What all clients of the test see; `pytest -rA` shows its figures."""
    seen = Traffic()
    yield seen
    figures = f"{seen.acknowledged.count} acknowledged, {seen.duplicates} of them known already, {seen.broken} broken"
    request.node.add_report_section("teardown", "figures", f"{figures}; answers: {dict(seen.answers)}")


SignIn = Callable[..., Awaitable[Dreamer]]


@pytest.fixture
def sign_in(traffic: Traffic) -> SignIn:
    """Signs in somebody new, at the door or at one replica: `await sign_in(operator=True, at=url)`."""

    async def signed_in(*, operator: bool = False, at: str | None = None) -> Dreamer:
        made = clients.dreamer(traffic, operator=operator)
        return made if at is None else made.at(at)

    return signed_in


Look = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture
def look(db_url: str) -> Look:
    """Runs a statement as the superuser and gives its rows."""

    async def rows(statement: str, *values: object) -> list[dict[str, Any]]:
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True, row_factory=dict_row) as conn:
            cursor = await conn.execute(statement.encode(), values)
            # Not by its description: rows without columns are rows as well.
            selects = cursor.pgresult is not None and cursor.pgresult.status == ExecStatus.TUPLES_OK
            return await cursor.fetchall() if selects else []

    return rows


Later = Callable[..., Awaitable[Parts]]


@pytest.fixture
async def later(service_url: str, oneiro: House) -> AsyncIterator[Later]:
    """The parts of a replica whose clock is ahead: `await later(minutes=10)`."""
    async with AsyncExitStack() as stack:

        async def parts(minutes: float, database_url: str = service_url) -> Parts:
            settings = Settings(
                database_url=SecretStr(database_url),
                jwt_secret=SecretStr(SECRET),
                elevenlabs_api_key=SecretStr("a key"),
                elevenlabs_base_url=oneiro.settings.get("ONEIRO_ELEVENLABS_BASE_URL"),
            )
            made = make_parts(settings, clock=lambda: datetime.now(UTC) + timedelta(minutes=minutes))
            await stack.enter_async_context(made.open())
            return made

        yield parts


Settle = Callable[..., Awaitable[None]]


@pytest.fixture
def settle(later: Later, db_url: str) -> Settle:
    """Sweeps as an hour later, waits until all is quiet, and holds the database against the invariants."""

    async def settled(acknowledged: invariants.Acknowledged | None = None, *, within: float = WITHIN) -> None:
        await (await later(minutes=60)).sweeper.sweep()

        left: dict[str, list[Any]] = {}

        async def at_rest() -> bool:
            left.clear()
            left.update(await invariants.to_be_done(db_url))
            return not left

        await until("every event is handled, every job done", at_rest, within=within, seen=left)
        assert await invariants.violations(db_url, acknowledged) == {}

    return settled


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Processes take long to start where others are at work; what hangs is told by `until` long before."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(300))
