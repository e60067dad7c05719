"""The fast path: sound goes from socket to socket as the bytes it came in, everything else through the libraries.

Both classes below are the libraries' own protocols with one method before them: it looks at the header of each frame.
A whole frame of sound is written to the other side's transport as it is, a client's with the mask it came with. Any
other frame is handed to the library, and nothing after it moves until the call has dealt with it: order is kept, and
what is decided about a frame (to withhold the sound that follows) holds for all that follows.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import ClientConnection
from websockets.frames import Opcode
from websockets.protocol import State

try:
    from websockets.speedups import apply_mask
except ImportError:  # The wheel for this machine came without its compiled part.
    from websockets.utils import apply_mask

EXTENSION: Final = "oneiro.splice"
"""Under this name a handler finds the protocol of its socket in `scope["extensions"]`."""
TEXT: Final = 0x81
"""First byte of a whole text frame without extensions (RFC 6455 section 5.2)."""
READ_AHEAD: Final = 32 * 1024
"""Bytes that the kernel is asked to keep of what the platform sends: three quarters of a second of its sound."""
_SOUND_UP: Final = b'{"user_audio_chunk"'
_SOUND_DOWN: Final = (b'{"type": "audio"', b'{"type":"audio"', b'{"audio_event"')
_WRONG: Final = -1
"""Stands for a frame against the rules: it is the library's to refuse, and so is all that follows it."""
_DATA: Final = {Opcode.CONT, Opcode.TEXT, Opcode.BINARY}


def is_sound_up(frame: bytes, head: int) -> bool:
    """Whether a masked frame is the microphone's: one key with one string, as four quotation marks prove."""
    payload = apply_mask(frame[head:], frame[head - 4 : head])
    return payload.startswith(_SOUND_UP) and payload.count(b'"') == 4 and payload.isascii()


def is_sound_down(frame: bytes, head: int) -> bool:
    """Whether a frame of the platform's is the interpreter's voice."""
    return frame.startswith(_SOUND_DOWN, head)


