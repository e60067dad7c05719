"""A process of its own that turns words into speech: `python -m oneiro.engine.espeak_process VOICE WPM RATE`.

Reads UTF-8 text on stdin and writes 16-bit little-endian mono PCM at RATE on stdout. It runs `espeak-ng` where that is
on PATH and else loads the library of the `espeakng_loader` wheel here; that code is under the GPL and so never enters
the process of the engine.
"""

import ctypes
import importlib
import shutil
import subprocess
import sys
from array import array

LIBRARY_OUTPUT_SYNCHRONOUS = 2
PARAMETER_RATE = 1
POSITION_CHARACTER = 1
CHARACTERS_UTF8 = 1


def main(voice: str, words_per_minute: int, rate: int) -> None:
    """Speak what stands on stdin."""
    text = sys.stdin.buffer.read().decode()
    program = shutil.which("espeak-ng")
    samples, spoken_at = (
        _by_program(program, text, voice, words_per_minute) if program else _by_library(text, voice, words_per_minute)
    )
    out = resample(samples, spoken_at, rate)
    if sys.byteorder == "big":
        out.byteswap()
    sys.stdout.buffer.write(out.tobytes())


def _by_program(program: str, text: str, voice: str, words_per_minute: int) -> tuple["array[int]", int]:
    """Samples and their rate, from the WAV that the program writes (its length field is a guess on a pipe)."""
    command = [program, "-v", voice, "-s", str(words_per_minute), "--stdin", "--stdout"]
    wave = subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout  # noqa: S603 - found on PATH.
    start = wave.index(b"data") + 8
    rate = int.from_bytes(wave[24:28], "little")
    return _pcm(wave[start:]), rate


def _by_library(text: str, voice: str, words_per_minute: int) -> tuple["array[int]", int]:
    """Samples and their rate, from the library in the wheel."""
    wheel = importlib.import_module("espeakng_loader")
    library = ctypes.CDLL(wheel.get_library_path())
    rate = library.espeak_Initialize(LIBRARY_OUTPUT_SYNCHRONOUS, 0, str(wheel.get_data_path()).encode(), 0)
    if rate <= 0:
        raise SystemExit("espeak-ng could not be started")
    spoken = array("h")

    def collect(wave: int | None, count: int, _: int | None) -> int:
        if wave:
            spoken.frombytes(ctypes.string_at(wave, count * 2))
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)(collect)
    library.espeak_SetSynthCallback(callback)
    library.espeak_SetVoiceByName(voice.encode())
    library.espeak_SetParameter(PARAMETER_RATE, words_per_minute, 0)
    data = text.encode()
    library.espeak_Synth(data, len(data) + 1, 0, POSITION_CHARACTER, 0, CHARACTERS_UTF8, None, None)
    library.espeak_Synchronize()
    return spoken, int(rate)


def _pcm(data: bytes) -> "array[int]":
    samples = array("h")
    samples.frombytes(data[: len(data) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def resample(samples: "array[int]", rate: int, wanted: int) -> "array[int]":
    """The samples at another rate, by linear interpolation."""
    if rate == wanted or not samples:
        return samples
    out = array("h", bytes(2 * int(len(samples) * wanted / rate)))
    step, last = rate / wanted, len(samples) - 1
    for index in range(len(out)):
        place = index * step
        before = int(place)
        after = min(before + 1, last)
        out[index] = int(samples[before] + (samples[after] - samples[before]) * (place - before))
    return out


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
