"""Taking stock: what was left over on the platform goes, what is anybody else's stays."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from oneiro.database.embedded import Server
from oneiro.database.migrate import migrate
from oneiro.errors import PlatformUnavailable
from oneiro.interpreters.models import Release

Start = Callable[..., Awaitable[Any]]
Publish = Callable[..., Awaitable[Release]]
DESCRIPTION = "A low, unhurried voice, like someone speaking across still water"


@pytest.fixture
async def mark(rows: Any) -> str:
    [row] = await rows("SELECT oneiro.installation() AS mark")
    return f"oneiro-{row['mark']}-"


@pytest.fixture
def late(hand: Any) -> Any:
    """Brings the clock two days beyond the engine's, which tells the real time."""
    hand.now = hand.now.replace(year=2100)
    return hand


async def test_an_agent_bears_the_mark_of_its_installation_and_of_its_row(
    one: Any, release: Release, engine: Any, rows: Any, mark: str
) -> None:
    made = await one.agents.ensure(release, "en", "gpt-4o")

    [row] = await rows("SELECT id FROM platform_agents")
    assert (await engine.agent(made.agent_id))["tags"] == ["oneiro", f"{mark}{row['id'].hex}"]
    assert len(mark) == len("oneiro-") + 12 + 1


def test_another_installation_draws_another_mark(postgres: Server, mark: str) -> None:
    """Copies of a database keep its mark, as a restored backup must; the tests' own are copies of one."""
    name = "another_installation"
    with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}".encode())
    try:
        migrate(postgres.url(name))
        with psycopg.connect(postgres.url(name)) as conn:
            found = conn.execute("SELECT oneiro.installation(), oneiro.installation()").fetchone()
    finally:
        with psycopg.connect(postgres.admin_url, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE {name}".encode())

    assert found is not None
    assert found[0] == found[1]
    assert len(found[0]) == 12
    assert f"oneiro-{found[0]}-" != mark


async def test_agents_that_no_row_knows_go_and_all_others_stay(
    one: Any, release: Release, engine: Any, rows: Any, mark: str, late: Any
) -> None:
    kept = await one.agents.ensure(release, "en", "gpt-4o")
    [row] = await rows("SELECT id FROM platform_agents")
    spare = await engine.create(["oneiro", f"{mark}{row['id'].hex}"])
    orphan = await engine.create(["oneiro", f"{mark}{'0' * 32}"])
    strangers = [
        await engine.create(tags)
        for tags in (
            [],
            ["oneiro"],
            ["other"],
            ["oneiro", f"oneiro-ffffffffffff-{'0' * 32}"],
            ["oneiro", f"{mark}not-a-row"],
            [f"{mark}{'0' * 32}"],
        )
    ]

    assert await one.stock_taking.take() == 2
    assert await one.stock_taking.take() == 0

    assert set(await engine.agents()) == {kept.agent_id, *strangers}
    gone = {event["entity_id"]: event for event in await rows.events("agent.retired")}
    assert set(gone) == {spare, orphan}
    assert gone[spare]["interpreter_id"] == "mara"
    assert {event["reason"] for event in gone.values()} == {"orphan"}


async def test_a_young_agent_and_one_that_was_talked_to_stay(one: Any, engine: Any, hand: Any, mark: str) -> None:
    young = await engine.create(["oneiro", f"{mark}{'1' * 32}"])
    assert await one.stock_taking.take() == 0

    await engine.call(young)
    hand.now = hand.now.replace(year=2100)
    assert await one.stock_taking.take() == 0
    assert await engine.agents() == [young]


async def test_an_agent_whose_row_may_still_find_it_stays(
    one: Any, release: Release, engine: Any, late: Any, process: Start
) -> None:
    async def lose(agent_id: str) -> None:
        raise PlatformUnavailable("The answer was lost on the way.")

    one.wire.after["create_agent"] = lose
    with pytest.raises(PlatformUnavailable):
        await one.agents.ensure(release, "en", "gpt-4o")
    [lost] = await engine.agents()

    assert await one.stock_taking.take() == 0
    two = await process()
    assert (await two.agents.ensure(release, "en", "gpt-4o")).agent_id == lost


async def test_an_agent_that_the_platform_denied_by_mistake_goes_as_its_row_is_retired(
    one: Any, release: Release, engine: Any, late: Any
) -> None:
    denied = await one.agents.ensure(release, "en", "gpt-4o")
    await one.agents.forget(denied.agent_id)

    assert await one.stock_taking.take() == 1
    assert await engine.agents() == []


async def test_what_cannot_be_deleted_is_told_and_tried_again(
    one: Any, engine: Any, rows: Any, mark: str, late: Any
) -> None:
    orphan = await engine.create(["oneiro", f"{mark}{'2' * 32}"])

    async def away() -> None:
        raise PlatformUnavailable("away")

    one.wire.before["delete_agent"] = away
    assert await one.stock_taking.take() == 0
    [event] = await rows.events("agent.cleanup_failed")
    assert (event["entity_id"], event["code"]) == (orphan, "platform_unavailable")
    one.wire.before.clear()
    assert await one.stock_taking.take() == 1


async def test_of_more_agents_than_a_page_every_one_is_compared(one: Any, engine: Any, mark: str, late: Any) -> None:
    await asyncio.gather(*(engine.create(["oneiro"]) for _ in range(120)))
    orphan = await engine.create(["oneiro", f"{mark}{'3' * 32}"])

    assert await one.stock_taking.take() == 1
    assert orphan not in await engine.agents()


async def test_a_voice_that_was_designed_and_not_stored_is_found_again_by_the_next_start(
    one: Any, process: Start, release_of: Publish, engine: Any, rows: Any, hand: Any
) -> None:
    release = await release_of(voice={"voice_description": DESCRIPTION})
    reached = asyncio.Event()

    async def die() -> None:
        reached.set()
        await asyncio.Event().wait()

    one.wire.before["tune_voice"] = die
    dead = asyncio.create_task(one.agents.ensure(release, "en", "gpt-4o"))
    await asyncio.wait_for(reached.wait(), 10)
    [lost] = await engine.designed_voices()
    dead.cancel()
    with pytest.raises(asyncio.CancelledError):
        await dead
    two = await process()

    made = await two.agents.ensure(release, "en", "gpt-4o")

    assert [voice["voice_id"] for voice in await engine.designed_voices()] == [lost["voice_id"]]
    assert (await engine.agent(made.agent_id))["conversation_config"]["tts"]["voice_id"] == lost["voice_id"]
    [event] = await rows.events("voice.designed")
    assert (event["entity_id"], event["adopted"], event["interpreter_id"]) == (lost["voice_id"], True, "mara")
    assert event["ms"] >= 0
    assert "design_voice" not in two.wire.calls


async def test_voices_that_nothing_speaks_with_go_and_all_others_stay(
    one: Any, release_of: Publish, engine: Any, rows: Any, mark: str, late: Any
) -> None:
    await one.agents.ensure(await release_of(voice={"voice_description": DESCRIPTION}), "en", "gpt-4o")
    [ours] = await engine.designed_voices()
    assert ours["name"].startswith(f"Mara · {mark}")
    sha = ours["name"].removeprefix(f"Mara · {mark}")
    spare = await engine.design(f"Mara · {mark}{sha}")
    orphan = await engine.design(f"Gone · {mark}{'0' * 16}")
    named = await engine.design(f"Kept · {mark}{'1' * 16}")
    await release_of(voice={"voice_id": named})
    strangers = [await engine.design(name) for name in ("Mara", f"Mara · oneiro-ffffffffffff-{sha}", f"Mara {mark}")]

    assert await one.stock_taking.take() == 2

    left = {voice["voice_id"] for voice in await engine.designed_voices()}
    assert left == {ours["voice_id"], named, *strangers}
    assert not left & {spare, orphan}


async def test_a_young_voice_stays(one: Any, engine: Any, mark: str) -> None:
    await engine.design(f"Gone · {mark}{'0' * 16}")

    assert await one.stock_taking.take() == 0
