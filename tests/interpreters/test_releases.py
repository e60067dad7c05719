import asyncio
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from oneiro.database.pool import Database
from oneiro.errors import Conflict, NotFound, ValidationError
from oneiro.interpreters import releases, store
from oneiro.interpreters.models import InterpreterDocument

Make = Callable[..., InterpreterDocument]


async def rows(url: str, query: str) -> list[dict[str, Any]]:
    async with await psycopg.AsyncConnection.connect(url, row_factory=dict_row) as conn:
        return await (await conn.execute(query)).fetchall()


async def published(database: Database, document: InterpreterDocument, *, active: bool = True) -> int:
    async with database.as_service() as conn:
        made = await releases.publish(conn, document, created_by="operator")
        if active:
            await releases.activate(conn, document.id, made.number)
    return made.number


async def test_a_release_is_frozen_with_its_hash_and_not_yet_the_default(
    database: Database, db_url: str, make: Make
) -> None:
    document = make()
    assert await published(database, document, active=False) == 1
    [row] = await rows(db_url, "SELECT * FROM interpreter_releases")
    assert row["document"] == document.data()
    assert (row["content_hash"], row["created_by"]) == (document.content_hash, "operator")
    async with database.as_service() as conn:
        assert await store.active_release(conn, "ada") is None
        assert await store.active_ids(conn) == []
    with pytest.raises(psycopg.Error, match="frozen"):
        await rows(db_url, "UPDATE interpreter_releases SET document = '{}' RETURNING 1")


async def test_activating_writes_the_guides_tables(database: Database, db_url: str, make: Make) -> None:
    document = make(voice={"stability": 0.55, "speaking_rate": 1.1})
    await published(database, document)
    [config] = await rows(db_url, "SELECT * FROM interpreter_configs")
    assert (config["is_active"], config["version"], config["full_name"]) == (True, 1, "Ada of the Night Desk")
    [personality] = await rows(db_url, "SELECT * FROM interpreter_personalities")
    assert (personality["approach"], personality["traits"]) == ("cognitive", ["calm", "exact"])
    assert personality["conversation_style"]["response_length"] == "moderate"
    [voice] = await rows(db_url, "SELECT * FROM interpreter_voices")
    assert (float(voice["stability"]), float(voice["speaking_rate"]), float(voice["style"])) == (0.55, 1.1, 0.3)
    [prompt] = await rows(db_url, "SELECT * FROM interpreter_prompts")
    assert (prompt["type"], prompt["name"], prompt["version"]) == ("system", "default", 1)


async def test_rolling_back_takes_up_the_old_projection_again(database: Database, db_url: str, make: Make) -> None:
    await published(database, make())
    await published(database, make(name="Eda", personality={"approach": "gestalt"}))
    async with database.as_service() as conn:
        await releases.activate(conn, "ada", 1)
        active = await store.active_release(conn, "ada")
    assert active is not None
    assert (active.number, active.document.name) == (1, "Ada")
    for table in ("personalities", "voices", "prompts"):
        found = await rows(db_url, f"SELECT version, is_active FROM interpreter_{table} ORDER BY version")
        assert [(row["version"], row["is_active"]) for row in found] == [(1, True), (2, False)]
    assert [row["name"] for row in await rows(db_url, "SELECT name FROM interpreter_configs")] == ["Ada"]


async def test_events_tell_of_every_step_once(database: Database, db_url: str, make: Make) -> None:
    await published(database, make())
    await published(database, make(name="Eda"))
    async with database.as_service() as conn:
        await releases.activate(conn, "ada", 2)
        await releases.activate(conn, "ada", 1)
        await releases.retire(conn, "ada")
        await releases.retire(conn, "ada")
    events = await rows(db_url, "SELECT event_type, event_data, entity_id FROM system_events ORDER BY seq")
    assert [(row["event_type"], row["event_data"]["number"]) for row in events] == [
        ("interpreter.released", 1),
        ("interpreter.activated", 1),
        ("interpreter.released", 2),
        ("interpreter.activated", 2),
        ("interpreter.rolled_back", 1),
        ("interpreter.retired", 1),
    ]
    assert {row["entity_id"] for row in events} == {"ada"}


async def test_a_retired_interpreter_comes_back_when_a_release_is_activated(database: Database, make: Make) -> None:
    await published(database, make())
    async with database.as_service() as conn:
        await releases.retire(conn, "ada")
        assert await store.active_release(conn, "ada") is None
        assert await store.name(conn, "ada") == "Ada"
        await releases.activate(conn, "ada", 1)
        assert await store.active_ids(conn) == ["ada"]


async def test_changes_belong_onto_the_default_not_onto_the_newest(database: Database, make: Make) -> None:
    await published(database, make())
    await published(database, make(name="Draft"), active=False)
    async with database.as_service() as conn:
        assert (await releases.base(conn, "ada")).number == 1
        await releases.retire(conn, "ada")
        assert (await releases.base(conn, "ada")).number == 2


