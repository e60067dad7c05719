"""A proxy of the environment stands between us and the world, never between two processes of this machine."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import oneiro
from oneiro.auth import KeySet
from oneiro.breaker import CircuitBreaker
from oneiro.cli import chat, operator_api
from oneiro.cli.listen import bind, listening
from oneiro.engine.settings import EngineSettings
from oneiro.engine.state import Engine
from oneiro.loopback import proxy
from oneiro.platform.elevenlabs import ElevenLabsPlatform

Client = Callable[[str], AbstractAsyncContextManager[httpx.AsyncClient]]


@asynccontextmanager
async def of_the_engine(_url: str) -> AsyncIterator[httpx.AsyncClient]:
    engine = Engine(EngineSettings())
    yield engine.http
    await engine.close()


@asynccontextmanager
async def of_the_platform(url: str) -> AsyncIterator[httpx.AsyncClient]:
    one, other = CircuitBreaker("one"), CircuitBreaker("other")
    platform = ElevenLabsPlatform(
        "k", conversations=one, provisioning=other, clock=lambda: datetime.now(UTC), base_url=url
    )
    yield platform._http
    await platform._http.aclose()


@asynccontextmanager
async def of_the_key_set(url: str) -> AsyncIterator[httpx.AsyncClient]:
    client = KeySet(url)._client
    yield client
    await client.aclose()


@asynccontextmanager
async def of_the_chat(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with chat.signed_in(url, "a token") as api:
        yield api.client


@asynccontextmanager
async def of_the_operator(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with operator_api.operator_api(url, "a token", None) as api:
        yield api._client


@asynccontextmanager
async def saying(words: str) -> AsyncIterator[str]:
    """A server that says the same to whatever it is asked."""

    async def say(_request: Request) -> PlainTextResponse:
        return PlainTextResponse(words)

    async with listening(Starlette(routes=[Route("/{rest:path}", say)]), bind("127.0.0.1", 0, what="a test")) as served:
        yield served.url


@pytest.mark.parametrize("client", [of_the_engine, of_the_platform, of_the_key_set, of_the_chat, of_the_operator])
async def test_the_environments_proxy_leads_out_and_not_around(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async with saying("by proxy") as away, saying("directly") as here:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, away)
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        async with client(here) as http:
            assert (await http.get(f"{here}/path")).text == "directly"
            assert (await http.get(f"{here.replace('127.0.0.1', 'localhost')}/path")).text == "directly"
            assert (await http.get("http://outside.example/path")).text == "by proxy"


def test_no_client_is_made_in_another_way() -> None:
    made = [
        (path.name, call)
        for path in Path(oneiro.__file__).parent.rglob("*.py")
        for call in re.findall(r"httpx\.(?:Async)?Client\((.*)\)", path.read_text())
    ]
    assert len(made) >= 6
    assert [each for each in made if "mounts=UNPROXIED" not in each[1]] == []


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://127.0.0.1:8401/v1/convai", None),
        ("ws://[::1]:8401/v1/convai", None),
        ("ws://localhost/v1/convai", None),
        ("wss://api.elevenlabs.io/v1/convai", True),
        ("wss://127.0.0.1.example/v1/convai", True),
    ],
)
def test_a_socket_on_this_machine_has_no_proxy(url: str, expected: object) -> None:
    assert proxy(url) is expected
