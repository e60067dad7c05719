"""Error translation: the adapter with the real SDK against a small server that answers as it is told."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from oneiro.breaker import CircuitBreaker
from oneiro.errors import CircuitBreakerOpenError, OneiroError, SetupError
from oneiro.platform.elevenlabs import ElevenLabsPlatform
from oneiro.platform.errors import PlatformBusy, PlatformLacks, PlatformRefused, PlatformUnavailable
from oneiro.platform.port import PROTECTIONS, AgentSpec, lacking

Connect = Callable[..., ElevenLabsPlatform]
Serve = Callable[[Any], AbstractAsyncContextManager[str]]
KEY = "sk_test_of_nobody"


@dataclass
class Script:
    """An ASGI app that gives its answers in turn, the last one for ever, and keeps what it was asked."""

    answers: list[tuple[int, dict[str, str], Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    silent: bool = False
    abrupt: bool = False

    def answer(self, status: int, body: Any, **headers: str) -> None:
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))

    async def __call__(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.asked.append({"method": scope["method"], "path": scope["path"], "query": parse_qs(scope["query_string"])})
        if self.silent:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        status, headers, body = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"content-type": "application/json", **headers}
        if self.abrupt:
            named["content-length"] = str(len(content) + 10)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.encode(), value.encode()) for name, value in named.items()],
            }
        )
        await send({"type": "http.response.body", "body": content, "more_body": self.abrupt})


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
async def url(script: Script, serve: Serve) -> AsyncIterator[str]:
    async with serve(script) as address:
        yield address


async def failure(call: Awaitable[object]) -> OneiroError:
    with pytest.raises(OneiroError) as caught:
        await call
    return caught.value


def detail(code: str, message: str) -> dict[str, Any]:
    return {"detail": {"type": "error", "code": code, "message": message, "status": code, "request_id": "r1"}}


VALIDATION = {"detail": [{"loc": ["body", "conversation_config", "tts", "speed"], "msg": "too fast", "type": "less"}]}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, detail("invalid_parameters", "No such model"), "400: No such model"),
        (401, {"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}, "401: Invalid API key"),
        (401, {"detail": {"status": "quota_exceeded"}}, "401: quota_exceeded"),
        (403, {"detail": "Forbidden"}, "403: Forbidden"),
        (409, detail("conflict", "Taken"), "409: Taken"),
        (422, VALIDATION, "422: body.conversation_config.tts.speed: too fast"),
        (422, {"detail": {"status": "value_error", "message": "Too long"}}, "422: Too long"),
        (422, b"<html>no</html>", "422"),
        (302, {}, "302"),
    ],
)
async def test_what_lies_in_our_request_is_refused_with_the_platforms_words(
    connect: Connect, script: Script, url: str, spec: AgentSpec, status: int, body: Any, words: str
) -> None:
    script.answer(status, body)

    error = await failure(connect(url).create_agent(spec))

    assert type(error) is PlatformRefused
    assert error.detail == f"The voice platform answered {words}"
    assert not error.retryable
    assert len(script.asked) == 1


@pytest.mark.parametrize("body", [detail("agent_not_found", "No agent agent_1"), {"detail": "Not Found"}, b"gone"])
async def test_404_says_that_the_platform_lacks_the_thing(
    connect: Connect, script: Script, url: str, body: Any
) -> None:
    script.answer(404, body)

    assert type(await failure(connect(url).signed_url("agent_1"))) is PlatformLacks


@pytest.mark.parametrize(
    ("status", "body", "headers", "wait"),
    [
        (429, detail("rate_limit_exceeded", "Slow down"), {"retry_after": "7"}, 7.0),
        (429, detail("concurrent_limit_exceeded", "Too many"), {}, 5.0),
        (429, {"detail": {"status": "too_many_concurrent_requests"}}, {"retry_after": "soon"}, 5.0),
        (429, b"", {"retry_after": "Mon, 23 Nov 2026 12:00:30 GMT"}, 30.0),
        (503, {"detail": "down"}, {"retry_after": "86400"}, 300.0),
        (500, b"<html>oops</html>", {}, None),
        (502, {}, {}, None),
        (408, {"detail": []}, {}, None),
    ],
)
async def test_what_passes_is_unavailable_with_a_time_to_come_again(
    connect: Connect,
    script: Script,
    url: str,
    spec: AgentSpec,
    status: int,
    body: Any,
    headers: dict[str, str],
    wait: float | None,
) -> None:
    script.answer(status, body, **headers)

    error = await failure(connect(url).create_agent(spec))

    assert type(error) is (PlatformBusy if status == 429 else PlatformUnavailable)
    assert (error.retryable, error.retry_after) == (True, wait)
    assert str(status) in error.detail
    # The SDK would have asked three times, and created three agents.
    assert len(script.asked) == 1


async def test_both_kinds_of_429_are_told_apart_in_the_detail(connect: Connect, script: Script, url: str) -> None:
    script.answer(429, detail("concurrent_limit_exceeded", "Too many"))

    assert "concurrent_limit_exceeded" in (await failure(connect(url).signed_url("agent_1"))).detail


@pytest.mark.parametrize("body", [b"not json", b"\xff\xfe", b"[]", b'"text"', b"{}", b'{"signed_url": 7}', b"null"])
async def test_an_answer_that_cannot_be_read_is_unavailable(
    connect: Connect, script: Script, url: str, body: bytes
) -> None:
    script.answer(200, body)

    assert type(await failure(connect(url).signed_url("agent_1"))) is PlatformUnavailable


@pytest.mark.parametrize("body", [b"not json", b"[]", b"null"])
async def test_an_agent_that_cannot_be_read_back_is_unavailable(
    connect: Connect, script: Script, url: str, spec: AgentSpec, body: bytes
) -> None:
    script.answer(200, body)

    assert type(await failure(connect(url).drift("agent_1", spec))) is PlatformUnavailable


async def test_an_agent_of_which_nothing_is_known_drifts_in_every_protection(
    connect: Connect, script: Script, url: str, spec: AgentSpec
) -> None:
    script.answer(200, {"agent_id": "agent_1", "platform_settings": None, "something_new": {"a": 1}})

    drift = await connect(url).drift("agent_1", spec)

    assert set(drift) > PROTECTIONS
    assert set(lacking(drift)) == PROTECTIONS


async def test_no_previews_of_a_voice_is_unavailable(connect: Connect, script: Script, url: str) -> None:
    script.answer(200, {"previews": [], "text": ""})

    error = await failure(connect(url).design_voice(name="Carl", description="d" * 20, sample="s" * 100))
    assert type(error) is PlatformUnavailable


async def test_silence_is_unavailable_within_the_bound(connect: Connect, script: Script, url: str) -> None:
    script.silent = True

    error = await failure(connect(url, conversation_seconds=0.1).signed_url("agent_1"))

    assert type(error) is PlatformUnavailable
    assert error.detail == "The voice platform did not answer within 0.1 seconds."


async def test_a_connection_that_breaks_is_unavailable(connect: Connect, script: Script, url: str) -> None:
    script.answer(200, {"signed_url": "wss://somewhere"})
    script.abrupt = True

    error = await failure(connect(url).signed_url("agent_1"))
    assert type(error) is PlatformUnavailable
    assert "RemoteProtocolError" in error.detail


async def test_a_platform_that_is_away_is_unavailable(connect: Connect, serve: Serve, script: Script) -> None:
    async with serve(script) as url:
        pass

    error = await failure(connect(url).signed_url("agent_1"))
    assert type(error) is PlatformUnavailable
    assert "ConnectError" in error.detail


async def test_the_key_is_in_no_error_and_no_chain(connect: Connect, script: Script, url: str, spec: AgentSpec) -> None:
    script.answer(401, {"detail": {"status": "invalid_api_key", "message": f"The key {KEY} is not valid"}})

    error = await failure(connect(url).create_agent(spec))

    assert KEY not in error.detail
    assert error.__cause__ is None
    assert error.__suppress_context__


async def test_the_key_is_in_no_log_line_of_ours_the_sdk_or_httpx(
    connect: Connect, script: Script, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    script.answer(500, {"detail": f"The key {KEY}"})

    await failure(connect(url).signed_url("agent_1"))

    assert "HTTP Request: GET" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("key", ["", "  ", "sk_\nsplit", "sk_ключ"])
async def test_what_cannot_be_a_key_is_said_at_once_without_the_key(connect: Connect, key: str) -> None:
    with pytest.raises(SetupError, match="ELEVENLABS_API_KEY") as caught:
        connect("http://127.0.0.1:1", api_key=key)
    assert "sk_" not in str(caught.value)


async def test_five_faults_open_the_breaker_and_nothing_more_is_sent(
    connect: Connect, script: Script, url: str
) -> None:
    script.answer(500, {})
    platform = connect(url)

    for _ in range(5):
        await failure(platform.signed_url("agent_1"))
    error = await failure(platform.signed_url("agent_1"))

    assert type(error) is CircuitBreakerOpenError
    assert error.retry_after is not None
    assert 29 < error.retry_after <= 30
    # The breaker counts a call once, however often it was tried.
    assert len(script.asked) == 15


async def test_what_passes_is_tried_again_where_it_may_be_repeated(connect: Connect, script: Script, url: str) -> None:
    for status in (500, 503):
        script.answer(status, {})
    script.answer(200, {"signed_url": "wss://platform/one"})
    breaker = CircuitBreaker("conversations")

    assert (await connect(url, conversations=breaker).signed_url("agent_1")).url == "wss://platform/one"
    assert len(script.asked) == 3
    assert breaker.stats(datetime.now(UTC)).failure_count == 0


async def test_nobody_waits_longer_than_a_call_may_take(connect: Connect, script: Script, url: str) -> None:
    script.answer(429, {}, retry_after="6")

    error = await failure(connect(url).signed_url("agent_1"))

    assert error.retry_after == 6
    assert len(script.asked) == 1


async def test_a_platform_that_is_busy_is_not_left_alone(connect: Connect, script: Script, url: str) -> None:
    script.answer(429, detail("concurrent_limit_exceeded", "Too many"), retry_after="6")
    breaker = CircuitBreaker("conversations")
    platform = connect(url, conversations=breaker)

    errors = [await failure(platform.signed_url("agent_1")) for _ in range(8)]

    assert {error.code for error in errors} == {"platform_busy"}
    assert breaker.state == "closed"
    assert breaker.stats(datetime.now(UTC)).failure_count == 0


async def test_refusals_and_unknown_agents_leave_the_breaker_closed(connect: Connect, script: Script, url: str) -> None:
    breaker = CircuitBreaker("conversations")
    platform = connect(url, conversations=breaker)
    for status in [404, 401, 422] * 3:
        script.answer(status, {"detail": "no"})

    for _ in range(9):
        await failure(platform.signed_url("agent_1"))

    assert breaker.state == "closed"


async def test_faults_of_provisioning_leave_conversations_alone(
    connect: Connect, script: Script, url: str, spec: AgentSpec
) -> None:
    platform = connect(url)
    for _ in range(5):
        script.answer(500, {})
    script.answer(200, {"signed_url": "wss://platform/one"})
    for _ in range(5):
        await failure(platform.create_agent(spec))

    assert type(await failure(platform.create_agent(spec))) is CircuitBreakerOpenError
    assert (await platform.signed_url("agent_1")).url == "wss://platform/one"


async def test_the_search_for_a_tag_goes_through_all_pages(connect: Connect, script: Script, url: str) -> None:
    other = {"agent_id": "agent_1", "name": "x", "tags": ["oneiro", "other"]}
    script.answer(200, {"agents": [other], "has_more": True, "next_cursor": "second"})
    script.answer(200, {"agents": [{**other, "agent_id": "agent_2", "tags": ["wanted"]}], "has_more": False})

    assert await connect(url).find_agent("wanted") == "agent_2"
    assert [asked["query"].get(b"cursor") for asked in script.asked] == [None, [b"second"]]
    assert script.asked[0]["query"][b"tags"] == [b"wanted"]


async def test_the_search_ends_with_the_last_page(connect: Connect, script: Script, url: str) -> None:
    script.answer(200, {"agents": [], "has_more": False, "next_cursor": None})

    assert await connect(url).find_agent("wanted") is None
    assert len(script.asked) == 1


async def test_a_cancelled_call_leaves_the_platform_usable(connect: Connect, script: Script, url: str) -> None:
    script.silent = True
    platform = connect(url)
    task = asyncio.create_task(platform.signed_url("agent_1"))
    while not script.asked:  # noqa: ASYNC110 - the server runs in this loop and notes the request when it comes.
        await asyncio.sleep(0)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    script.silent = False
    script.answer(200, {"signed_url": "wss://platform/one"})
    assert (await platform.signed_url("agent_1")).url == "wss://platform/one"
