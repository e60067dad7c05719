import asyncio
from itertools import chain
from typing import Any

import psycopg

from oneiro.database.pool import Database
from oneiro.interpreters import documents, releases, store
from oneiro.interpreters.seed import AUTHOR, load_seeds, seeds


async def load(database: Database) -> list[str]:
    async with database.as_service() as conn:
        return await load_seeds(conn)


async def count(url: str, table: str) -> Any:
    async with await psycopg.AsyncConnection.connect(url) as conn:
        row = await (await conn.execute(f"SELECT count(*) FROM {table}")).fetchone()
    assert row
    return row[0]


async def test_an_empty_database_gets_both_interpreters_ready_to_talk(database: Database) -> None:
    assert await load(database) == ["carl", "lakshmi"]
    async with database.as_service() as conn:
        active = await store.active_releases(conn)
    assert [(release.interpreter_id, release.number, release.created_by) for release in active] == [
        ("carl", 1, AUTHOR),
        ("lakshmi", 1, AUTHOR),
    ]
    assert [release.document for release in active] == seeds()


async def test_loading_again_changes_nothing(database: Database, db_url: str) -> None:
    await load(database)
    before = [await count(db_url, table) for table in ("interpreter_releases", "interpreter_prompts", "system_events")]
    assert await load(database) == []
    assert before == [
        await count(db_url, table) for table in ("interpreter_releases", "interpreter_prompts", "system_events")
    ]


async def test_two_processes_loading_at_once_make_one_release_each(database: Database, db_url: str) -> None:
    loaded = await asyncio.gather(*(load(database) for _ in range(4)))
    assert sorted(chain.from_iterable(loaded)) == ["carl", "lakshmi"]
    assert await count(db_url, "interpreter_releases") == 2


async def test_a_teams_edit_rollback_and_retirement_outlive_a_restart(database: Database) -> None:
    await load(database)
    async with database.as_service() as conn:
        karl = documents.merge(seeds()[0], {"name": "Karl"})
        made = await releases.publish(conn, karl, created_by="operator")
        await releases.activate(conn, "carl", made.number)
        await releases.retire(conn, "lakshmi")
    assert await load(database) == []
    async with database.as_service() as conn:
        carl = await store.active_release(conn, "carl")
        assert await store.active_ids(conn) == ["carl"]
    assert carl is not None
    assert (carl.number, carl.document.name) == (2, "Karl")


async def test_a_seed_the_database_does_not_know_waits_as_a_release(database: Database) -> None:
    carl = seeds()[0]
    older = documents.merge(carl, {"description": "As an older Oneiro shipped him"})
    async with database.as_service() as conn:
        await releases.publish(conn, older, created_by=AUTHOR)
        await releases.activate(conn, "carl", 1)
    assert await load(database) == ["carl", "lakshmi"]
    async with database.as_service() as conn:
        active = await store.active_release(conn, "carl")
        known = [await store.release(conn, "carl", number) for number in (2, 1)]
    assert active is not None
    assert active.number == 1
    assert [release is not None and release.document == carl for release in known] == [True, False]
