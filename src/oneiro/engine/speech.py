"""Speech: words to sound, by espeak-ng in a process of its own, else silence as long as the words would take."""

import asyncio
import importlib.util
import shutil
import sys

from oneiro.engine.voices import Gender

WORDS_PER_MINUTE = 150
AT_ONCE = 2
"""Processes that speak at the same time; others wait."""
PATIENCE = 30.0
"""Seconds after which a speaking process is given up."""
_VARIANTS: dict[Gender, str] = {"female": "f3", "male": "m3"}
_ENGLISH: dict[Gender, str] = {"female": "en-us", "male": "en-gb"}


def can_speak() -> bool:
    """Whether espeak-ng is on PATH or in a wheel; looking does not load it."""
    return shutil.which("espeak-ng") is not None or importlib.util.find_spec("espeakng_loader") is not None


class Speech:
    """The voice of one engine."""

    def __init__(self, *, aloud: bool | None = None) -> None:
        self.aloud = can_speak() if aloud is None else aloud
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def speak(self, text: str, *, gender: Gender, language: str, speed: float, rate: int) -> bytes:
        """The words as 16-bit mono PCM at `rate`; `speed` is the platform's, 1.0 for a usual pace."""
        if not text.strip():
            return b""
        spoken = await self._aloud(text, gender, language, speed, rate) if self.aloud else b""
        return spoken or silence(text, speed, rate)

    async def _aloud(self, text: str, gender: Gender, language: str, speed: float, rate: int) -> bytes:
        base = _ENGLISH[gender] if language == "en" else language
        arguments = (f"{base}+{_VARIANTS[gender]}", str(round(WORDS_PER_MINUTE * speed)), str(rate))
        async with self._turns:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "oneiro.engine.espeak_process",
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
            try:
                async with asyncio.timeout(PATIENCE):
                    spoken, _ = await process.communicate(text.encode())
            except TimeoutError:
                return b""
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        return spoken if process.returncode == 0 else b""


def silence(text: str, speed: float, rate: int) -> bytes:
    """Silence for as long as the words would take to say."""
    seconds = len(text.split()) * 60 / WORDS_PER_MINUTE / speed + 0.3
    return bytes(2 * int(seconds * rate))
