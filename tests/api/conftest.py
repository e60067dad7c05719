"""A whole Oneiro for a test: engine on loopback, fresh database, the API called as clients call it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from psycopg import sql
from psycopg.rows import dict_row
from pydantic import SecretStr

from oneiro.app import Surroundings, create_app
from oneiro.auth import issue_token
from oneiro.database.embedded import Server
from oneiro.engine.app import running
from oneiro.engine.settings import EngineSettings
from oneiro.interpreters.seed import load_seeds
from oneiro.interpreters.store import active_releases
from oneiro.safety.cards import guardrail
from oneiro.settings import Settings

SECRET = "a secret of at least thirty-two bytes"


@pytest.fixture(scope="session")
async def engine_url() -> AsyncIterator[str]:
    """An engine, a hundred times as quick as a person; it keeps nothing that a test could meet again."""
    async with running(EngineSettings(guardrail=guardrail, speed=100)) as url:
        yield url


def made_settings(service_url: str, engine_url: str) -> Settings:
    return Settings(
        database_url=SecretStr(service_url),
        jwt_secret=SecretStr(SECRET),
        elevenlabs_api_key=SecretStr("a key"),
        elevenlabs_base_url=engine_url,
        # The client reports the lines itself: these tests are about the API; tests/relay are about the relay.
        transport="direct",
        languages=["en", "de"],
    )


@pytest.fixture(scope="session")
async def template(postgres: Server, template: str, engine_url: str) -> str:
    """Name of a database with Carl and Lakshmi and their agents at the engine, made once; each test gets a copy."""
    name = f"{template}_with_agents"
    copy = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
    with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
        conn.execute(copy)
    settings = made_settings(postgres.url(name, user="oneiro_service"), engine_url)
    app = create_app(settings, Surroundings(simulated=True), worker=False)
    async with app.router.lifespan_context(app):
        async with app.state.database.as_service() as conn:
            await load_seeds(conn)
            releases = await active_releases(conn)
        for release in releases:
            await app.state.agents.ensure(release, "en", "gpt-4o")
        async with app.state.database.as_service() as conn:
            await conn.execute("DELETE FROM system_events")
            await conn.execute("DELETE FROM agent_metrics")
    return name


@pytest.fixture
def settings(service_url: str, engine_url: str) -> Settings:
    return made_settings(service_url, engine_url)


class Clock:
    """The present, moved on by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def advance(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    """What the API takes for the present; `advance` moves it on."""
    return Clock()


@pytest.fixture
def worker() -> bool:
    """Whether the API also stamps events and runs consumers and jobs; without it nothing happens by itself."""
    return False


@pytest.fixture
async def app(settings: Settings, clock: Clock, worker: bool) -> AsyncIterator[FastAPI]:  # noqa: FBT001 - a fixture.
    """The API on a database with Carl and Lakshmi."""
    app = create_app(settings, Surroundings(simulated=True, local=True), worker=worker, clock=clock)
    async with app.router.lifespan_context(app):
        yield app


@pytest.fixture
async def replica(app: FastAPI, settings: Settings, clock: Clock) -> AsyncIterator[FastAPI]:
    """A second API on the same database, with a pool of its own."""
    second = create_app(settings, Surroundings(simulated=True, local=True), worker=False, clock=clock)
    async with second.router.lifespan_context(second):
        yield second


def token(user_id: UUID, *, operator: bool = False) -> str:
    return issue_token(SECRET, user_id=user_id, operator=operator, ttl=timedelta(hours=1), now=datetime.now(UTC))


SignIn = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def anonymous(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a token."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/v1") as client:
        yield client


@pytest.fixture
async def sign_in(app: FastAPI) -> AsyncIterator[SignIn]:
    """Makes a client of a new dreamer, or of a known one, at the API or at another replica of it."""
    made: list[httpx.AsyncClient] = []

    def client(user_id: UUID | None = None, *, at: FastAPI | None = None, operator: bool = False) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(at or app, raise_app_exceptions=False)
        headers = {"Authorization": f"Bearer {token(user_id or uuid4(), operator=operator)}"}
        made.append(httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/v1", headers=headers))
        return made[-1]

    yield client
    for one in made:
        await one.aclose()


@pytest.fixture
def dreamer(sign_in: SignIn) -> httpx.AsyncClient:
    """A client of a dreamer."""
    return sign_in()


@pytest.fixture
def other(sign_in: SignIn) -> httpx.AsyncClient:
    """A client of another dreamer."""
    return sign_in()


Look = Callable[..., Awaitable[list[dict[str, object]]]]


@pytest.fixture
def look(db_url: str) -> Look:
    """Reads rows as the superuser."""

    async def rows(statement: str, *values: object) -> list[dict[str, object]]:
        async with await psycopg.AsyncConnection.connect(db_url, row_factory=dict_row) as conn:
            cursor = await conn.execute(statement, values)
            found: list[dict[str, object]] = await cursor.fetchall()
            return found

    return rows


Change = Callable[..., Awaitable[None]]


@pytest.fixture
def change(db_url: str) -> Change:
    """Changes rows as the superuser."""

    async def execute(statement: str, *values: object) -> None:
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as conn:
            await conn.execute(statement, values)

    return execute