async def test_changes_of_what_is_no_longer_the_default_are_not_stored(database: Database, make: Make) -> None:
    await published(database, make())
    async with database.as_service() as conn:
        onto = await releases.base(conn, "ada")
    await published(database, make(name="Eda"))
    with pytest.raises(releases.Moved):
        async with database.as_service() as conn:
            await releases.freeze(conn, make(description="Mine"), created_by="operator", onto=onto)


async def test_an_edit_of_a_stale_release_is_refused_with_the_differences(database: Database, make: Make) -> None:
    await published(database, make())
    await published(database, make(name="Eda"))
    with pytest.raises(Conflict) as caught:
        async with database.as_service() as conn:
            await releases.publish(conn, make(description="Mine"), created_by="operator", based_on=1)
    assert caught.value.code == "stale_release"
    assert caught.value.errors == [{"field": "name", "before": "Ada", "after": "Eda"}]


async def test_what_breaks_a_rule_leaves_nothing_behind(database: Database, db_url: str, prompted: Make) -> None:
    with pytest.raises(ValidationError):
        await published(database, prompted("{{ ''.__class__ }}"))
    assert await rows(db_url, "SELECT 1 FROM interpreter_configs") == []


async def test_a_release_without_a_system_prompt_cannot_become_the_default(database: Database, make: Make) -> None:
    number = await published(database, make(prompts=[]), active=False)
    with pytest.raises(ValidationError, match="no system prompt"):
        async with database.as_service() as conn:
            await releases.activate(conn, "ada", number)


async def test_what_does_not_exist_is_not_found(database: Database, make: Make) -> None:
    await published(database, make())
    for interpreter, number in (("nobody", 1), ("ada", 7)):
        with pytest.raises(NotFound):
            async with database.as_service() as conn:
                await releases.activate(conn, interpreter, number)


async def test_publishing_at_once_gives_each_its_own_number(database: Database, make: Make) -> None:
    numbers = await asyncio.gather(*(published(database, make(name=f"Ada {n}"), active=False) for n in range(6)))
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]


async def test_a_document_in_any_script_comes_back_unchanged(database: Database, make: Make) -> None:
    document = make(name="李雷 🌙", full_name="Ольга Ṛta", description='José said: {{ opening }} \\ "x" \' %s')
    await published(database, document)
    store.DOCUMENTS.clear()
    async with database.as_service() as conn:
        found = await store.active_release(conn, "ada")
    assert found is not None
    assert found.document == document
    assert found.document.content_hash == found.content_hash


async def previous_of(database: Database) -> int | None:
    async with database.as_service() as conn:
        return await store.previous(conn, "ada")


async def walked(database: Database, make: Make, *steps: int) -> None:
    """Activate these releases in turn, publishing up to the highest of them first; 0 retires."""
    for number in range(max(steps)):
        await published(database, make(name=f"Ada {number}"), active=False)
    for number in steps:
        async with database.as_service() as conn:
            await (releases.activate(conn, "ada", number) if number else releases.retire(conn, "ada"))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((1,), None),
        ((1, 2, 3), 2),
        ((1, 2, 3, 2), 1),  # 3 was rolled back from
        ((1, 2, 3, 2, 1), None),
        ((1, 2, 3, 1), None),  # over 2, too
        ((1, 2, 3, 2, 4), 2),  # not 3, the highest that was active
        ((1, 2, 3, 2, 4, 2), 1),
        ((1, 3, 2), 1),  # a lower number is a rollback, also when it is in charge for the first time
        ((1, 2, 1, 2), 1),  # taken up again on purpose
        ((1, 2, 0), 2),  # retired: the last in charge comes back
        ((1, 2, 1, 0), 1),
        ((1, 2, 0, 2), 1),
        ((0,), None),
    ],
)
async def test_rolling_back_leads_to_who_was_in_charge_before_and_never_to_what_was_rolled_back_from(
    database: Database, make: Make, steps: tuple[int, ...], expected: int | None
) -> None:
    if steps == (0,):
        await published(database, make(), active=False)
    else:
        await walked(database, make, *steps)
    assert await previous_of(database) == expected


async def test_of_several_creating_one_interpreter_one_succeeds(database: Database, make: Make) -> None:
    async def created() -> int:
        async with database.as_service() as conn:
            return (await releases.create(conn, make(), created_by="operator")).number

    done = await asyncio.gather(*(created() for _ in range(6)), return_exceptions=True)

    assert sorted(map(str, done)) == ["1"] + ["There is an interpreter ada already."] * 5


async def test_a_lock_on_an_interpreter_keeps_no_conversation_waiting(
    database: Database, db_url: str, make: Make
) -> None:
    await published(database, make())
    async with database.as_service() as conn, await psycopg.AsyncConnection.connect(db_url) as other:
        await store.lock(conn, "ada")
        await other.execute("SET lock_timeout = '1s'")
        await other.execute("SELECT 1 FROM interpreter_configs WHERE id = 'ada' FOR KEY SHARE")
