"""The crisis gate's finding outlives a database that is away while the line is being stored."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from tests.chaos.clients import Dreamer, dialled
from tests.chaos.processes import SECRET, Postgres, until

from oneiro.app import Surroundings, create_app
from oneiro.cli.listen import bind, listening
from oneiro.engine.app import running
from oneiro.engine.settings import EngineSettings
from oneiro.relay.limits import Limits
from oneiro.settings import Settings

SignIn = Callable[..., Awaitable[Dreamer]]
Look = Callable[..., Awaitable[list[dict[str, Any]]]]

DANGER = "I want to kill myself tonight."


@pytest.fixture
async def relay(service_url: str) -> AsyncIterator[str]:
    """A relay that waits for the database for seconds instead of forty."""
    async with running(EngineSettings(speed=100)) as engine_url:
        settings = Settings(
            database_url=SecretStr(service_url),
            jwt_secret=SecretStr(SECRET),
            elevenlabs_api_key=SecretStr("a key"),
            elevenlabs_base_url=engine_url,
            transport="relay",
        )
        app = create_app(settings, Surroundings(simulated=True))
        app.state.relay._limits = Limits(keeping=5.0, settling=0.5)
        async with listening(app, bind("127.0.0.1", 0, what="a test")) as served:
            yield served.url


async def test_a_finding_is_told_once_when_the_database_is_back_whatever_became_of_its_line(
    server: Postgres, relay: str, sign_in: SignIn, look: Look
) -> None:
    dreamer = await sign_in(at=relay)
    started = await dreamer.start()
    conversation_id = started["conversation_id"]
    async with dialled(started["signed_url"]) as call:
        await call.open()
        await call.say("I stood at the window of a lighthouse.")

        async def stored() -> bool:
            return len(await look("SELECT 1 FROM messages")) == 3

        await until("all that was said is stored", stored)
        server.hold()
        server.kill()
        await call.socket.send(json.dumps({"type": "user_message", "text": DANGER}))
        shown = await call.until("oneiro_safety")
        assert shown["safety_event"]["tier"] == "active_danger", "she is helped at once, whatever is stored"
        assert await call.closed() == 1012
    server.let_go()

    async def told() -> bool:
        try:
            return bool(await look("SELECT 1 FROM system_events WHERE event_type LIKE 'safety.%%'"))
        except psycopg.OperationalError:
            return False

    await until("the finding is told", told)
    [finding] = await look("SELECT event_type, event_data FROM system_events WHERE event_type LIKE 'safety.%%'")
    assert finding["event_type"] == "safety.escalated"
    expected = {"tier": "active_danger", "conversation_id": conversation_id}
    assert expected.items() <= finding["event_data"].items()
    assert (await dreamer.read(conversation_id))["safety_tier"] == "active_danger"
    kept = await look("SELECT id::text FROM messages WHERE content = %s", DANGER)
    assert finding["event_data"].get("message_id") in {None, *(row["id"] for row in kept)}
    if not kept:
        await _say_it_again(dreamer, conversation_id)
    assert await look("SELECT 1 FROM messages WHERE content = %s", DANGER), "as documented, it is there in the end"


async def _say_it_again(dreamer: Dreamer, conversation_id: str) -> None:
    resumed = await dreamer.post(f"/conversations/{conversation_id}/resume")
    async with dialled(resumed["signed_url"]) as call:
        await call.open()
        await asyncio.wait_for(call.say(DANGER), 30)
