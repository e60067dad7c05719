"""A dreamer's own view: what recurs, on which nights, and nobody else's."""

import asyncio
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from oneiro import http
from oneiro.analytics.insights import routes
from oneiro.analytics.insights.findings import Findings
from oneiro.analytics.insights.models import Insights
from oneiro.analytics.insights.service import AT_ONCE, SHOWN, DreamerInsights, recurring
from oneiro.analytics.insights.store import MOST_CHARACTERS, MOST_CONVERSATIONS, MOST_DREAMS, Told
from oneiro.auth import Identity, SharedSecret, Tokens, issue_token
from oneiro.database.pool import Database
from oneiro.errors import TooMany

House = Any
Talk = Any
Read = Callable[..., Any]
SECRET = "a secret of at least thirty-two bytes"
NIGHT = datetime(2026, 11, 1, 6, tzinfo=UTC)
EMPTY = {
    "symbols": [],
    "feelings": [],
    "people": [],
    "dreams": 0,
    "conversations": 0,
    "left_out": 0,
    "older": 0,
    "since": None,
    "zone": "UTC",
}


@pytest.fixture
def read(database: Database) -> Read:
    """Asks for a dreamer's insights as she does."""
    app = FastAPI()
    http.install_problems(app)
    app.state.tokens = Tokens(SharedSecret(SECRET), audience="authenticated")
    app.state.insights = DreamerInsights(database)
    app.include_router(routes.router, prefix="/v1")

    async def ask(user_id: UUID, status: int = 200, **params: str) -> Any:
        token = issue_token(SECRET, user_id=user_id, ttl=timedelta(hours=1), now=datetime.now(UTC))
        headers = {"Authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/v1", headers=headers) as client:
            answer = await client.get("/me/insights", params=params)
        assert answer.status_code == status
        return answer.json()

    return ask


async def dream(house: House, user_id: UUID, content: str, night: int, **more: Any) -> UUID:
    rows = await house.look(
        "INSERT INTO dreams (user_id, content, symbols, status, source_conversation_id, created_at)"
        " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
        user_id,
        content,
        more.get("symbols", []),
        more.get("status", "kept"),
        more.get("source"),
        NIGHT + timedelta(days=night),
    )
    found: UUID = rows[0]["id"]
    return found


def names(found: list[dict[str, Any]]) -> dict[str, int]:
    return {one["name"]: one["nights"] for one in found}


async def test_what_came_on_two_nights_recurs_with_its_nights(house: House, read: Read) -> None:
    user_id = await house.dreamer()
    first = await dream(house, user_id, "I stood at a lake with my mother and was afraid.", 0)
    second = await dream(house, user_id, "A snake swam in the lake. My mother saw it, I was afraid of it.", 5)
    await dream(house, user_id, "I was on a train.", 6)

    found = await read(user_id)

    assert names(found["symbols"]) == {"lake": 2}
    assert names(found["feelings"]) == {"fear": 2}
    assert names(found["people"]) == {"mother": 2}
    assert [night["dream_id"] for night in found["people"][0]["where"]] == [str(second), str(first)]
    assert found["people"][0]["first"] == "2026-11-01T06:00:00Z"
    assert found["people"][0]["latest"] == "2026-11-06T06:00:00Z"
    assert (found["dreams"], found["conversations"], found["since"]) == (3, 0, "2026-11-01T06:00:00Z")


async def test_without_anything_the_answer_is_empty(house: House, read: Read) -> None:
    assert await read(await house.dreamer()) == EMPTY
    assert await read(uuid4()) == EMPTY  # Somebody who has no profile yet.


async def test_another_s_dreams_are_never_in_it(house: House, talk: Callable[..., Talk], read: Read) -> None:
    user_id, other = await house.dreamer(), await house.dreamer()
    for night in range(3):
        await dream(house, other, "I stood at a lake with my mother and was afraid.", night)
        await house.write(other, talk())
    assert await read(user_id) == EMPTY


