"""While the platform is away: the same interpreter in writing, through an engine with a language model behind it."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from tests.relay.conftest import Passing

from oneiro.app import Surroundings, create_app
from oneiro.cli.listen import bind, listening
from oneiro.cli.stack import model_breaker, standing_in
from oneiro.relay.limits import Limits
from oneiro.safety.protocol import CRISIS_PROTOCOL
from oneiro.settings import Settings

Serve = Callable[..., Awaitable[Any]]
SignIn = Callable[..., Any]
Dial = Callable[..., Awaitable[Any]]
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]
Down = Callable[[], Awaitable[None]]

SAID = "A bridge of salt, you say. What waits on its other side?"
DREAM = "I crossed a bridge made of salt while it rained."


@dataclass
class Model:
    """Somebody's language model behind an OpenAI-compatible address; `away` makes it fail, `speaks` makes it wait."""

    url: str = ""
    away: bool = False
    breaks_off: bool = False
    speaks: asyncio.Event | None = None
    asked: list[dict[str, Any]] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        self.asked.append(await request.json())
        if self.away:
            return Response(status_code=503)
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    async def _stream(self) -> AsyncIterator[str]:
        if self.speaks:
            await self.speaks.wait()
        for piece in SAID.split(" "):
            yield f"data: {json.dumps({'choices': [{'delta': {'content': piece + ' '}}]})}\n\n"
            if self.breaks_off:
                return
        yield "data: [DONE]\n\n"


