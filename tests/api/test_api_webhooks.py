"""A whole Oneiro that hears from its platform and tells others: engine, API and receiver on loopback, all real."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from fastapi import FastAPI
from pydantic import SecretStr
from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from oneiro.app import Surroundings, create_app
from oneiro.cli.listen import bind, listening
from oneiro.engine.app import create_engine
from oneiro.engine.settings import EngineSettings
from oneiro.events import outbox
from oneiro.safety.cards import guardrail
from oneiro.settings import Settings
from oneiro.webhooks.inbox.service import PATH

Look = Callable[..., Awaitable[list[dict[str, Any]]]]
SECRET = "wsec_of-this-platform"
DREAM = "I dreamt of a heron that folded the water of a swimming bath into envelopes."


@dataclass
class Platform:
    """An engine, and the webhooks that it has sent and nobody has passed on."""

    url: str
    hooks: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
async def platform() -> AsyncIterator[Platform]:
    """The engine; what it sends to its webhook address is kept until a test passes it on."""
    found = Platform("")

    async def mailbox(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        found.hooks.append(({"elevenlabs-signature": request.headers["elevenlabs-signature"]}, await request.body()))
        await Response()(scope, receive, send)

    hooks = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{hooks.getsockname()[1]}/"
    settings = EngineSettings(guardrail=guardrail, speed=100, webhook_url=address, webhook_secret=SECRET)
    engine = socket.create_server(("127.0.0.1", 0))
    found.url = f"http://127.0.0.1:{engine.getsockname()[1]}"
    servers = [
        uvicorn.Server(uvicorn.Config(mailbox, log_config=None, lifespan="off", timeout_graceful_shutdown=1)),
        uvicorn.Server(uvicorn.Config(create_engine(settings), log_config=None, timeout_graceful_shutdown=1)),
    ]
    serving = [
        asyncio.create_task(server.serve(sockets=[listener]))
        for server, listener in zip(servers, (hooks, engine), strict=True)
    ]
    while not all(server.started for server in servers):  # noqa: ASYNC110 - uvicorn sets a flag and offers no event.
        await asyncio.sleep(0)
    yield found
    for server in servers:
        server.should_exit = True
    await asyncio.gather(*serving)


@pytest.fixture
def settings(settings: Settings, platform: Platform) -> Settings:
    changes = {
        "elevenlabs_base_url": platform.url,
        "elevenlabs_webhook_secret": SecretStr(SECRET),
        "webhooks_allow_private": True,
        "public_url": "https://dreams.example",
    }
    return settings.model_copy(update=changes)


@pytest.fixture
def worker() -> bool:
    return True


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await check():  # noqa: ASYNC110 - asked of the database or a list.
            await asyncio.sleep(0.02)


async def talk(dreamer: httpx.AsyncClient, platform: Platform, *said: str, report: bool = False) -> str:
    """Hold a written conversation; without `report` the client tells us nothing but its end. Gives our id of it."""
    expected = len(platform.hooks) + 1
    answer = await dreamer.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
    assert answer.status_code == 201, answer.text
    conversation = answer.json()
    path = f"/conversations/{conversation['conversation_id']}"
    async with websockets.connect(conversation["signed_url"]) as socket_:

        async def until_frame(kind: str) -> dict[str, Any]:
            async with asyncio.timeout(10):
                while (frame := json.loads(await socket_.recv()))["type"] != kind:
                    pass
            return dict(frame)

        async def reply() -> str:
            return str((await until_frame("agent_response"))["agent_response_event"]["agent_response"])

        opening = {
            "type": "conversation_initiation_client_data",
            "conversation_config_override": {"conversation": {"text_only": True}},
            "dynamic_variables": conversation["dynamic_variables"],
        }
        await socket_.send(json.dumps(opening))
        metadata = await until_frame("conversation_initiation_metadata")
        connected = {
            "elevenlabs_conversation_id": metadata["conversation_initiation_metadata_event"]["conversation_id"]
        }
        assert (await dreamer.post(f"{path}/connected", json=connected)).status_code == 200
        heard = [("interpreter", await reply())]
        for line in said:
            await socket_.send(json.dumps({"type": "user_message", "text": line}))
            heard += [("user", line), ("interpreter", await reply())]
        if report:
            body = [
                {"event_id": f"mine-{place}", "sender": sender, "content": content}
                for place, (sender, content) in enumerate(heard)
            ]
            assert (await dreamer.post(f"{path}/messages", json={"messages": body})).status_code == 202
        assert (await dreamer.post(f"{path}/end", json={"reason": "user_ended"})).status_code == 200
    await until(lambda: _true(len(platform.hooks) >= expected))
    return str(conversation["conversation_id"])


async def _true(value: bool) -> bool:  # noqa: FBT001 - what `until` asks.
    return value


async def pass_on(app: FastAPI, hook: tuple[dict[str, str], bytes]) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://oneiro") as client:
        return await client.post(PATH, headers=hook[0], content=hook[1])


async def transcript(dreamer: httpx.AsyncClient, conversation_id: str) -> list[tuple[str, str]]:
    items = (await dreamer.get(f"/conversations/{conversation_id}/messages")).json()["items"]
    return [(item["sender"], item["content"]) for item in items]


async def test_the_engines_webhook_brings_what_the_client_did_not_report(
    app: FastAPI, dreamer: httpx.AsyncClient, platform: Platform, look: Look
) -> None:
    conversation_id = await talk(dreamer, platform, DREAM)

    answers = [await pass_on(app, platform.hooks[0]) for _ in range(3)]

    assert [(answer.status_code, answer.json()) for answer in answers] == [
        (200, {"new": True}),
        (200, {"new": False}),
        (200, {"new": False}),
    ]

    async def here() -> bool:
        return len(await transcript(dreamer, conversation_id)) == 3

    await until(here)
    lines = await transcript(dreamer, conversation_id)
    assert [sender for sender, _ in lines] == ["interpreter", "user", "interpreter"]
    assert lines[1] == ("user", DREAM)
    conversation = (await dreamer.get(f"/conversations/{conversation_id}")).json()
    assert conversation["message_count"] == 3
    rows = await look("SELECT body, error_code FROM webhook_inbox")
    assert rows == [{"body": None, "error_code": None}]
    [session] = await look("SELECT reconciled_at IS NOT NULL AS done, session_metadata FROM conversation_sessions")
    assert session["done"]
    assert session["session_metadata"]["platform"]["seconds"] is not None


async def test_what_the_client_did_report_is_not_there_twice(
    app: FastAPI, dreamer: httpx.AsyncClient, platform: Platform, look: Look
) -> None:
    conversation_id = await talk(dreamer, platform, DREAM, "Yes.", "Yes.", report=True)
    before = await transcript(dreamer, conversation_id)
    assert len(before) == 7
    await pass_on(app, platform.hooks[0])

    async def handled() -> bool:
        return bool(await look("SELECT 1 FROM webhook_inbox WHERE handled_at IS NOT NULL"))

    await until(handled)

    assert await transcript(dreamer, conversation_id) == before
    events = await look("SELECT event_data FROM system_events WHERE event_type = 'conversation.reconciled'")
    assert events == [{"event_data": {"filled": 0, "corrected": 0, "session": 1}}]


async def test_a_conversation_whose_webhook_never_came_is_asked_for(
    app: FastAPI, dreamer: httpx.AsyncClient, platform: Platform, clock: Any
) -> None:
    conversation_id = await talk(dreamer, platform, DREAM)
    platform.hooks.clear()
    clock.advance(360)
    assert b"oneiro_unreconciled_conversations 1.0" in await app.state.monitoring.render()

    await app.state.reconciler.run()

    assert (await transcript(dreamer, conversation_id))[1] == ("user", DREAM)
    assert b"oneiro_unreconciled_conversations 0.0" in await app.state.monitoring.render()


async def test_a_forged_webhook_brings_nothing(
    app: FastAPI, dreamer: httpx.AsyncClient, platform: Platform, look: Look
) -> None:
    await talk(dreamer, platform, DREAM)
    headers, body = platform.hooks[0]

    forged = await pass_on(app, (headers, body.replace(b"heron", b"crane")))

    assert forged.status_code == 401
    assert forged.headers["content-type"] == "application/problem+json"
    assert await look("SELECT 1 FROM webhook_inbox") == []


@dataclass
class Receiver:
    """Somebody else's server."""

    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.got.append((dict(request.headers), await request.body()))
        await Response(status_code=200)(scope, receive, send)


