"""Which release a dreamer gets: once, for good, on every replica."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from oneiro.database.pool import Database
from oneiro.interpreters.experiments import store
from oneiro.interpreters.experiments.models import ArmPlan, Chosen, Eligibility, ExperimentPlan
from oneiro.interpreters.experiments.service import choose
from oneiro.interpreters.store import active_release

NOW = datetime(2026, 11, 23, tzinfo=UTC)


async def running(database: Database, **eligibility: Any) -> UUID:
    plan = ExperimentPlan(
        interpreter_id="ada",
        name="Names",
        eligibility=Eligibility(**eligibility),
        arms=[ArmPlan(name="old", release=1, weight=0.5), ArmPlan(name="new", release=2, weight=0.5)],
    )
    async with database.as_service() as conn:
        experiment_id = await store.insert(conn, plan, "test")
        for arm in plan.arms:
            row = await conn.execute(
                "SELECT id FROM interpreter_releases WHERE interpreter_id = 'ada' AND number = %s", (arm.release,)
            )
            found = await row.fetchone()
            assert found is not None
            await store.insert_arm(conn, experiment_id, arm, found[0])
        await store.begin(conn, experiment_id, 1, NOW)
    return experiment_id


async def chosen(database: Database, user_id: UUID, language: str = "en") -> Chosen:
    async with database.as_service() as conn:
        await conn.execute("INSERT INTO profiles (user_id) VALUES (%s) ON CONFLICT DO NOTHING", (user_id,))
        default = await active_release(conn, "ada")
        assert default is not None
        return await choose(conn, default, user_id, language)


async def test_without_an_experiment_everybody_gets_the_default(database: Database) -> None:
    found = await chosen(database, uuid4())
    assert (found.release.number, found.arm_id) == (1, None)


async def test_a_dreamer_keeps_her_arm_and_arms_are_mixed(database: Database) -> None:
    await running(database)
    dreamers = [uuid4() for _ in range(60)]

    first = [await chosen(database, one) for one in dreamers]
    second = [await chosen(database, one) for one in dreamers]

    assert [one.arm_id for one in first] == [one.arm_id for one in second]
    assert set(Counter(one.arm for one in first)) == {"old", "new"}
    assert all(one.release.number == (2 if one.arm == "new" else 1) for one in first)


async def test_she_is_told_of_once_however_many_starts_there_are_at_the_same_moment(
    database: Database, db_url: str
) -> None:
    experiment_id = await running(database)
    dreamer = uuid4()
    await chosen(database, dreamer, "en")

    found = await asyncio.gather(*(chosen(database, dreamer) for _ in range(10)))

    assert len({one.arm_id for one in found}) == 1
    async with await psycopg.AsyncConnection.connect(db_url) as conn:
        events = await (
            await conn.execute(
                "SELECT entity_id, event_data, user_id FROM system_events WHERE event_type = 'experiment.assigned'"
            )
        ).fetchall()
    [(entity_id, data, user_id)] = events
    assert (entity_id, user_id) == (str(experiment_id), dreamer)
    assert data["arm"] == found[0].arm


async def test_only_conversations_in_its_languages_take_part(database: Database) -> None:
    await running(database, languages=["de"])
    dreamer = uuid4()
    assert (await chosen(database, dreamer, "en")).arm_id is None
    assert (await chosen(database, dreamer, "de")).arm_id is not None
    assert (await chosen(database, dreamer, "en")).arm_id is None


async def test_a_share_of_the_dreamers_takes_part(database: Database) -> None:
    await running(database, share=0.3)
    found = [(await chosen(database, uuid4())).arm_id for _ in range(200)]
    assert 30 <= sum(arm is not None for arm in found) <= 95


async def test_two_experiments_of_one_interpreter_cannot_run(database: Database) -> None:
    await running(database)
    with pytest.raises(psycopg.errors.UniqueViolation):
        await running(database)


async def test_when_it_stops_everybody_gets_the_default_again(database: Database) -> None:
    experiment_id = await running(database)
    dreamer = uuid4()
    await chosen(database, dreamer)
    async with database.as_service() as conn:
        await store.end(conn, experiment_id, "stopped", NOW)
    assert (await chosen(database, dreamer)).arm_id is None