@pytest.fixture
async def model() -> AsyncIterator[Model]:
    made = Model()
    app = Starlette(routes=[Route("/v1/chat/completions", made.take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it.
        await asyncio.sleep(0.01)
    made.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"
    yield made
    server.should_exit = True
    await serving


@pytest.fixture
async def platform(engine_url: str) -> AsyncIterator[httpx.AsyncClient]:
    """The engine that plays the platform, as one who breaks it: `PUT /engine/faults`."""
    async with httpx.AsyncClient(
        base_url=engine_url, headers={"xi-api-key": "k"}, trust_env=False, timeout=30
    ) as client:
        yield client
        await client.delete("/engine/faults")


@pytest.fixture
def down(platform: httpx.AsyncClient) -> Down:
    """Takes the platform down until its faults are deleted."""

    async def taken() -> None:
        answer = await platform.put(
            "/engine/faults", json={"faults": [{"kind": "status", "path": "/v1/*", "status": 503}]}
        )
        assert answer.is_success, answer.text

    return taken


@pytest.fixture
def settings(settings: Settings, model: Model) -> Settings:
    """With a language model to fall back on."""
    return settings.model_copy(update={"llm_base_url": model.url, "llm_api_key": SecretStr("a key of the model's")})


@dataclass
class House:
    app: Any
    url: str


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[House]:
    """An Oneiro as the commands put it together, with its stand-in."""
    async with AsyncExitStack() as stack:
        llm = model_breaker(settings)
        stand_in = await stack.enter_async_context(standing_in(settings, llm, speed=100))
        app = create_app(settings, Surroundings(stand_in=stand_in, llm=llm), worker=False)
        listened = await stack.enter_async_context(listening(app, bind("127.0.0.1", 0, what="a test")))
        yield House(app, listened.url)


async def metrics(house: House) -> str:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return (await client.get(f"{house.url}/metrics")).raise_for_status().text


async def kinds(look: Rows, conversation_id: str) -> list[str]:
    rows = await look(
        "SELECT event_type FROM system_events WHERE entity_id = %s AND event_type LIKE 'conversation.%%' ORDER BY seq",
        conversation_id,
    )
    return [row["event_type"].removeprefix("conversation.") for row in rows]


async def test_a_call_that_cannot_reach_the_platform_goes_on_in_writing_with_the_same_interpreter(
    house: House, sign_in: SignIn, dial: Dial, down: Down, model: Model, look: Rows, until: Rows
) -> None:
    dreamer = sign_in(house)
    started = await dreamer.start()
    await down()

    socket = await dial(started["signed_url"])
    assert (await socket.open())["type"] == "conversation_initiation_metadata"
    notice = await socket.next()
    assert notice["type"] == "oneiro_degraded"
    assert "127.0.0.1" in notice["degraded_event"]["words"]
    assert await socket.reply() == started["opening"]
    assert (await socket.say(DREAM)).strip() == SAID
    await socket.socket.close(1000)
    await until("SELECT 1 FROM conversations WHERE status = 'completed'")

    system = model.asked[-1]["messages"][0]["content"]
    assert "Carl" in system
    assert CRISIS_PROTOCOL.strip() in system
    lines = await dreamer.lines(started["conversation_id"])
    assert [line["content"].strip() for line in lines] == [started["opening"].strip(), DREAM, SAID]
    (row,) = await look("SELECT degraded, elevenlabs_conversation_id FROM conversation_sessions")
    assert row == {"degraded": True, "elevenlabs_conversation_id": None}
    assert (await dreamer.read(started["conversation_id"]))["degraded"] is True
    assert "degraded" in await kinds(look, started["conversation_id"])
    told = await look("SELECT event_data FROM system_events WHERE event_type = 'disclosure.given' ORDER BY seq")
    assert [row["event_data"]["disclosure"] for row in told] == ["start-model-en-1", "degraded-en-1"]
    assert "127.0.0.1" in started["disclosure"]["text"]


async def test_a_spoken_call_is_read_instead_of_heard(
    house: House, sign_in: SignIn, dial: Dial, down: Down, model: Model
) -> None:
    dreamer = sign_in(house)
    started = await dreamer.start(text_only=False)
    await down()

    socket = await dial(started["signed_url"])
    await socket.open(text_only=False)
    await socket.until("oneiro_degraded")
    await socket.reply()
    for _ in range(5):
        await socket.send(user_audio_chunk="AAAA" * 100)
    assert (await socket.say(DREAM)).strip() == SAID
    assert "error" not in socket.kinds()
    assert house.app.state.relay.watch.frames["up_dropped", "audio"] == 5


async def test_a_reply_that_nobody_else_has_is_stored_though_the_call_ended_before_it_could_be(
    house: House, sign_in: SignIn, dial: Dial, down: Down, model: Model, hold: Any, until: Rows
) -> None:
    house.app.state.relay._limits = Limits(settling=0.3)
    model.speaks = asyncio.Event()
    started = await sign_in(house).start()
    await down()
    socket = await dial(started["signed_url"])
    await socket.open()
    await socket.reply()
    await socket.send(type="user_message", text=DREAM)
    await until("SELECT 1 FROM messages WHERE sender = 'user'")
    async with hold(started["conversation_id"]):
        model.speaks.set()
        assert (await socket.reply()).strip() == SAID
        await socket.socket.close(1000)
        async with asyncio.timeout(30):
            while not house.app.state.relay._owed:  # noqa: ASYNC110 - the call settles first.
                await asyncio.sleep(0.02)
    await until("SELECT 1 FROM messages WHERE content = %s", SAID)
    await until("SELECT 1 FROM conversations WHERE status = 'completed'")
    async with asyncio.timeout(30):
        while house.app.state.relay._owed:  # noqa: ASYNC110 - the writer ends on its own.
            await asyncio.sleep(0.02)


async def test_the_crisis_gate_stays(house: House, sign_in: SignIn, dial: Dial, down: Down, model: Model) -> None:
    dreamer = sign_in(house)
    started = await dreamer.start()
    await down()
    socket = await dial(started["signed_url"])
    await socket.open()
    await socket.reply()

    await socket.send(type="user_message", text="I am going to kill myself tonight.")
    shown = await socket.until("oneiro_safety")
    reply = await socket.reply()

    assert shown["safety_event"]["tier"] == "active_danger"
    assert reply.strip() != SAID
    assert (await dreamer.read(started["conversation_id"]))["safety_tier"] == "active_danger"


async def test_a_start_while_the_platform_rests_says_so_and_a_resume_after_it_is_restored(
    house: House, sign_in: SignIn, dial: Dial, down: Down, platform: httpx.AsyncClient, look: Rows, until: Rows
) -> None:
    dreamer = sign_in(house)
    await down()
    # Neither Carl's agent nor an address can be had: the agents' breaker is not even needed.
    started = await dreamer.start(text_only=False)
    conversation = started["conversation_id"]
    assert (started["degraded"], started["text_only"], started["agent_id"]) == (True, True, "stand-in")
    socket = await dial(started["signed_url"])
    await socket.open()
    await socket.until("oneiro_degraded")
    await socket.say(DREAM)
    await socket.socket.close(1001)
    await until("SELECT 1 FROM conversations WHERE id = %s AND paused_at IS NOT NULL", conversation)

    await platform.delete("/engine/faults")
    resumed = await dreamer.post(f"/conversations/{conversation}/resume")
    assert (resumed["degraded"], resumed["text_only"]) == (False, False)
    socket = await dial(resumed["signed_url"])
    await socket.open()
    await socket.reply()

    assert "oneiro_degraded" not in socket.kinds()
    assert (await dreamer.read(conversation))["degraded"] is False
    found = [kind for kind in await kinds(look, conversation) if kind in {"degraded", "restored"}]
    assert found == ["degraded", "restored"]
    rows = await look("SELECT degraded FROM conversation_sessions ORDER BY session")
    assert [row["degraded"] for row in rows] == [True, False]


async def test_a_call_whose_platform_dies_goes_on_after_a_resume(
    house: House, sign_in: SignIn, dial: Dial, down: Down, platform: httpx.AsyncClient, look: Rows, model: Model
) -> None:
    dreamer = sign_in(house)
    started = await dreamer.start()
    socket = await dial(started["signed_url"])
    await socket.open()
    await socket.reply()
    await socket.say(DREAM)
    await platform.post("/engine/restart")
    assert (await socket.closed())[0] == 1012
    await down()

    resumed = await dreamer.post(f"/conversations/{started['conversation_id']}/resume")
    socket = await dial(resumed["signed_url"])
    await socket.open()
    await socket.until("oneiro_degraded")
    await socket.reply()
    assert (await socket.say("Where were we?")).strip() == SAID

    rows = await look("SELECT degraded FROM conversation_sessions ORDER BY session")
    assert [row["degraded"] for row in rows] == [False, True]
    told = json.dumps(model.asked[-1]["messages"])
    assert "salt" in told


async def test_a_breaker_that_is_open_degrades_starts_and_lets_the_platform_be_tried_later(
    house: House, sign_in: SignIn, dial: Dial, down: Down, platform: httpx.AsyncClient
) -> None:
    dreamer = sign_in(house)
    started = await dreamer.start()
    await down()
    breaker = house.app.state.platform.conversation_breaker
    for _ in range(5):
        socket = await dial(started["signed_url"])
        await socket.open()
        await socket.until("oneiro_degraded")
        await socket.socket.close(1000)
        started = await dreamer.start()
    assert breaker.state == "open"
    assert started["degraded"] is True

    breaker.retry_timeout = 0.0
    assert (await dreamer.start())["degraded"] is False


async def test_dreamwork_answers_when_the_model_is_away_too_and_operators_see_it(
    house: House, sign_in: SignIn, dial: Dial, down: Down, model: Model, until: Rows
) -> None:
    dreamer = sign_in(house)
    assert 'oneiro_breaker_state{name="llm"} 0.0' in await metrics(house)
    started = await dreamer.start()
    await down()
    model.away = True
    socket = await dial(started["signed_url"])
    await socket.open()
    await socket.reply()

    reply = await socket.say(DREAM)

    assert "bridge" in reply or "salt" in reply or "rain" in reply
    assert reply.strip() != SAID
    for _ in range(6):
        await socket.say("And then it rained again.")
    assert len(model.asked) == 5  # Its breaker is open: dreamwork need not wait for it any more.
    shown = {each.name: each.state for each in (await house.app.state.platform_overview.read()).breakers}
    assert shown["llm"] == "open"
    assert 'oneiro_breaker_state{name="llm"} 2.0' in await metrics(house)
    await until("SELECT 1 FROM system_events WHERE event_type = 'breaker.opened' AND event_data ->> 'name' = 'llm'")


async def test_a_model_whose_replies_break_off_is_left_alone(
    house: House, sign_in: SignIn, dial: Dial, down: Down, model: Model
) -> None:
    started = await sign_in(house).start()
    await down()
    model.breaks_off = True
    socket = await dial(started["signed_url"])
    await socket.open()
    await socket.reply()

    for _ in range(7):
        assert await socket.say("And then it rained again.")

    assert len(model.asked) == 5
    shown = {each.name: each.state for each in (await house.app.state.platform_overview.read()).breakers}
    assert shown["llm"] == "open"


async def test_the_stand_in_forgets_a_session_whose_ticket_was_used_up_meanwhile(
    house: House, sign_in: SignIn, dial: Dial, down: Down, until: Rows
) -> None:
    started = await sign_in(house).start()
    await down()
    relay = house.app.state.relay
    forgotten = asyncio.Event()

    class Late(Passing):
        async def connect(self, *_known: Any) -> bool:
            return False

    class Noting(Passing):
        async def forget(self, conversation_id: str) -> None:
            await self.inner.forget(conversation_id)
            forgotten.set()

    relay._relayed, relay._stand_in = Late(relay._relayed), Noting(relay._stand_in)
    socket = await dial(started["signed_url"])
    await socket.send(type="conversation_initiation_client_data")

    assert await socket.closed() == (1008, "ticket_used")
    async with asyncio.timeout(5):
        await forgotten.wait()


async def test_without_a_model_the_dreamer_is_told_kindly_and_when_to_come_back(
    serve: Serve, sign_in: SignIn, down: Down, settings: Settings
) -> None:
    replica = await serve(llm_base_url=None)
    dreamer = sign_in(replica)
    dream = await dreamer.post("/dreams", content=DREAM)
    await down()

    answer = await dreamer.http.post("/conversations", json={"interpreter_id": "carl", "dream_id": dream["id"]})
    assert answer.status_code == 403  # Her voice first needs her consent, whatever the platform does.
    answer = await dreamer.http.post(
        "/conversations", json={"interpreter_id": "carl", "dream_id": dream["id"], "text_only": True}
    )

    assert (answer.status_code, answer.json()["code"]) == (503, "platform_unavailable")
    assert "kept" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) == 30
    assert (await dreamer.http.get(f"/dreams/{dream['id']}")).json()["content"] == DREAM
