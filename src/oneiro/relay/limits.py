"""The numbers of the relay, in seconds and bytes."""

from dataclasses import dataclass
from typing import Final

MOST_UP: Final = 64 * 1024
"""Bytes of a frame from a client: two seconds of its sound at 16 kHz are 86 KB, and clients send a quarter at most."""
MOST_DOWN: Final = 1024 * 1024
"""Bytes of a frame from the platform."""
SUBPROTOCOL: Final = "convai"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a relay waits, in seconds.

    opening: for the client's first frame. dialling: for the platform's socket and its metadata. writing: for a side
    that does not read. silence_spoken, silence_written: before the good night, in speech and in writing (below the
    platform's own ten minutes). farewell: between the last words and the end. renewing: between two renewals of the
    slots, with a look at what others did that the tail may have missed. settling: for what is still to be written when
    a call is over; owing: for lines that are still not written then. keeping: for a typed message to be stored before
    it is passed on.
    """

    opening: float = 5.0
    dialling: float = 10.0
    writing: float = 10.0
    silence_spoken: float = 180.0
    silence_written: float = 540.0
    farewell: float = 30.0
    renewing: float = 10.0
    settling: float = 30.0
    owing: float = 600.0
    keeping: float = 10.0