async def test_an_operators_endpoint_hears_of_a_conversation_in_order_and_nothing_that_was_said(
    dreamer: httpx.AsyncClient, sign_in: Callable[..., httpx.AsyncClient], platform: Platform
) -> None:
    receiver = Receiver()
    async with listening(receiver_app(receiver), bind("127.0.0.1", 0, what="the receiver")) as served:
        operator = sign_in(operator=True)
        answer = await operator.post("/admin/webhooks", json={"url": f"{served.url}/hook"})
        assert answer.status_code == 201, answer.text
        endpoint = answer.json()

        conversation_id = await talk(dreamer, platform, DREAM)

        def told() -> list[dict[str, Any]]:
            found = [Webhook(endpoint["secret"]).verify(body, headers) for headers, body in receiver.got]
            return [each for each in found if each.get("conversationid") == conversation_id]

        await until(lambda: _true(any(each["type"] == "conversation.ended" for each in told())))
        kinds = [each["type"] for each in told()]
        log = (await operator.get(f"/admin/webhooks/{endpoint['id']}/deliveries")).json()["items"]

    order = ["conversation.requested", "conversation.started", "conversation.connected", "conversation.ended"]
    assert [kind for kind in kinds if kind in order] == order
    assert {each["source"] for each in told()} == {"https://dreams.example"}
    assert not any(b"heron" in body for _, body in receiver.got)
    assert {each["state"] for each in log} <= {"delivered", "pending"}


