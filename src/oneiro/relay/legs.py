"""The two sockets of a call behind one small interface, so that a faster pair can take their place.

Both are read and then written: while one side does not take what we send, we do not read the other, and the sockets'
own buffers fill. Nothing is queued here.
"""

import asyncio
import ssl
from contextlib import suppress
from functools import cache
from typing import Final, Protocol

import websockets
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect

from oneiro.errors import PlatformUnavailable
from oneiro.loopback import proxy
from oneiro.relay.limits import MOST_DOWN, MOST_UP, SUBPROTOCOL
from oneiro.relay.splice import EXTENSION, Side, SplicedClient

MOST_REASON: Final = 120
"""Bytes of a close reason; the protocol allows 123."""
CLOSING: Final = 2.0
"""Seconds that a side may take to answer a close."""
LOST: Final = 1006
"""The code that stands for a connection which broke without a close (RFC 6455 section 7.1.5)."""
NO_STATUS: Final = 1005
TOO_BIG: Final = 1009


class Gone(Exception):
    """A side has left: the code of its close (1006 when there was none), or it did not take what was sent."""

    def __init__(self, code: int, *, slow: bool = False) -> None:
        super().__init__(code)
        self.code, self.slow = code, slow


class Leg(Protocol):
    """One side of a call; with a `side` its sound can be spliced to the other's."""

    side: Side | None

    async def receive(self) -> str:
        """The next frame; raises `Gone`. Cancelling loses nothing."""

    async def send(self, frame: str) -> None:
        """Send a frame; raises `Gone`, also when it could not be written in time."""

    async def close(self, code: int, reason: str) -> None:
        """Close this side; one that has left already is no error."""


class ClientLeg:
    """The client's side: a socket of our own server."""

    def __init__(self, socket: WebSocket, *, writing: float) -> None:
        self._socket, self._writing = socket, writing
        self.side: Side | None = socket.scope.get("extensions", {}).get(EXTENSION)

    async def receive(self) -> str:
        """The next frame; raises `Gone`."""
        if self.side:
            self.side.release()
        message = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            # Our server says 1005 of a connection that broke, too.
            code = message.get("code")
            raise Gone(LOST if code in {None, NO_STATUS} else code)
        text: str | None = message.get("text")
        if text is None:
            return ""  # Bytes are no frame of this protocol: read as malformed, and counted.
        if len(text) > MOST_UP:
            raise Gone(TOO_BIG)
        return text

    async def send(self, frame: str) -> None:
        """Send a frame; raises `Gone`."""
        try:
            async with asyncio.timeout(self._writing):
                await self._socket.send_text(frame)
        except TimeoutError:
            raise Gone(LOST, slow=True) from None
        except (WebSocketDisconnect, RuntimeError, OSError):
            raise Gone(LOST) from None

    async def close(self, code: int, reason: str) -> None:
        """Close the socket, if the client is still there."""
        if self.side:
            self.side.give_up()
        with suppress(WebSocketDisconnect, RuntimeError, OSError, TimeoutError):
            async with asyncio.timeout(CLOSING):
                await self._socket.close(code, _fitting(reason))


class UpstreamLeg:
    """The platform's side: a socket that we opened."""

    def __init__(self, socket: ClientConnection, *, writing: float) -> None:
        self._socket, self._writing = socket, writing
        self.side: Side | None = socket.side if isinstance(socket, SplicedClient) else None

    async def receive(self) -> str:
        """The next frame; raises `Gone`."""
        if self.side:
            self.side.release()
        try:
            return await self._socket.recv(decode=True)
        except websockets.ConnectionClosed as closed:
            raise Gone(closed.rcvd.code if closed.rcvd else LOST) from None
        except UnicodeDecodeError:
            return ""

    async def send(self, frame: str) -> None:
        """Send a frame; raises `Gone`."""
        try:
            async with asyncio.timeout(self._writing):
                await self._socket.send(frame)
        except TimeoutError:
            raise Gone(LOST, slow=True) from None
        except websockets.ConnectionClosed as closed:
            raise Gone(closed.rcvd.code if closed.rcvd else LOST) from None

    async def close(self, code: int, reason: str) -> None:
        """Close the socket; what has arrived before can still be received."""
        if self.side:
            self.side.give_up()
        await self._socket.close(code, _fitting(reason))


async def dial(url: str, *, within: float, writing: float) -> UpstreamLeg:
    """Open the platform's socket; raises `PlatformUnavailable`, without the address, which holds a signature."""
    try:
        socket = await connect(
            url,
            subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
            compression=None,
            open_timeout=within,
            close_timeout=CLOSING,
            max_size=MOST_DOWN,
            proxy=proxy(url),
            ssl=_trusting() if url.startswith("wss:") else None,
            create_connection=SplicedClient,
        )
    except (OSError, TimeoutError, websockets.InvalidHandshake, websockets.InvalidURI, EOFError) as error:
        raise PlatformUnavailable(f"The voice platform's socket cannot be opened ({type(error).__name__}).") from None
    return UpstreamLeg(socket, writing=writing)


@cache
def _trusting() -> ssl.SSLContext:
    """One for all calls: it holds every authority that is trusted, which is 0.7 MB, and 16 ms to read them."""
    return ssl.create_default_context()


def _fitting(reason: str) -> str:
    return reason.encode()[:MOST_REASON].decode(errors="ignore")
