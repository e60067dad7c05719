"""A session that is held in writing gives the platform no sound, whatever its client sends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.types import ASGIApp

from oneiro.platform.port import SignedUrl

Serve = Callable[..., Awaitable[Any]]
Dial = Callable[..., Awaitable[Any]]
Reach = Callable[[Any, str], Awaitable[str]]
SOUND = '{"user_audio_chunk":"AAAA"}'


@dataclass
class Led:
    """A platform whose addresses all lead to the stage."""

    url: str

    async def signed_url(self, _agent_id: str) -> SignedUrl:
        return SignedUrl(self.url, datetime.now(UTC) + timedelta(minutes=15))


@asynccontextmanager
async def _plainly(app: ASGIApp) -> AsyncIterator[str]:
    """The same application, which runs already, on a server that cannot splice; host and port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="websockets-sansio"))
    serving = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it.
        await asyncio.sleep(0.01)
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@pytest.fixture(params=["spliced", "plain"])
async def reach(request: pytest.FixtureRequest) -> AsyncIterator[Reach]:
    """An address of the relay as it is served, and as a server without splice would serve it."""
    async with AsyncExitStack() as stack:

        async def led(replica: Any, address: str) -> str:
            if request.param == "spliced":
                return address
            return address.replace(urlsplit(address).netloc, await stack.enter_async_context(_plainly(replica.app)))

        yield led


@pytest.mark.parametrize("why", ["the client asks to write", "consent is withdrawn", "voice is switched off"])
async def test_no_sound_of_a_written_session_reaches_the_platform(
    why: str, reach: Reach, serve: Serve, sign_in: Callable[..., Any], dial: Dial, stage: Any
) -> None:
    replica = await serve(voice_enabled=why != "voice is switched off")
    replica.relay._platform = Led(stage.url)
    dreamer = sign_in(replica)
    started = await dreamer.start(text_only=False)
    if why == "consent is withdrawn":
        await dreamer.http.patch("/me", json={"consents": {"voice": False}})
    socket = await dial(await reach(replica, started["signed_url"]))
    await socket.open(text_only=why == "the client asks to write")

    for _ in range(3):
        await socket.socket.send(SOUND)
    await socket.send(type="user_message", text="I walked along a canal.")

    heard = await stage.received(2)
    assert [frame["type"] for frame in heard] == ["conversation_initiation_client_data", "user_message"]
    assert stage.raw.count(SOUND) == 0
    assert (replica.frames("up", "audio"), replica.frames("up_dropped", "audio")) == (0, 3)


async def test_the_sound_of_a_spoken_session_reaches_it_either_way(
    reach: Reach, serve: Serve, sign_in: Callable[..., Any], dial: Dial, stage: Any
) -> None:
    replica = await serve()
    replica.relay._platform = Led(stage.url)
    started = await sign_in(replica).start(text_only=False)
    socket = await dial(await reach(replica, started["signed_url"]))
    await socket.open(text_only=False)

    await socket.socket.send(SOUND)

    await stage.received(2)
    assert stage.raw[1] == SOUND
