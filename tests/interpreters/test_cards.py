"""Cards: kept in memory, never older than two seconds while the database is there, and shown while it is away."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest

from oneiro.auth import Identity
from oneiro.database.embedded import Server
from oneiro.database.pool import Database, DatabaseUnavailable
from oneiro.errors import NotFound
from oneiro.interpreters import releases
from oneiro.interpreters.cards import Cards
from oneiro.interpreters.models import InterpreterDocument

Make = Callable[..., InterpreterDocument]


class Hand:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **span: float) -> None:
        self.now += timedelta(**span)


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    """A pool that gives up soon, so that an outage does not keep the test waiting."""
    database = Database(service_url, max_size=2, timeout=0.2)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def cards(database: Database, hand: Hand) -> Cards:
    return Cards(database, clock=hand)


async def publish(database: Database, document: InterpreterDocument) -> None:
    async with database.as_service() as conn:
        made = await releases.publish(conn, document, created_by="test")
        await releases.activate(conn, document.id, made.number)


async def names(cards: Cards) -> list[str]:
    return [card.name for card in (await cards.list(None)).cards]


async def test_a_change_is_seen_after_two_seconds_at_most(
    database: Database, cards: Cards, hand: Hand, make: Make
) -> None:
    await publish(database, make())
    assert await names(cards) == ["Ada"]
    await publish(database, make(name="Eda"))

    hand.forward(seconds=1.9)
    assert await names(cards) == ["Ada"]
    hand.forward(seconds=0.1)
    assert await names(cards) == ["Eda"]


async def test_a_rollback_and_a_retirement_are_changes(
    database: Database, cards: Cards, hand: Hand, make: Make
) -> None:
    await publish(database, make())
    await publish(database, make(name="Eda"))
    assert await names(cards) == ["Eda"]
    async with database.as_service() as conn:
        await releases.activate(conn, "ada", 1)
    hand.forward(seconds=2)
    assert await names(cards) == ["Ada"]
    async with database.as_service() as conn:
        await releases.retire(conn, "ada")
    hand.forward(seconds=2)
    assert await names(cards) == []


async def test_told_of_a_change_it_looks_at_once(database: Database, cards: Cards, make: Make) -> None:
    await publish(database, make())
    assert await names(cards) == ["Ada"]
    await publish(database, make(name="Eda"))
    cards.refresh()
    assert await names(cards) == ["Eda"]


async def test_while_nothing_changes_the_same_copy_serves_for_half_an_hour(
    database: Database, cards: Cards, hand: Hand, make: Make
) -> None:
    await publish(database, make())
    first = (await cards.list(None)).read_at
    hand.forward(minutes=29)
    assert (await cards.list(None)).read_at == first
    hand.forward(minutes=1)
    assert (await cards.list(None)).read_at == hand.now


@pytest.fixture
def outage(postgres: Server, db_name: str) -> Callable[[], AbstractContextManager[None]]:
    """Takes the test's database away while a block runs."""
    name = psycopg.sql.Identifier(db_name)

    @contextmanager
    def away() -> Iterator[None]:
        with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
            conn.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (db_name,))
            yield
            conn.execute(psycopg.sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))

    return away


async def test_while_the_database_is_away_the_copy_is_shown_and_says_so(
    outage: Callable[[], AbstractContextManager[None]], database: Database, cards: Cards, hand: Hand, make: Make
) -> None:
    await publish(database, make())
    read_at = (await cards.list(None)).read_at
    somebody = Identity(uuid4(), "authenticated", operator=False, expires_at=hand.now, claims={})

    with outage():
        # Her own list cannot be read either, and is noticed before it is time to look.
        for caller, later in ((somebody, timedelta()), (None, timedelta(hours=1)), (somebody, timedelta(hours=1))):
            hand.now += later
            copy = await cards.list(caller)
            assert ([card.name for card in copy.cards], copy.stale, copy.read_at) == (["Ada"], True, read_at)
        with pytest.raises(NotFound, match="Those there are: ada"):
            await cards.read(None, "nobody")

    async with asyncio.timeout(30):
        while (await cards.list(None)).stale:
            hand.forward(seconds=2)


async def test_without_any_copy_the_outage_is_told(
    outage: Callable[[], AbstractContextManager[None]], cards: Cards
) -> None:
    with outage(), pytest.raises(DatabaseUnavailable):
        await cards.list(None)
