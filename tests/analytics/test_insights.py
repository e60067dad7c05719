"""A dreamer's own view: what recurs, on which nights, and nobody else's."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI

from oneiro import http
from oneiro.analytics.insights import routes
from oneiro.analytics.insights.service import SHOWN, DreamerInsights, recurring
from oneiro.analytics.insights.store import MOST_CONVERSATIONS, MOST_DREAMS, Told
from oneiro.auth import SharedSecret, Tokens, issue_token
from oneiro.database.pool import Database

House = Any
Talk = Any
Read = Callable[[UUID], Any]
SECRET = "a secret of at least thirty-two bytes"
NIGHT = datetime(2026, 11, 1, 6, tzinfo=UTC)
EMPTY = {"symbols": [], "feelings": [], "people": [], "dreams": 0, "conversations": 0, "left_out": 0, "since": None}


@pytest.fixture
def read(database: Database) -> Read:
    """Asks for a dreamer's insights as she does."""
    app = FastAPI()
    http.install_problems(app)
    app.state.tokens = Tokens(SharedSecret(SECRET), audience="authenticated")
    app.state.insights = DreamerInsights(database)
    app.include_router(routes.router, prefix="/v1")

    async def ask(user_id: UUID) -> Any:
        token = issue_token(SECRET, user_id=user_id, ttl=timedelta(hours=1), now=datetime.now(UTC))
        headers = {"Authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/v1", headers=headers) as client:
            answer = await client.get("/me/insights")
        assert answer.status_code == 200
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

    second = await house.write(user_id, talk(lines=lines))
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
    return Told(dream_id, None, NIGHT + timedelta(days=night), more.get("language"), [text], more.get("symbols", []))


def test_other_languages_are_left_out_and_said_to_be() -> None:
    german = told("ich war in dem Haus und ich habe nicht gewusst wo die Mutter ist", 0)
    chinese = told("我梦见了一条很长的河", 1)
    found = recurring([german, chinese, told("I saw my mother.", 2)], [])
    assert (found.dreams, found.left_out, found.people) == (1, 2, [])


def test_a_feeling_that_is_denied_and_lines_of_danger_are_not_mirrored() -> None:
    denied = [told("I was not afraid.", night) for night in range(2)]
    assert recurring(denied, []).feelings == []
    grave = [told("I want to kill myself with a knife tonight.", night) for night in range(2)]
    assert recurring(grave, []).symbols == []


def test_the_answer_is_bounded() -> None:
    words = [f"teapot number {number}" for number in range(40)]
    many = [told("I saw it.", night, symbols=words) for night in range(50)]
    found = recurring(many, [])
    assert len(found.symbols) == SHOWN
    assert found.symbols[0].nights == 50
    assert len(found.symbols[0].where) == 20
    assert found.symbols[0].where[0].date == NIGHT + timedelta(days=49)


async def test_only_the_latest_are_read(house: House, talk: Callable[..., Talk], read: Read) -> None:
    user_id = await house.dreamer()
    await house.look(
        "INSERT INTO dreams (user_id, content, created_at) SELECT %s, 'I saw my mother.', %s::timestamptz"
        " + make_interval(hours => n) FROM generate_series(1, %s) AS n",
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
    assert found["people"][0]["nights"] == MOST_DREAMS + 1