async def test_a_dream_and_the_talks_about_it_are_one_night(
    house: House, talk: Callable[..., Talk], read: Read
) -> None:
    user_id = await house.dreamer()
    lines = [("user", "My mother was there, at the lake.", 5)]
    about = await dream(house, user_id, "I stood at a lake with my mother.", 0)
    first = await house.write(user_id, talk(lines=lines))
    await house.look("UPDATE conversations SET dream_id = %s WHERE id = %s", about, first)
    assert names((await read(user_id))["people"]) == {}

    second = await house.write(user_id, talk(lines=lines, ended_at=NIGHT + timedelta(days=1)))
    assert names((await read(user_id))["people"]) == {"mother": 2}
    kept = await dream(house, user_id, "My mother was there, at the lake.", 1, source=second)
    found = await read(user_id)
    assert names(found["people"]) == {"mother": 2}
    assert {night["dream_id"] for night in found["people"][0]["where"]} == {str(about), str(kept)}


async def test_drafts_and_the_interpreter_s_words_are_not_hers(
    house: House, talk: Callable[..., Talk], read: Read
) -> None:
    user_id = await house.dreamer()
    for night in range(2):
        await dream(house, user_id, "I stood at a lake with my mother.", night, status="draft")
        await house.write(user_id, talk(lines=[("interpreter", "Was your mother at the lake?", 0)]))
    found = await read(user_id)
    assert (found["symbols"], found["people"]) == ([], [])


async def test_symbols_that_she_noted_are_found_under_their_name(house: House, read: Read) -> None:
    user_id = await house.dreamer()
    await dream(house, user_id, "It was strange.", 0, symbols=["Serpents", "Aunt  Mia's teapot"])
    await dream(house, user_id, "I saw a snake.", 1, symbols=["aunt mia's teapot"])
    assert set(names((await read(user_id))["symbols"])) >= {"snake", "aunt mia's teapot"}


async def test_it_needs_no_consent_and_leaves_nothing_behind(house: House, read: Read) -> None:
    user_id = await house.dreamer(analytics=False)
    for night in range(2):
        await dream(house, user_id, "I stood at a lake with my mother.", night)
    assert names((await read(user_id))["people"]) == {"mother": 2}
    assert await house.look("SELECT 1 FROM conversation_analytics") == []
    assert await house.look("SELECT 1 FROM system_events") == []


def told(text: str, night: int, **more: Any) -> Told:
    dream_id = uuid4()
    return Told(
        is_talk=False,
        dream_id=dream_id,
        conversation_id=None,
        date=NIGHT + timedelta(days=night),
        language=more.get("language"),
        texts=[text],
        symbols=more.get("symbols", []),
    )


def test_other_languages_are_left_out_and_said_to_be() -> None:
    german = told("ich war in dem Haus und ich habe nicht gewusst wo die Mutter ist", 0)
    chinese = told("我梦见了一条很长的河", 1)
    found = recurring([german, chinese, told("I saw my mother.", 2)])
    assert (found.dreams, found.left_out, found.people) == (1, 2, [])


def test_a_feeling_that_is_denied_and_lines_of_danger_are_not_mirrored() -> None:
    denied = [told("I was not afraid.", night) for night in range(2)]
    assert recurring(denied).feelings == []
    grave = [told("I want to kill myself with a knife tonight.", night) for night in range(2)]
    assert recurring(grave).symbols == []


def test_the_answer_is_bounded() -> None:
    words = [f"teapot number {number}" for number in range(40)]
    many = [told("I saw it.", night, symbols=words) for night in range(50)]
    found = recurring(many)
    assert len(found.symbols) == SHOWN
    assert found.symbols[0].nights == 50
    assert len(found.symbols[0].where) == 20
    assert found.symbols[0].where[0].date == NIGHT + timedelta(days=49)


async def test_only_the_latest_are_read(house: House, talk: Callable[..., Talk], read: Read) -> None:
    user_id = await house.dreamer()
    await house.look(
        "INSERT INTO dreams (user_id, content, created_at) SELECT %s, 'I saw my mother.', %s::timestamptz"
        " + make_interval(days => n) FROM generate_series(1, %s) AS n",
        user_id,
        NIGHT,
        MOST_DREAMS + 50,
    )
    conversation_id = await house.write(user_id, talk(lines=[("user", "My mother.", 0)]))
    await house.look(
        "INSERT INTO conversations (user_id, interpreter_id, status, created_at) SELECT user_id, interpreter_id,"
        " 'completed', created_at - make_interval(days => n) FROM conversations, generate_series(1, %s) AS n"
        " WHERE id = %s",
        MOST_CONVERSATIONS + 20,
        conversation_id,
    )
    found = await read(user_id)
    assert found["dreams"] == MOST_DREAMS
    assert found["conversations"] == 1
    assert found["older"] == 50 + 21
    assert found["people"][0]["nights"] == MOST_DREAMS + 1
    assert len(found["people"][0]["where"]) == 20


