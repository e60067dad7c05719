"""Decisions of several operators over time: none is undone unseen, and whoever comes too late is told what is."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from oneiro.interpreters import documents

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
Change = Callable[..., Awaitable[None]]
SignIn = Callable[..., httpx.AsyncClient]

SIGMUND = documents.parse((Path(__file__).parents[2] / "docs" / "examples" / "sigmund.yaml").read_bytes()).data()
ARMS = [{"name": "old", "release": 1, "weight": 0.5}, {"name": "new", "release": 2, "weight": 0.5}]
CARL = "/admin/interpreters/carl"


@pytest.fixture
def operator(sign_in: SignIn) -> httpx.AsyncClient:
    return sign_in(operator=True)


@pytest.fixture
async def experiment(operator: httpx.AsyncClient) -> str:
    """Path of a running experiment of Carl's releases 1, which is the default, and 2."""
    await published(operator, name="Karl", activate=False)
    plan = {"interpreter_id": "carl", "name": "Names", "arms": ARMS}
    made = (await operator.post("/admin/experiments", json=plan)).json()
    path = f"/admin/experiments/{made['id']}"
    assert (await operator.post(f"{path}/start")).json()["status"] == "running"
    return path


async def published(operator: httpx.AsyncClient, *, activate: bool = True, **changes: Any) -> int:
    answer = await operator.post(f"{CARL}/releases", json={"changes": changes, "activate": activate})
    assert answer.status_code == 201, answer.text
    return int(answer.json()["number"])


async def promoted(operator: httpx.AsyncClient, experiment: str, arm: str = "new") -> httpx.Response:
    return await operator.post(f"{experiment}/promote", json={"arm": arm})


async def in_charge(operator: httpx.AsyncClient) -> Any:
    return (await operator.get(CARL)).json()["release"]


async def test_promoting_the_winner_again_changes_nothing(
    operator: httpx.AsyncClient, experiment: str, look: Look
) -> None:
    first = await promoted(operator, experiment)
    events = await look("SELECT count(*) AS n FROM system_events")
    second = await promoted(operator, experiment)
    assert first.json() == second.json()
    assert second.json()["status"] == "promoted"
    assert await look("SELECT count(*) AS n FROM system_events") == events


@pytest.mark.parametrize("arm", ["new", "old"])
async def test_promoting_once_more_does_not_undo_a_later_release(
    operator: httpx.AsyncClient, experiment: str, arm: str
) -> None:
    await promoted(operator, experiment)
    later = await published(operator, name="Carolus")

    again = await promoted(operator, experiment, arm)

    assert (again.status_code, again.json()["code"]) == (409, "later_release")
    assert again.json()["detail"].startswith("Release 3 of carl is in charge by a later decision; promoting")
    assert await in_charge(operator) == later == 3


async def test_another_winner_is_not_promoted_over_the_first(operator: httpx.AsyncClient, experiment: str) -> None:
    await promoted(operator, experiment)
    assert (await promoted(operator, experiment, "old")).status_code == 409
    assert await in_charge(operator) == 2


async def test_a_stopped_experiment_is_promoted_unless_something_took_charge_since(
    operator: httpx.AsyncClient, experiment: str
) -> None:
    await operator.post(f"{experiment}/stop")
    await published(operator, name="Carolus")
    assert (await promoted(operator, experiment)).json()["code"] == "later_release"
    await operator.post(f"{CARL}/releases/2/activate")
    assert (await promoted(operator, experiment)).json()["status"] == "promoted"


async def test_promoting_undoes_nothing_though_the_servers_clocks_disagree(
    operator: httpx.AsyncClient, clock: Any
) -> None:
    """This process believes that it is later than the database does, so what happens next seems to lie before."""
    clock.advance(1800)
    await published(operator, name="Karl", activate=False)
    made = await operator.post("/admin/experiments", json={"interpreter_id": "carl", "name": "Names", "arms": ARMS})
    path = f"/admin/experiments/{made.json()['id']}"
    assert (await operator.post(f"{path}/start")).json()["default_at_start"] == 1
    await published(operator, name="Carolus")

    refused = await promoted(operator, path)

    assert (refused.status_code, refused.json()["code"]) == (409, "later_release")
    assert await in_charge(operator) == 3