def receiver_app(receiver: Receiver) -> FastAPI:
    app = FastAPI()
    app.mount("/", receiver)
    return app


async def test_after_an_hour_of_a_receiver_being_away_nothing_is_lost(
    app: FastAPI, sign_in: Callable[..., httpx.AsyncClient], look: Look, change: Any
) -> None:
    sock = bind("127.0.0.1", 0, what="the receiver")
    port = sock.getsockname()[1]
    url = f"http://127.0.0.1:{port}/hook"
    sock.close()
    operator = sign_in(operator=True)
    endpoint = (await operator.post("/admin/webhooks", json={"url": url, "event_types": ["webhook.received"]})).json()
    async with app.state.database.as_service() as conn:
        await outbox.record(conn, "webhook.received", entity_type="webhook", entity_id="w", data={"type": "x"})

    async def failed() -> bool:
        rows = await look("SELECT attempts FROM webhook_deliveries")
        return bool(rows) and rows[0]["attempts"] == 1

    await until(failed)
    receiver = Receiver()
    async with listening(receiver_app(receiver), bind("127.0.0.1", port, what="the receiver")):
        await change("UPDATE webhook_deliveries SET next_attempt_at = now()")
        await until(lambda: _true(len(receiver.got) == 1))

    assert Webhook(endpoint["secret"]).verify(receiver.got[0][1], receiver.got[0][0])["type"] == "webhook.received"


async def test_the_address_of_the_inbox_is_bounded_wider_than_the_others(app: FastAPI, platform: Platform) -> None:
    large = json.dumps({"type": "post_call_audio", "data": {"full_audio": "A" * 1_000_000}}).encode()

    assert (await pass_on(app, ({"elevenlabs-signature": "t=1,v0=0"}, large))).status_code == 401
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://oneiro") as client:
        assert (await client.post("/v1/dreams", content=large)).status_code == 413


async def test_without_a_secret_the_address_is_not_there(settings: Settings) -> None:
    bare = settings.model_copy(update={"elevenlabs_webhook_secret": None})
    app = create_app(bare, Surroundings(simulated=True), worker=False)
    async with app.router.lifespan_context(app):
        assert (await pass_on(app, ({}, b"{}"))).status_code == 404
