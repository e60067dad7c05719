"""A copy of the database, or a restored backup, takes nothing of the original's away."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from oneiro.breaker import CircuitBreaker
from oneiro.database.embedded import Server
from oneiro.errors import Conflict
from oneiro.interpreters.models import Release
from oneiro.interpreters.overview.models import Settling
from oneiro.interpreters.overview.service import PlatformOverview

Publish = Callable[..., Awaitable[Release]]
Copy = Callable[[], Awaitable[str]]
DESCRIBED = {"voice_description": "A low, unhurried voice, like someone speaking across still water"}


@pytest.fixture
async def copy(postgres: Server, one: Any, db_name: str) -> AsyncIterator[Copy]:
    """Copies the test's database while nobody is connected to it; the address of the copy."""
    name = f"{db_name}_copy"

    def run(statement: str) -> None:
        names = {"copy": sql.Identifier(name), "database": sql.Identifier(db_name)}
        with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
            conn.execute(sql.SQL(statement).format(**names))

    async def make() -> str:
        await one.db.close()
        run("CREATE DATABASE {copy} TEMPLATE {database}")
        return postgres.url(name, user="oneiro_service")

    yield make
    run("DROP DATABASE IF EXISTS {copy} WITH (FORCE)")


@pytest.fixture
async def original(one: Any, release_of: Publish, engine: Any) -> str:
    """An agent with a voice of its own that was talked to."""
    release = await release_of(voice=DESCRIBED)
    made = await one.agents.ensure(release, "en", "gpt-4o")
    await engine.call(made.agent_id)
    return str(made.agent_id)


def overview_of(process: Any, hand: Any) -> PlatformOverview:
    return PlatformOverview(process.db, [CircuitBreaker("agents")], slots=10, clock=hand)


async def leave(process: Any, hand: Any, sweep: Callable[..., Awaitable[int]]) -> int:
    """Nobody wants the agent any more, and its days pass."""
    async with process.db.as_service() as conn:
        await conn.execute("UPDATE interpreter_configs SET is_active = false")
    await sweep(process)
    hand.now = hand.now.replace(year=2100)
    return await sweep(process) + int(await process.stock_taking.take())


async def test_a_copy_deletes_nothing_until_an_operator_says_which(
    original: str, copy: Copy, process: Any, engine: Any, hand: Any, sweep: Any
) -> None:
    staging = await process(url=await copy())

    assert await leave(staging, hand, sweep) == 0

    assert await engine.agents() == [original]
    assert len(await engine.designed_voices()) == 1
    assert (await overview_of(staging, hand).read()).home == "elsewhere"


async def test_a_deletion_that_was_enqueued_before_the_copy_is_not_done_in_it(
    original: str, one: Any, copy: Copy, process: Any, engine: Any, hand: Any, rows: Any
) -> None:
    [row] = await rows("SELECT id FROM platform_agents")
    async with one.db.as_service() as conn:
        await conn.execute("UPDATE platform_agents SET state = 'retiring', retired_at = created_at")
    staging = await process(url=await copy())

    await staging.agents.retire(row["id"])

    assert await engine.agents() == [original]


async def test_a_copy_that_is_told_so_makes_agents_of_its_own_and_never_touches_the_originals(
    original: str, copy: Copy, process: Any, engine: Any, hand: Any, sweep: Any, release_now: Any
) -> None:
    staging = await process(url=await copy())
    overview = overview_of(staging, hand)
    await overview.settle(Settling(database="copied"))

    own = await staging.agents.ensure(await release_now(staging), "en", "gpt-4o")

    assert own.agent_id != original
    assert len(await engine.designed_voices()) == 2
    tags = [(await engine.agent(agent))["tags"][1].split("-")[1] for agent in (original, own.agent_id)]
    assert tags[0] != tags[1]
    assert await leave(staging, hand, sweep) == 1
    assert await engine.agents() == [original]
    with pytest.raises(Conflict):
        await overview.settle(Settling(database="copied"))


async def test_a_database_that_moved_goes_on_with_its_agents(
    original: str, copy: Copy, process: Any, engine: Any, hand: Any, sweep: Any, release_now: Any
) -> None:
    moved = await process(url=await copy())
    overview = overview_of(moved, hand)
    await overview.settle(Settling(database="moved"))

    assert (await overview.read()).home == "here"
    assert (await moved.agents.ensure(await release_now(moved), "en", "gpt-4o")).agent_id == original
    assert await leave(moved, hand, sweep) == 1
    assert await engine.agents() == []


async def test_a_backup_without_its_latest_rows_does_not_silence_the_agents_they_knew(
    original: str, one: Any, engine: Any, hand: Any
) -> None:
    async with one.db.as_service() as conn:
        await conn.execute("DELETE FROM platform_agents")
        await conn.execute("DELETE FROM platform_voices")
    hand.now = hand.now.replace(year=2100)

    assert await one.stock_taking.take() == 0

    assert await engine.agents() == [original]
    assert len(await engine.designed_voices()) == 1
