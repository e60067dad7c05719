"""`DELETE /v1/conversations/{id}`: what was measured in it goes too, and what the platform has of it."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from tests.privacy.conftest import House, Open, at_the_platform, due, erase, live, say

from oneiro.errors import OneiroError
from oneiro.platform.port import HeldConversation, HeldEntry, HeldPage
from oneiro.privacy.erasure.models import Unnamed
from oneiro.privacy.erasure.service import Erasure

MARK = "marzipan"
DIRECT = {"interpreter_id": "carl", "text_only": True, "transport": "direct"}
JOBS = (
    "SELECT kind, payload, run_at - now() AS wait FROM jobs WHERE kind LIKE 'privacy.%%_conversation' ORDER BY run_at"
)


async def talked_directly(client: httpx.AsyncClient, dial: Open, mark: str) -> str:
    """A conversation on the client's own socket, of which it told us nothing; returns our id."""
    started = (await client.post("/conversations", json=DIRECT)).json()
    sock = await dial(started["signed_url"], {"dynamic_variables": started["dynamic_variables"]})
    await say(sock, f"The {mark} water rose.")
    await sock.close()
    return str(started["conversation_id"])


async def test_a_conversation_that_she_deletes_is_forgotten_at_the_platform_too(house: House, dial: Open) -> None:
    ada, mark = await house.client(), f"{MARK}{uuid4().hex[:12]}"
    talk, _ = await live(ada, dial, mark)
    assert (await ada.delete(f"/conversations/{talk}")).status_code == 204
    await house.settled()
    await due(house)
    assert mark not in await at_the_platform(house)


@pytest.mark.parametrize("keyed", [True, False])
async def test_what_was_measured_in_a_conversation_goes_with_it(house: House, dial: Open, *, keyed: bool) -> None:
    ada = await house.client()
    talk, _ = await live(ada, dial, MARK)
    await house.settled()
    hers = "SELECT * FROM agent_metrics WHERE metric_type IN ('response_time', 'completion_rate', 'user_satisfaction')"
    assert await house.rows(hers)
    if not keyed:  # As on tables of a host application.
        await house.change("ALTER TABLE agent_metrics DROP CONSTRAINT agent_metrics_conversation_id_fkey")
    assert (await ada.delete(f"/conversations/{talk}")).status_code == 204
    await house.settled()
    assert await house.rows(hers) == []
    assert await house.rows("SELECT 1 FROM agent_metrics WHERE conversation_id IS NOT NULL") == []


async def test_a_deleted_conversation_whose_id_nobody_told_us_is_looked_for_at_the_platform(
    house: House, dial: Open
) -> None:
    ada, mark = await house.client(), f"{MARK}{uuid4().hex[:12]}"
    talk = await talked_directly(ada, dial, mark)
    assert mark in await at_the_platform(house)
    assert (await ada.delete(f"/conversations/{talk}")).status_code == 204
    await house.settled()
    # Its client may be at it for as long as a call may take, so it is looked for again after that.
    assert [job["kind"] for job in await house.rows(JOBS)] == ["privacy.search_conversation"] * 2
    await due(house)
    assert mark not in await at_the_platform(house)


class Endless:
    """A platform on which conversations began without an end."""

    def __init__(self, began: datetime) -> None:
        self.pages, self._began = 0, began

    async def list_conversations(self, started_after: datetime, cursor: str | None = None) -> HeldPage:
        """One more page."""
        self.pages += 1
        return HeldPage((HeldEntry(f"conv_{self.pages}", "another agent", self._began),), f"after {self.pages}")

    async def conversation(self, conversation_id: str) -> HeldConversation:
        """Nobody asks."""
        raise NotImplementedError

    async def delete_conversation(self, conversation_id: str) -> None:
        """Nobody asks."""
        raise NotImplementedError


async def test_a_search_that_does_not_come_to_its_end_says_so(house: House) -> None:
    now, state = house.app.state.clock(), house.app.state
    platform = Endless(now)
    erasure = Erasure(state.database, state.conversations, platform, settings=state.settings, clock=state.clock)
    with pytest.raises(OneiroError) as raised:
        await erasure.search(Unnamed(uuid4(), "an agent", now, now))
    assert raised.value.code == "search_unfinished"
    assert platform.pages == 50


async def test_a_deleted_conversation_whose_id_only_the_platform_told_us_is_forgotten_there(house: House) -> None:
    ada = await house.client()
    talk = (await ada.post("/conversations", json=DIRECT)).json()["conversation_id"]
    await house.change(
        "UPDATE conversation_sessions SET elevenlabs_conversation_id = 'conv_found' WHERE conversation_id = %s",
        UUID(talk),
    )
    assert (await ada.delete(f"/conversations/{talk}")).status_code == 204
    await house.settled()
    [soon, late] = await house.rows(JOBS)
    assert soon["payload"] == late["payload"] == {"platform_id": "conv_found"}
    assert soon["wait"] < timedelta(minutes=3)
    assert timedelta(minutes=60) < late["wait"] < timedelta(minutes=63)


async def test_an_erasure_right_after_a_deletion_has_the_platform_forget_both(house: House, dial: Open) -> None:
    ada, mark = await house.client(), f"{MARK}{uuid4().hex[:12]}"
    nameless = await talked_directly(ada, dial, mark)
    found = (await ada.post("/conversations", json=DIRECT)).json()["conversation_id"]
    await house.change(
        "UPDATE conversation_sessions SET elevenlabs_conversation_id = 'conv_found' WHERE conversation_id = %s",
        UUID(found),
    )
    await house.settled()
    # Another replica has the consumer and does not come to it.
    await house.change(
        "UPDATE event_cursors SET lease_owner = 'another', lease_until = now() + interval '1 h'"
        " WHERE consumer = 'forgetting'"
    )
    for talk in (nameless, found):
        assert (await ada.delete(f"/conversations/{talk}")).status_code == 204
    assert await house.rows(JOBS) == []
    assert (await erase(ada)).status_code == 204
    asked = [job["payload"] for job in await house.rows(JOBS)]
    assert [payload for payload in asked if payload.get("platform_id") == "conv_found"] != []
    assert [payload for payload in asked if payload.get("conversation_id") == nameless] != []


async def test_consent_taken_back_and_a_deletion_do_not_wait_for_each_other(
    house: House, dial: Open, db_url: str
) -> None:
    user_id = uuid4()
    ada = await house.client(user_id)
    talk, _ = await live(ada, dial, MARK)
    await house.settled()
    assert await house.rows("SELECT 1 FROM conversation_analytics WHERE sentiment_analysis IS NOT NULL")
    async with await psycopg.AsyncConnection.connect(db_url) as conn:
        await conn.execute("SELECT 1 FROM profiles WHERE user_id = %s FOR UPDATE", (user_id,))
        deletion = asyncio.create_task(ada.delete(f"/conversations/{talk}"))
        await waiting(house)
        change: dict[str, Any] = {"id": user_id}
        await conn.execute(
            """UPDATE profiles SET consents = consents || '{"analytics": false}' WHERE user_id = %(id)s""", change
        )
    assert (await deletion).status_code == 204


async def waiting(house: House) -> None:
    """Until somebody waits for a row that another holds."""
    async with asyncio.timeout(10):
        while not await house.rows(  # noqa: ASYNC110 - asked of the database.
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            await asyncio.sleep(0.01)
