"""Sound formats: 16-bit mono PCM at a rate, µ-law, WAV, and how loud a piece is."""

import struct
import sys
from array import array
from dataclasses import dataclass
from functools import cache

BIAS, CLIP = 0x84, 32_635
"""Constants of the µ-law code (ITU-T G.711)."""


@dataclass(frozen=True)
class SoundFormat:
    """A format of the platform, e.g. `pcm_16000` or `ulaw_8000`."""

    code: str
    rate: int

    @classmethod
    def of(cls, name: str) -> "SoundFormat":
        """Read a name such as `pcm_16000`."""
        code, rate = name.split("_")
        return cls(code, int(rate))

    @property
    def bytes_per_second(self) -> int:
        """How many bytes a second of sound takes on the wire."""
        return self.rate * (1 if self.code == "ulaw" else 2)

    def encode(self, pcm: bytes) -> bytes:
        """16-bit PCM as it goes over the wire."""
        return bytes(_to_ulaw()[(sample >> 2) + 8192] for sample in _samples(pcm)) if self.code == "ulaw" else pcm

    def decode(self, data: bytes) -> bytes:
        """What came over the wire as whole 16-bit PCM samples."""
        if self.code != "ulaw":
            return data[: len(data) // 2 * 2]
        table = _from_ulaw()
        return array("h", [table[code] for code in data]).tobytes()


def loudness(pcm: bytes) -> float:
    """Mean absolute amplitude of 16-bit PCM, from 0 to 1."""
    samples = _samples(pcm)
    return sum(map(abs, samples)) / len(samples) / 32_768 if samples else 0.0


def wav(pcm: bytes, rate: int) -> bytes:
    """16-bit mono PCM as a WAV file."""
    fields = (b"RIFF", 36 + len(pcm), b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16, b"data", len(pcm))
    return struct.pack("<4sI4s4sIHHIIHH4sI", *fields) + pcm


def _samples(pcm: bytes) -> "array[int]":
    samples = array("h")
    samples.frombytes(pcm[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


@cache
def _to_ulaw() -> bytes:
    """The code of every amplitude in steps of 4, from -32768 on."""
    return bytes(_code(step * 4) for step in range(-8192, 8192))


def _code(sample: int) -> int:
    sign = 0x80 if sample < 0 else 0
    magnitude = min(abs(sample), CLIP) + BIAS
    exponent = magnitude.bit_length() - 8
    return ~(sign | exponent << 4 | (magnitude >> exponent + 3) & 0x0F) & 0xFF


@cache
def _from_ulaw() -> tuple[int, ...]:
    return tuple(_amplitude(~code & 0xFF) for code in range(256))


def _amplitude(code: int) -> int:
    magnitude = (((code & 0x0F) << 3) + BIAS << (code >> 4 & 7)) - BIAS
    return -magnitude if code & 0x80 else magnitude
