"""`POST /webhooks/elevenlabs`: signatures as the SDK and the engine make them, repeats, forgeries, odd bodies."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from elevenlabs import ElevenLabs
from elevenlabs.errors import BadRequestError
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from oneiro import http
from oneiro.database.pool import Database
from oneiro.engine.webhook import signature
from oneiro.errors import Unauthenticated, ValidationError
from oneiro.webhooks.inbox import letter, routes
from oneiro.webhooks.inbox.service import GIVEN_UP, KEPT, MAX_BODY, PATH, Inbox
from oneiro.webhooks.inbox.signature import verify

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]
SECRET = "wsec_of-a-test"
NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SECONDS = int(NOW.timestamp())


def transcript(conversation_id: str = "conv_1", **more: Any) -> bytes:
    data = {"conversation_id": conversation_id, "agent_id": "agent_1", "status": "done", "transcript": []}
    return json.dumps({"type": "post_call_transcription", "event_timestamp": SECONDS, "data": data | more}).encode()


@pytest.fixture
def inbox(database: Database) -> Inbox:
    return Inbox(database, secret=SECRET, clock=lambda: NOW)


@pytest.fixture
async def client(inbox: Inbox) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()
    http.install_problems(app)
    app.add_middleware(http.BoundedBody, own={PATH})
    app.state.inbox = inbox
    app.include_router(routes.router)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://oneiro") as made:
        yield made


async def unread() -> AsyncIterator[bytes]:
    """A body that must not be asked for."""
    for chunk in [b"{}"]:
        assert not chunk, "the body was read"
        yield chunk


async def send(client: httpx.AsyncClient, body: bytes, *, secret: str = SECRET, at: int = SECONDS) -> httpx.Response:
    return await client.post(PATH, content=body, headers={"ElevenLabs-Signature": signature(secret, body, at)})


async def test_a_webhook_is_kept_once_with_an_event_and_a_job(client: httpx.AsyncClient, look: Look) -> None:
    first = await send(client, transcript())
    again = await send(client, transcript(), at=SECONDS + 60)
    other = await send(client, transcript("conv_2"))

    assert [answer.status_code for answer in (first, again, other)] == [200, 200, 200]
    assert [answer.json()["new"] for answer in (first, again, other)] == [True, False, True]
    rows = await look("SELECT delivery_key, body -> 'data' ->> 'agent_id', handled_at FROM webhook_inbox ORDER BY 1")
    assert rows == [
        ("post_call_transcription/conv_1", "agent_1", None),
        ("post_call_transcription/conv_2", "agent_1", None),
    ]
    assert len(await look("SELECT 1 FROM system_events WHERE event_type = 'webhook.received'")) == 2
    jobs = await look("SELECT j.kind FROM jobs AS j JOIN webhook_inbox AS w ON w.id::text = j.payload ->> 'inbox_id'")
    assert jobs == [("webhook.handle",), ("webhook.handle",)]


async def test_without_a_secret_there_is_no_such_page(database: Database) -> None:
    for secret in (None, ""):
        app = FastAPI()
        http.install_problems(app)
        app.state.inbox = Inbox(database, secret=secret, clock=lambda: NOW)
        app.include_router(routes.router)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://oneiro") as made:
            assert (await send(made, transcript(), secret="")).status_code == 404


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "t=,v0=",
        "v0=abc",
        f"t={SECONDS}",
        f"t={SECONDS},v1={'0' * 64}",
        f"t={SECONDS},v0={'0' * 64}",
        f"t={SECONDS},v0=ünïcode",
        "t=abc,v0=abc",
        "t=٣,v0=abc",
        "t=-5,v0=abc",
        f"t={'9' * 400},v0=abc",
        f"t={SECONDS},t={SECONDS},v0=abc",
        "\x00",
    ],
)
def test_a_signature_that_does_not_hold_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        verify(SECRET, header, transcript(), NOW)
    assert caught.value.code == "invalid_signature"


@pytest.mark.parametrize(
    ("minutes", "taken"), [(0, True), (-29, True), (29, True), (-31, False), (31, False), (-1440, False), (1440, False)]
)
async def test_a_signature_holds_for_half_an_hour_both_ways(
    client: httpx.AsyncClient, look: Look, minutes: int, *, taken: bool
) -> None:
    answer = await send(client, transcript(), at=SECONDS + minutes * 60)

    assert answer.status_code == (200 if taken else 401)
    assert len(await look("SELECT 1 FROM webhook_inbox")) == taken


async def test_a_forged_webhook_leaves_nothing_behind(client: httpx.AsyncClient, look: Look) -> None:
    body = transcript()
    forged = [
        await send(client, body, secret="another"),
        await client.post(PATH, content=body),
        await client.post(
            PATH, content=body + b" ", headers={"ElevenLabs-Signature": signature(SECRET, body, SECONDS)}
        ),
    ]

    assert [answer.status_code for answer in forged] == [401, 401, 401]
    assert all(answer.json()["code"] == "invalid_signature" for answer in forged)
    assert await look("SELECT 1 FROM webhook_inbox") == []
    assert await look("SELECT 1 FROM jobs") == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"ElevenLabs-Signature": "v0=abc"}, 401),
        ({"ElevenLabs-Signature": f"t={SECONDS},v0=abc"}, 401),
        ({"ElevenLabs-Signature": signature(SECRET, b"", SECONDS - 1860)}, 401),
        ({"ElevenLabs-Signature": signature(SECRET, b"", SECONDS + 1860)}, 401),
        ({"ElevenLabs-Signature": signature(SECRET, b"", SECONDS), "Content-Length": str(MAX_BODY + 1)}, 413),
        ({"ElevenLabs-Signature": signature(SECRET, b"", SECONDS), "Content-Length": "many"}, 413),
    ],
)
async def test_what_the_headers_refuse_is_refused_before_the_body_is_read(
    client: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    answer = await client.post(PATH, content=unread(), headers=headers)

    assert answer.status_code == status


async def test_large_bodies_at_a_time_are_bounded_and_small_ones_pass(client: httpx.AsyncClient, inbox: Inbox) -> None:
    large = json.dumps({"type": "post_call_audio", "data": {"full_audio": "A" * (MAX_BODY - 100)}}).encode()
    gate, reading = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield large[:1000]
        reading.set()
        await gate.wait()
        yield large[1000:]

    headers = {"ElevenLabs-Signature": signature(SECRET, large, SECONDS), "Content-Length": str(len(large))}
    held = [asyncio.create_task(client.post(PATH, content=slow(), headers=headers)) for _ in range(2)]
    await reading.wait()
    third = await client.post(PATH, content=unread(), headers=headers)
    undeclared = await client.post(
        PATH, content=unread(), headers={"ElevenLabs-Signature": headers["ElevenLabs-Signature"]}
    )
    small = await send(client, transcript())
    gate.set()
    taken = await asyncio.gather(*held)

    assert (third.status_code, third.json()["code"], third.headers["retry-after"]) == (503, "inbox_full", "5")
    assert undeclared.status_code == 503
    assert small.status_code == 200
    assert [answer.status_code for answer in taken] == [200, 200]
    assert (await send(client, large)).json() == {"new": False}


async def test_a_forged_large_body_gives_its_room_back(client: httpx.AsyncClient) -> None:
    body = b"x" * (MAX_BODY - 1)

    answers = [await send(client, body, secret="another") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [401] * 5


async def test_a_body_longer_than_it_declared_is_refused(client: httpx.AsyncClient) -> None:
    body = transcript()
    headers = {"ElevenLabs-Signature": signature(SECRET, body, SECONDS), "Content-Length": str(len(body) - 1)}

    assert (await client.post(PATH, content=body, headers=headers)).status_code == 413


async def test_a_body_that_does_not_arrive_is_not_waited_for(inbox: Inbox) -> None:
    async def receive() -> dict[str, Any]:
        return await asyncio.Event().wait()  # type: ignore[return-value]  # Never returns.

    scope = {"type": "http", "method": "POST", "path": PATH, "headers": [], "query_string": b""}
    with pytest.raises(ValidationError) as caught:
        await http.body_of(Request(scope, receive), limit=10, seconds=0.01)
    assert caught.value.code == "body_incomplete"


def test_what_the_sdk_takes_we_take_and_what_we_sign_the_sdk_takes() -> None:
    now = datetime.now(UTC)
    sdk, body = ElevenLabs(api_key="unused"), transcript("conv_ü")
    header = signature(SECRET, body, int(now.timestamp()))

    assert sdk.webhooks.construct_event(body.decode(), header, SECRET)["data"]["conversation_id"] == "conv_ü"
    verify(SECRET, header, body, now)
    for late in (timedelta(minutes=31), timedelta(days=1)):
        old = signature(SECRET, body, int((now - late).timestamp()))
        with pytest.raises(BadRequestError):
            sdk.webhooks.construct_event(body.decode(), old, SECRET)
        with pytest.raises(Unauthenticated):
            verify(SECRET, old, body, now)


def test_bytes_that_are_no_text_can_be_signed_and_one_of_several_signatures_is_enough() -> None:
    body = b"\xff\x00{"
    good = hmac.new(SECRET.encode(), f"{SECONDS}.".encode() + body, hashlib.sha256).hexdigest()

    verify(SECRET, f"t={SECONDS}, v0={'0' * 64}, v0={good}", body, NOW)


async def test_sound_is_dropped_before_anything_is_kept(client: httpx.AsyncClient, look: Look) -> None:
    sound = base64.b64encode(b"s" * 300_000).decode()
    audio = {"type": "post_call_audio", "data": {"conversation_id": "conv_1", "full_audio": sound}}

    assert (await send(client, json.dumps(audio).encode())).status_code == 200
    assert (await send(client, transcript(full_audio=sound, has_audio=True, parts={"audio_base_64": [sound]}))).json()

    rows = await look("SELECT event_type, body, handled_at IS NOT NULL FROM webhook_inbox ORDER BY event_type")
    assert rows[0] == ("post_call_audio", None, True)
    data = rows[1][1]["data"]
    assert (data["full_audio"], data["has_audio"], data["parts"]) == (None, True, {"audio_base_64": [None]})
    assert len(await look("SELECT 1 FROM jobs")) == 1


async def test_a_giant_body_is_taken_up_to_its_bound_and_refused_beyond(client: httpx.AsyncClient, look: Look) -> None:
    frame = len(json.dumps({"type": "post_call_audio", "data": {"conversation_id": "c", "full_audio": ""}}))
    fits = {"type": "post_call_audio", "data": {"conversation_id": "c", "full_audio": "A" * (MAX_BODY - frame)}}
    body = json.dumps(fits).encode()
    assert len(body) == MAX_BODY

    assert (await send(client, body)).status_code == 200
    assert (await send(client, body + b" ")).status_code == 413
    assert len(await look("SELECT 1 FROM webhook_inbox")) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'"text"', b"\xff\xfe", b"{", b"[" * 100_000, b"9" * 5000])
async def test_a_signed_body_that_is_no_object_is_422(client: httpx.AsyncClient, body: bytes) -> None:
    assert (await send(client, body)).status_code == 422


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"type": 7, "data": None},
        {"type": "something_new", "data": {"conversation_id": "conv_1", "said": "words"}},
        {"type": "post_call_transcription", "data": []},
        {"type": "post_call_transcription", "data": {"conversation_id": {"a": 1}}},
        {"type": "post_call_transcription", "data": {"conversation_id": "../../etc", "transcript": ["words"]}},
        {"type": "A marzipan heron said so"},
    ],
)
async def test_what_we_do_not_know_is_noted_and_not_kept(
    client: httpx.AsyncClient, look: Look, document: dict[str, Any]
) -> None:
    body = json.dumps(document).encode()

    assert (await send(client, body)).json() == {"new": True}
    assert (await send(client, body)).json() == {"new": False}

    [(kept, handled, kind)] = await look("SELECT body, handled_at IS NOT NULL, event_type FROM webhook_inbox")
    assert (kept, handled) == (None, True)
    assert " " not in kind


async def test_what_postgresql_cannot_keep_is_made_fit(client: httpx.AsyncClient, look: Look) -> None:
    odd = b'{"type":"post_call_transcription","data":{"conversation_id":"conv_1","a\\u0000":"b\\u0000c",'
    odd += b'"lone":"\\ud800","huge":1e999,"nan":NaN,"deep":' + b'{"x":' * 100 + b"1" + b"}" * 100 + b"}}"

    assert (await send(client, odd)).status_code == 200

    [(data,)] = await look("SELECT body -> 'data' FROM webhook_inbox")
    assert (data["a"], data["lone"], data["huge"], data["nan"]) == ("bc", "?", None, None)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=20,
    )
)
def test_whatever_json_comes_is_read_or_refused(document: Any) -> None:
    raw = json.dumps({"type": "post_call_transcription", "data": {"conversation_id": "c", "x": document}}).encode()
    found = letter.read(raw)
    assert found.body is not None
    json.dumps(found.body, allow_nan=False).encode()
    try:
        letter.read(json.dumps(document).encode())
    except ValidationError:
        assert not isinstance(document, dict)


async def test_what_nobody_could_handle_is_forgotten_and_what_is_old_deleted(
    client: httpx.AsyncClient, inbox: Inbox, look: Look
) -> None:
    await send(client, transcript("conv_1"))
    await send(client, transcript("conv_2"))
    await look("UPDATE webhook_inbox SET handled_at = now() WHERE delivery_key LIKE '%%conv_2'")

    assert await inbox.prune(NOW + GIVEN_UP + timedelta(seconds=1)) == 0
    rows = await look("SELECT body IS NULL, error_code FROM webhook_inbox WHERE delivery_key LIKE '%%conv_1'")
    assert rows == [(True, "given_up")]
    assert await inbox.prune(NOW + KEPT + timedelta(seconds=1)) == 2
