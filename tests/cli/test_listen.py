"""The server of the commands: its loop, its reader of requests, and how long a request's head may be."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import uvloop
from fastapi import FastAPI, Request

from oneiro.cli.listen import MOST_HEAD, bind, listening, run

BODY = 4 * MOST_HEAD


@pytest.fixture
async def port() -> AsyncIterator[int]:
    app = FastAPI()

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    async with listening(app, bind("127.0.0.1", 0, what="the test")) as served:
        yield int(served.url.rpartition(":")[2])


async def ask(port: int, *parts: bytes, answers: int = 1) -> list[bytes]:
    """Send parts one by one on one connection, as far as it stays open, and read so many answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    read: list[bytes] = []
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            while len(read) < answers:
                head = await reader.readuntil(b"\r\n\r\n")
                read.append(head.partition(b"\r\n")[0])
                await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
    return read


def request(*headers: bytes, body: bytes = b"") -> bytes:
    lines = [b"POST /length HTTP/1.1", b"Host: x", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


def test_a_command_runs_on_uvloop_and_gives_its_result() -> None:
    async def loop() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert run(loop()) == uvloop.__name__


async def test_bodies_are_longer_than_heads_may_be_and_a_connection_is_used_again(port: int) -> None:
    whole = request(body=b"x" * BODY)

    assert await ask(port, whole, whole, request(b"A: " + b"a" * 1000), answers=3) == [b"HTTP/1.1 200 OK"] * 3


@pytest.mark.parametrize("beginning", [b"POST /length HTTP/1.1\r\nHost: x\r\nA: ", b"POST /length?"])
async def test_a_head_that_does_not_end_is_not_kept(port: int, beginning: bytes) -> None:
    endless = [b"a" * 8192] * (2 * MOST_HEAD // 8192)

    assert (await ask(port, beginning, *endless))[:1] in ([b"HTTP/1.1 400 Bad Request"], [])
    assert await ask(port, request()) == [b"HTTP/1.1 200 OK"]


async def test_headers_without_end_are_not_kept_on_a_connection_that_was_used(port: int) -> None:
    endless = [b"A%d: %s\r\n" % (n, b"a" * 4000) for n in range(3 * MOST_HEAD // 4000)]

    answers = await ask(port, request(body=b"x" * BODY), b"POST /length HTTP/1.1\r\nHost: x\r\n", *endless, answers=2)

    assert answers in ([b"HTTP/1.1 200 OK", b"HTTP/1.1 400 Bad Request"], [b"HTTP/1.1 200 OK"], [])
