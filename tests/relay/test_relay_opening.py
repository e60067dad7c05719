"""Opening and leaving when something is in the way: a platform that hangs or drops, a drain, a fault of ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from tests.relay.conftest import Passing, StagedPlatform
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from oneiro.errors import PlatformUnavailable

Serve = Callable[..., Awaitable[Any]]
SignIn = Callable[..., Any]
Dial = Callable[..., Awaitable[Any]]
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]


class Door:
    """A platform's socket that opens and says nothing until it is let; or is slammed."""

    def __init__(self) -> None:
        self.url, self.knocks, self.slam = "", 0, False
        self.knocked, self.let = asyncio.Event(), asyncio.Event()

    async def answer(self, socket: ServerConnection) -> None:
        self.knocks += 1
        self.knocked.set()
        if self.slam:
            await socket.close(1011)
            return
        await self.let.wait()
        event = {"conversation_id": f"conv_{self.knocks}"}
        first = {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": event}
        with suppress(ConnectionClosed):
            await socket.send(json.dumps(first))
            await socket.wait_closed()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door()
    async with serve(made.answer, "127.0.0.1", 0) as server:
        made.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        yield made
        made.let.set()


async def test_a_ticket_opens_no_more_than_two_sockets_of_the_platform_at_once(
    serve: Serve, sign_in: SignIn, dial: Dial, door: Door
) -> None:
    replica = await serve()
    replica.relay._platform = StagedPlatform(door.url)
    started = await sign_in(replica).start()
    sockets = [await dial(started["signed_url"]) for _ in range(6)]
    for socket in sockets:
        await socket.send(type="conversation_initiation_client_data")

    ends = [asyncio.create_task(socket.closed()) for socket in sockets]
    refused: list[Any] = []
    async with asyncio.timeout(10):
        while len(refused) < 4:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            refused += [end.result() for end in ends if end.done()]
            ends = [end for end in ends if not end.done()]
    door.let.set()
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)

    assert refused == [(1013, "opening")] * 4
    assert door.knocks == 2
    assert [end.result() for end in ends if end.done()] == [(1008, "ticket_used")]
    for end in ends:
        end.cancel()


async def test_a_socket_that_is_being_opened_when_the_server_drains_is_told_to_come_again(
    serve: Serve, sign_in: SignIn, dial: Dial, door: Door, look: Rows
) -> None:
    replica = await serve()
    replica.relay._platform = StagedPlatform(door.url)
    started = await sign_in(replica).start()
    socket = await dial(started["signed_url"])
    await socket.send(type="conversation_initiation_client_data")
    await door.knocked.wait()

    draining = asyncio.create_task(replica.relay.drain(20, replica.app.state.sweeper.interrupt))
    await asyncio.sleep(0)
    assert replica.relay._draining
    assert not draining.done()
    door.let.set()

    assert (await socket.closed())[0] == 1012
    async with asyncio.timeout(5):
        await draining
    [row] = await look("SELECT connected_at FROM conversation_sessions")
    assert row["connected_at"] is None


async def test_a_database_that_is_away_keeps_no_drain_from_closing_calls(
    replica: Any, dreamer: Any, dial: Dial
) -> None:
    socket = await dial((await dreamer.start())["signed_url"])
    await socket.open()

    async def away(_conversations: list[UUID]) -> None:
        raise PlatformUnavailable("Away.")

    await replica.relay.drain(0.01, away)

    assert (await socket.closed())[0] == 1012
    assert replica.relay.calls == 0


async def test_a_fault_at_the_end_of_a_call_leaves_no_call_behind(replica: Any, dreamer: Any, dial: Dial) -> None:
    socket = await dial((await dreamer.start())["signed_url"])

    class Faulty(Passing):
        async def close(self, *_known: object) -> None:
            raise RuntimeError("unforeseen")

    replica.relay._relayed = Faulty(replica.relay._relayed)
    await socket.open()
    assert replica.relay.calls == 1
    await socket.socket.close(1000)

    async with asyncio.timeout(5):
        await replica.relay._empty.wait()
    assert replica.relay.calls == 0


async def test_sockets_that_fail_again_and_again_are_left_alone_although_addresses_can_be_had(
    serve: Serve, sign_in: SignIn, dial: Dial, door: Door
) -> None:
    replica = await serve()
    replica.relay._platform = StagedPlatform(door.url)
    dreamer = sign_in(replica)
    door.slam = True
    started = await dreamer.start()
    for _ in range(6):
        socket = await dial(started["signed_url"])
        await socket.send(type="conversation_initiation_client_data")
        assert (await socket.closed())[0] == 1011

    assert door.knocks == 5
    answer = await dreamer.http.post("/conversations", json={"interpreter_id": "carl", "text_only": True})
    assert (answer.status_code, answer.json()["code"]) == (503, "platform_unavailable")
    states = {each.name: each.state for each in (await replica.app.state.platform_overview.read()).breakers}
    assert states["sockets"] == "open"