async def test_dreams_noted_within_minutes_are_of_one_night(house: House, read: Read) -> None:
    user_id = await house.dreamer()
    for minute in range(3):
        await house.look(
            "INSERT INTO dreams (user_id, content, created_at) VALUES (%s, 'I saw my mother.', %s)",
            user_id,
            NIGHT + timedelta(minutes=minute),
        )
    assert (await read(user_id))["people"] == []

    await dream(house, user_id, "My mother again.", 1)
    found = (await read(user_id))["people"][0]
    assert (found["name"], found["nights"], len(found["where"])) == ("mother", 2, 4)


async def test_a_night_ends_at_noon_where_she_is(house: House, read: Read) -> None:
    user_id = await house.dreamer()
    for hour in (10, 13):  # In UTC; in Tokyo 19:00 and 22:00 of the same evening.
        await house.look(
            "INSERT INTO dreams (user_id, content, created_at) VALUES (%s, 'I saw my mother.', %s)",
            user_id,
            NIGHT.replace(hour=hour),
        )
    assert names((await read(user_id))["people"]) == {"mother": 2}
    there = await read(user_id, zone="Asia/Tokyo")
    assert (there["people"], there["zone"]) == ([], "Asia/Tokyo")


@pytest.mark.parametrize("zone", ["Atlantis", "../UTC", "Europe", "", "a" * 5000, "/etc/passwd"])
async def test_a_zone_that_is_none_is_a_clear_problem(house: House, read: Read, zone: str) -> None:
    assert (await read(await house.dreamer(), 422, zone=zone))["code"] == "invalid_input"


async def test_a_full_journal_is_read_up_to_a_bound_the_newest_first(house: House, read: Read) -> None:
    user_id, long = await house.dreamer(), "The road went on and on. " * 190
    await dream(house, user_id, f"I saw my mother. {long}", 0)
    for night in range(1, 60):
        await dream(house, user_id, f"A lake. {long}", night)
    found = await read(user_id)
    read_of_it = math.ceil(MOST_CHARACTERS / (len(long) + len("A lake. ")))
    assert found["dreams"] == read_of_it
    assert found["older"] == 60 - read_of_it
    assert names(found["symbols"])["lake"] == read_of_it


async def test_what_was_read_once_is_not_read_again_until_it_changes(house: House, database: Database) -> None:
    user_id, insights = await house.dreamer(), DreamerInsights(database)
    caller = Identity(
        user_id,
        "authenticated",
        operator=False,
        expires_at=NIGHT,
        claims={"role": "authenticated", "sub": str(user_id)},
    )
    changed = await dream(house, user_id, "I stood at a lake with my mother.", 0)
    await dream(house, user_id, "I swam in a lake with my mother.", 1)
    first = await insights.read(caller)
    assert await insights.read(caller) == first
    assert (insights.findings.missed, len(insights.findings)) == (2, 2)

    await house.look("UPDATE dreams SET content = 'I was on a train.' WHERE id = %s", changed)
    assert (await insights.read(caller)).people == []
    assert insights.findings.missed == 3


def test_what_is_remembered_is_bounded() -> None:
    findings = Findings(most=10)
    for night in range(30):
        findings.of(told(f"I saw my mother, {night}.", night))
    assert len(findings) == 10


async def test_who_would_have_to_wait_for_others_is_told_to_come_again(house: House, database: Database) -> None:
    user_id, insights = await house.dreamer(), DreamerInsights(database)
    caller = Identity(
        user_id,
        "authenticated",
        operator=False,
        expires_at=NIGHT,
        claims={"role": "authenticated", "sub": str(user_id)},
    )
    for night in range(30):
        await dream(house, user_id, "I stood at a lake with my mother. " * 145, night)
    answers = await asyncio.gather(*(insights.read(caller) for _ in range(AT_ONCE + 3)), return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, TooMany)]
    assert len(refused) == 3
    assert refused[0].retry_after
    # What was found meanwhile needs no turn.
    assert all(
        isinstance(answer, Insights) for answer in await asyncio.gather(*(insights.read(caller) for _ in range(6)))
    )