async def test_an_experiment_is_promoted_over_the_release_that_it_began_with(
    operator: httpx.AsyncClient, experiment: str
) -> None:
    """Though that was taken up again meanwhile."""
    await published(operator, name="Carolus")
    await operator.post(f"{CARL}/releases/1/activate")
    assert (await promoted(operator, experiment)).json()["status"] == "promoted"


async def test_retiring_stops_the_experiment_and_tells_of_it(
    operator: httpx.AsyncClient, experiment: str, look: Look
) -> None:
    retired = await operator.post(f"{CARL}/retire")

    assert (retired.status_code, retired.json()["running_experiment"]) == (200, None)
    assert (await operator.get(experiment)).json()["status"] == "stopped"
    told = await look("SELECT event_type FROM system_events ORDER BY seq DESC LIMIT 2")
    assert [row["event_type"] for row in told] == ["experiment.stopped", "interpreter.retired"]
    assert (await promoted(operator, experiment)).json()["code"] == "interpreter_not_active"
    assert await in_charge(operator) is None


async def test_an_experiment_of_a_retired_interpreter_does_not_begin(operator: httpx.AsyncClient) -> None:
    await published(operator, name="Karl", activate=False)
    plan = {"interpreter_id": "carl", "name": "Names", "arms": ARMS}
    made = (await operator.post("/admin/experiments", json=plan)).json()
    await operator.post(f"{CARL}/retire")

    started = await operator.post(f"/admin/experiments/{made['id']}/start")

    assert (started.status_code, started.json()["code"]) == (409, "interpreter_not_active")
    assert "activate one of its releases first" in started.json()["detail"]
    assert (await operator.get(f"/admin/experiments/{made['id']}")).json()["status"] == "draft"


async def test_starting_and_retiring_at_once_leave_no_experiment_running_on_nobody(
    operator: httpx.AsyncClient, sign_in: SignIn, replica: FastAPI, look: Look
) -> None:
    await published(operator, name="Karl", activate=False)
    other = sign_in(operator=True, at=replica)
    for turn in range(6):
        plan = {"interpreter_id": "carl", "name": f"Names {turn}", "arms": ARMS}
        path = f"/admin/experiments/{(await operator.post('/admin/experiments', json=plan)).json()['id']}"
        await asyncio.gather(operator.post(f"{path}/start"), other.post(f"{CARL}/retire"))
        assert await look("SELECT 1 FROM experiments WHERE status = 'running'") == []
        await operator.post(f"{CARL}/releases/1/activate")


async def test_starts_that_fail_in_one_arm_are_counted_for_it(
    operator: httpx.AsyncClient, experiment: str, sign_in: SignIn, change: Change
) -> None:
    for _ in range(6):
        client = sign_in()
        started = await client.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
        assert started.status_code == 201
    await change(
        "UPDATE conversations SET status = 'failed', ended_at = now(), error_code = 'agent_creation_failed' "
        "WHERE arm_id = (SELECT id FROM experiment_arms WHERE name = 'new')"
    )

    arms = {arm["name"]: arm for arm in (await operator.get(f"{experiment}/results")).json()["arms"]}

    assert (arms["old"]["failed"], arms["new"]["failed"]) == (0, arms["new"]["assigned"])
    assert arms["old"]["assigned"] + arms["new"]["assigned"] == 6


async def test_of_ten_who_create_one_interpreter_at_once_one_does(
    operator: httpx.AsyncClient, sign_in: SignIn, replica: FastAPI, look: Look
) -> None:
    other = sign_in(operator=True, at=replica)
    body = {"document": SIGMUND, "activate": False}

    answers = await asyncio.gather(
        *((operator, other)[place % 2].post("/admin/interpreters", json=body) for place in range(10))
    )

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"interpreter_exists"}
    assert await look("SELECT number FROM interpreter_releases WHERE interpreter_id = 'sigmund'") == [{"number": 1}]


