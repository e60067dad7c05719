"""The splice: however the bytes come, sound goes to the other side and all else to the library, in order."""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from oneiro.relay.splice import Side, is_sound_down, is_sound_up


class Transport:
    """A transport that keeps what is written and whether it is read."""

    def __init__(self) -> None:
        self.written = b""
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Pair:
    """A client's side spliced to a platform's; `handed` is what the library got, `freed` deals with it at once."""

    def __init__(self, *, freed: bool = True, masked: bool = True) -> None:
        self.handed: list[bytes] = []
        self.admitted = True
        self.freed = freed
        self.stuck = 0
        sound = is_sound_up if masked else is_sound_down
        self.side = Side(self._deliver, sound, masked=masked, largest=64 * 1024)
        self.peer = Side(lambda _: None, is_sound_down, masked=not masked, largest=1024 * 1024)
        self.near, self.far = Transport(), Transport()
        self.side.transport, self.peer.transport = self.near, self.far  # type: ignore[assignment]
        self.side.splice(self.peer, lambda: self.admitted, self._count, patience=10)
        self.peer.splice(self.side, lambda: True, self._count, patience=10)

    def _deliver(self, data: bytes) -> None:
        self.handed.append(data)

    def _count(self) -> None:
        self.stuck += 1

    def take(self, data: bytes) -> None:
        self.side.take(data)
        while self.freed and self.side._held:
            self.side.release()


def frame(text: str, opcode: Opcode = Opcode.TEXT, *, mask: bool = True, fin: bool = True) -> bytes:
    return Frame(opcode, text.encode(), fin).serialize(mask=mask)


def sound(size: int = 4) -> str:
    return '{"user_audio_chunk":"' + "A" * size + '"}'


OTHERS = [
    frame('{"type":"pong","event_id":1}'),
    frame('{"user_audio_chunk":"A","type":"contextual_update"}'),
    frame('{"user_audio_chunk":"Ä"}'),
    frame(sound(), Opcode.BINARY),
    frame("", Opcode.PING),
    frame("", Opcode.CLOSE),
    frame(sound(), fin=False) + frame("x", Opcode.CONT),
]
SOUNDS = [frame(sound(size)) for size in (0, 4, 125, 1391, 12_000)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, len(OTHERS + SOUNDS) - 1), max_size=12), st.lists(st.integers(1, 3000), min_size=1))
def test_however_the_bytes_are_cut_each_frame_goes_its_way_in_order(chosen: list[int], cuts: list[int]) -> None:
    stream = [(OTHERS + SOUNDS)[place] for place in chosen]
    pair, data, sizes = Pair(), b"".join(stream), itertools.cycle(cuts)
    while data:
        size = next(sizes)
        pair.take(data[:size])
        data = data[size:]
    assert pair.far.written == b"".join(one for one in stream if one in SOUNDS)
    assert b"".join(pair.handed) == b"".join(one for one in stream if one not in SOUNDS)


def test_nothing_passes_a_frame_that_is_being_dealt_with() -> None:
    pair = Pair(freed=False)
    pair.take(SOUNDS[0] + OTHERS[0] + SOUNDS[1])
    assert (pair.handed, pair.far.written) == ([OTHERS[0]], SOUNDS[0])
    assert not pair.near.reading
    pair.admitted = False
    pair.side.release()
    assert pair.far.written == SOUNDS[0]
    assert pair.near.reading


def test_a_side_that_is_full_stops_the_other() -> None:
    pair = Pair()
    pair.peer.writable = False
    pair.take(SOUNDS[0] + OTHERS[0])
    assert (pair.far.written, pair.handed, pair.near.reading) == (b"", [], False)
    pair.peer.resume()
    pair.side.release()
    assert (pair.far.written, pair.handed, pair.near.reading) == (SOUNDS[0], [OTHERS[0]], True)


async def test_a_side_that_stays_full_is_told_of_once() -> None:
    pair = Pair()
    pair.side.splice(pair.peer, lambda: True, pair._count, patience=0)
    pair.side.pause()
    pair.side.pause()
    await asyncio.sleep(0.01)
    assert pair.stuck == 1


@pytest.mark.parametrize(
    "wrong",
    [
        frame(sound(), mask=False),
        frame(sound(70_000))[:40],
        bytes([0x81, 0xFF]) + b"\xff" * 20,
    ],
    ids=["unmasked", "half a frame", "no length"],
)
def test_what_is_against_the_rules_is_left_to_the_library(wrong: bytes) -> None:
    pair = Pair()
    pair.take(wrong)
    assert pair.handed == [wrong]
    assert pair.far.written == b""


def test_sound_in_the_middle_of_another_message_is_no_sound() -> None:
    pair = Pair()
    parts = [frame('{"type":', fin=False), SOUNDS[1], frame("x", Opcode.CONT), SOUNDS[2]]
    pair.take(b"".join(parts))
    assert b"".join(pair.handed) == b"".join(parts[:2]) + parts[2]
    assert pair.far.written == SOUNDS[2]


def test_what_waits_goes_to_the_library_when_the_splice_ends() -> None:
    pair = Pair(freed=False)
    pair.take(OTHERS[0] + OTHERS[1] + SOUNDS[1][:9])
    pair.side.give_up()
    pair.take(SOUNDS[1][9:])
    assert b"".join(pair.handed) == OTHERS[0] + OTHERS[1] + SOUNDS[1]
    assert pair.far.written == b""


def test_the_voice_is_known_in_either_spelling() -> None:
    pair: Any = Pair(masked=False)
    for text in ('{"type":"audio","audio_event":{}}', '{"type": "audio"}', '{"audio_event":{},"type":"audio"}'):
        pair.take(frame(text, mask=False))
    pair.take(frame('{"type":"ping"}', mask=False))
    assert pair.handed == [frame('{"type":"ping"}', mask=False)]