class Side:
    """One side of a splice.

    deliver: hands bytes to the library; is_sound: looks at a whole text frame, given where its payload begins;
    largest: bytes of a payload, above which the library is left to refuse it.
    """

    def __init__(
        self, deliver: Callable[[bytes], None], is_sound: Callable[[bytes, int], bool], *, masked: bool, largest: int
    ) -> None:
        self._deliver, self._is_sound = deliver, is_sound
        self._mask, self._largest = 4 * masked, largest
        self._rest = b""
        self._held = self._through = self._fragmented = False
        self._peer: Side | None = None
        self._admits: Callable[[], bool] = bool
        self._stuck: Callable[[], None] = lambda: None
        self._patience = 0.0
        self._late: asyncio.TimerHandle | None = None
        self.transport: asyncio.Transport | None = None
        self.open: Callable[[], bool] = lambda: True
        self.writable = True

    def splice(self, peer: "Side", admits: Callable[[], bool], stuck: Callable[[], None], *, patience: float) -> None:
        """Send sound straight to `peer` if `admits()`; `stuck` is told when this side takes nothing for so long."""
        self._peer, self._admits, self._stuck, self._patience = peer, admits, stuck, patience

    def release(self) -> None:
        """The frame that was handed over has been dealt with."""
        if self._held:
            self._held = False
            self._go_on()

    def give_up(self) -> None:
        """Hand everything to the library from here on."""
        self._peer, self._through = None, True
        if self._late:
            self._late.cancel()
        self._go_on()

    def take(self, data: bytes) -> None:
        """Take bytes from the network."""
        self._rest = self._rest + data if self._rest else data
        self._go_on()

    def pause(self) -> None:
        """The transport is full: the other side is not read until it drains."""
        self.writable = False
        if self._peer and self._late is None:
            self._late = asyncio.get_running_loop().call_later(self._patience, self._stuck)

    def resume(self) -> None:
        """The transport has drained."""
        self.writable = True
        if self._late:
            self._late.cancel()
            self._late = None
        if self._peer:
            self._peer._go_on()  # noqa: SLF001 - another object of this class.

    def _go_on(self) -> None:
        if self._through:
            rest, self._rest = self._rest, b""
            if rest:
                self._deliver(rest)
        else:
            self._scan()
        if self.transport is None or self.transport.is_closing():
            return
        if not self._waits():
            self.transport.resume_reading()
        elif self._rest:
            self.transport.pause_reading()

    def _waits(self) -> bool:
        return self._held or (self._peer is not None and not self._peer.writable)

    def _scan(self) -> None:
        data, at = self._rest, 0
        while not self._waits() and (size := self._size(data, at)):
            head, end = size
            if head == _WRONG:
                self._rest = data[at:]
                self.give_up()
                return
            if end > len(data):
                break
            frame = data[at:end]
            at = end
            if frame[0] == TEXT and self._peer and not self._fragmented and self._is_sound(frame, head):
                if self._admits() and self._peer.open():
                    assert self._peer.transport is not None
                    self._peer.transport.write(frame)
            else:
                # The library may put an end to the splice meanwhile, and then takes the rest.
                self._rest = data[at:]
                self._hand_over(frame)
                data, at = self._rest, 0
        self._rest = data[at:]

    def _size(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Where the payload of the frame at `at` begins and where it ends; None while its header is incomplete."""
        have = len(data) - at
        if have < 2:
            return None
        length, head = data[at + 1] & 0x7F, 2
        if length > 125:
            head = 4 if length == 126 else 10
            if have < head:
                return None
            length = int.from_bytes(data[at + 2 : at + head], "big")
        if length > self._largest or bool(data[at + 1] & 0x80) is not bool(self._mask):
            return _WRONG, len(data)
        head += self._mask
        return head, at + head + length

    def _hand_over(self, frame: bytes) -> None:
        opcode, final = frame[0] & 0x0F, bool(frame[0] & 0x80)
        if opcode in _DATA:
            self._fragmented = not final
            self._held = final
        self._deliver(frame)


class SplicedServer(WebSocketsSansIOProtocol):
    """uvicorn's protocol of a client's socket; give it to `uvicorn.Config(ws=…)`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.side = Side(super().data_received, is_sound_up, masked=True, largest=self.config.ws_max_size)
        self.side.open = lambda: self.handshake_complete and not self.close_sent and not self.disconnected

    def handle_connect(self, event: Any) -> None:
        """Let the handler find this side."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            cast("dict[str, Any]", self.scope["extensions"])[EXTENSION] = self.side

    def data_received(self, data: bytes) -> None:
        """The handshake comes first and whole; then frames."""
        if not self.handshake_initiated:
            super().data_received(data)
            return
        self.side.transport = self.transport
        self.side.take(data)

    def pause_writing(self) -> None:
        """The client does not keep up."""
        super().pause_writing()
        self.side.pause()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self.side.resume()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand over what is left first."""
        self.side.give_up()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """The server stops."""
        self.side.give_up()
        super().shutdown()


class SplicedClient(ClientConnection):
    """websockets' connection to the platform; give it to `connect(create_connection=…)`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        largest = self.protocol.max_message_size
        self.side = Side(super().data_received, is_sound_down, masked=False, largest=largest or 1 << 62)
        self.side.open = lambda: self.protocol.state is State.OPEN
        self._head: bytes | None = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take little at a time: TLS keeps room for the largest read of a connection until its end."""
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_AHEAD)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """The answer to the handshake comes first, perhaps with frames behind it."""
        if self._head is not None:
            self._head += data
            head, found, frames = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head = None
            super().data_received(head + found)
            data = frames
        self.side.transport = self.transport
        if data:
            self.side.take(data)

    def pause_writing(self) -> None:
        """The platform does not keep up."""
        super().pause_writing()
        self.side.pause()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        self.side.resume()

    def eof_received(self) -> None:
        """Hand over what is left first."""
        self._give_up()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hand over what is left first."""
        self._give_up()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self._head:
            head, self._head = self._head, None
            super().data_received(head)
        self.side.give_up()