async def test_who_is_overtaken_is_told_that_the_release_is_stored_and_how_to_activate_it(
    operator: httpx.AsyncClient, sign_in: SignIn, replica: FastAPI
) -> None:
    """Both were made from release 1; the one that provisions later finds the other in charge."""
    other = sign_in(operator=True, at=replica)
    bodies = [{"changes": {"name": name}, "activate": True, "based_on": 1} for name in ("Karl", "Carolus")]

    answers = await asyncio.gather(
        *(one.post(f"{CARL}/releases", json=body) for one, body in zip((operator, other), bodies, strict=True))
    )

    late = next(answer for answer in answers if answer.status_code == 409)
    first = next(answer for answer in answers if answer.status_code == 201).json()["number"]
    stored = ({2, 3} - {first}).pop()
    assert late.json()["code"] == "stale_release"
    assert late.json()["detail"] == (
        f"Release {stored} of carl is stored and not active. Release 1 of carl is no longer the default: {first} is. "
        f"To activate it: POST /v1/admin/interpreters/carl/releases/{stored}/activate."
    )
    assert late.json()["errors"][0]["release"] == stored
    assert late.json()["errors"][1]["field"] == "name"
    assert (await operator.post(f"{CARL}/releases/{stored}/activate")).json()["active"] is True


async def test_a_rollback_undoes_only_what_its_author_saw(operator: httpx.AsyncClient) -> None:
    await published(operator, name="Karl")
    await published(operator, name="Carolus")

    late = await operator.post(f"{CARL}/releases/1/activate", json={"based_on": 2})

    assert (late.status_code, late.json()["code"]) == (409, "stale_release")
    assert late.json()["errors"] == [{"field": "name", "before": "Karl", "after": "Carolus"}]
    assert await in_charge(operator) == 3
    assert (await operator.post(f"{CARL}/releases/1/activate", json={"based_on": 3})).json()["active"] is True
    again = await operator.post(f"{CARL}/releases/1/activate", json={"based_on": 3})
    assert (again.status_code, await in_charge(operator)) == (200, 1)


@pytest.mark.parametrize(
    ("body", "field"), [({"based_on": 0}, "based_on"), ({"basedon": 1}, "basedon"), ({"based_on": 9}, "based_on")]
)
async def test_an_activation_takes_the_release_seen_and_nothing_else(
    operator: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    await published(operator, name="Karl", activate=False)
    answer = await operator.post(f"{CARL}/releases/2/activate", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert await in_charge(operator) == 1


async def test_a_database_that_goes_away_between_storing_and_activating_is_told_with_what_became_of_it(
    operator: httpx.AsyncClient, change: Change, look: Look
) -> None:
    await change(
        "CREATE FUNCTION go_away() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'"
    )
    await change("CREATE TRIGGER away BEFORE UPDATE ON interpreter_configs FOR EACH ROW EXECUTE FUNCTION go_away()")

    body = {"changes": {"name": "Karl"}, "activate": True}
    answer = await operator.post(f"{CARL}/releases", json=body)

    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.json()["detail"].startswith("Release 2 of carl is stored; whether it is active is not known.")
    assert answer.json()["detail"].endswith("To activate it: POST /v1/admin/interpreters/carl/releases/2/activate.")
    assert answer.json()["errors"][0]["release"] == 2
    stored = await look("SELECT number FROM interpreter_releases WHERE interpreter_id = 'carl' ORDER BY number")
    assert stored == [{"number": 1}, {"number": 2}]


async def test_where_rolling_back_leads_is_shown(operator: httpx.AsyncClient) -> None:
    assert (await operator.get(CARL)).json()["previous"] is None
    for name in ("Karl", "Carolus"):
        await published(operator, name=name)
    for expected in (2, 1, None):
        previous = (await operator.get(CARL)).json()["previous"]
        assert previous == expected
        if previous:
            await operator.post(f"{CARL}/releases/{previous}/activate")


async def test_changes_at_the_same_moment_are_all_kept(operator: httpx.AsyncClient) -> None:
    """Of an interpreter that is not active each builds upon the one before."""
    await operator.post(f"{CARL}/retire")
    fields = ["stability", "similarity_boost", "style"]
    bodies = [{"changes": {"voice": {field: 0.11}}} for field in fields]

    await asyncio.gather(*(operator.post(f"{CARL}/releases", json=body) for body in bodies))

    voice = (await operator.get(CARL)).json()["document"]["voice"]
    assert [voice[field] for field in fields] == [0.11] * 3
