"""Serve an ASGI app inside this process, on a socket of our own."""

import asyncio
import errno
import gc
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from oneiro.errors import SetupError
from oneiro.relay.limits import MOST_UP
from oneiro.relay.splice import SplicedServer

loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with suppress(ImportError):  # There is none for Windows.
    from uvloop import new_event_loop as loop_factory

MOST_HEAD: Final = 64 * 1024
"""Bytes of a request's line and headers."""

Result = TypeVar("Result")


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """Run a command to its end on the fastest loop there is for this machine."""
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main)


class BoundedHead(HttpToolsProtocol):
    """uvicorn's reader of requests, which by itself would keep a line or headers of any length."""

    _head: int | None = 0

    def data_received(self, data: bytes) -> None:
        """Read on, unless the head of the request has grown too large."""
        if self._head is not None:
            self._head += len(data)
        super().data_received(data)
        if self._head is not None and self._head > MOST_HEAD and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head = self._head or 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its body may be as long as the app allows."""
        self._head = None
        super().on_headers_complete()


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the command that runs it."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@dataclass(frozen=True, slots=True)
class Listening:
    """Where an app is served, and the task that serves it (done when the server has ended)."""

    url: str
    task: asyncio.Task[None]


def bind(host: str, port: int, *, what: str) -> socket.socket:
    """A listening socket; raises `SetupError` with one line when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        if isinstance(error, socket.gaierror):
            raise SetupError(f"{host} is no address of this machine for {what}: {error.strerror}") from None
        if error.errno == errno.EADDRINUSE:
            raise SetupError(
                f"port {port} on {host} is in use: stop what is listening there, or choose another port for {what}"
            ) from None
        raise SetupError(f"{what} cannot listen on {host}:{port}: {error.strerror or error}") from None
    sock.setblocking(False)
    return sock


@asynccontextmanager
async def listening(
    app: ASGIApp, sock: socket.socket, *, grace: int = 5, leaving: Callable[[], None] = lambda: None
) -> AsyncIterator[Listening]:
    """Serve an app until the block ends.

    `leaving` is called then, and open requests get `grace` seconds more.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="warning",  # Below it uvicorn names addresses, and with them tickets.
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=grace,
        server_header=False,
        # Who is calling is the address of the socket: a header that anyone may send decides nothing.
        proxy_headers=False,
        http=BoundedHead,
        ws=SplicedServer,
        ws_max_size=MOST_UP,
        ws_per_message_deflate=False,  # Sound does not get smaller, and every call would hold two windows.
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[sock]), name="http server")
    while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn offers a flag, not an event.
        await asyncio.sleep(0.005)
    if task.done():
        await task
        raise SetupError("the server did not start; see the lines above")
    # What was made so far stays: the collector need not look through it again and again while requests wait.
    gc.collect()
    gc.freeze()
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    try:
        yield Listening(f"http://{shown}:{port}", task)
    finally:
        leaving()
        server.should_exit = True
        await asyncio.wait([task])
