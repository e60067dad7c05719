"""How a reply reaches the client: written word by word, or spoken in pieces at the pace of speech."""

import re
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field

from oneiro.engine import protocol
from oneiro.engine.opening import Opening
from oneiro.engine.pacing import WORD, Pacing
from oneiro.engine.protocol import Frame
from oneiro.engine.sound import SoundFormat
from oneiro.engine.speech import Speech
from oneiro.engine.voices import Voice

PIECE = 0.25
"""Seconds of sound in one frame."""
AHEAD = 0.75
"""Seconds of sound that may be sent before they are heard."""

_PIECE_OF_TEXT = re.compile(r"(?:\S+\s*){1,3}")
"""As many words as are written at once."""

Send = Callable[[Frame], Awaitable[None]]


@dataclass
class Delivery:
    """One reply on its way: its event id, its words, and how much of them was heard."""

    event_id: int
    text: str = ""
    begun: bool = False
    _since: float | None = None
    _seconds: float = 0.0
    _pieces: list[str] = field(default_factory=list)

    async def write(self, pieces: AsyncGenerator[str, None], send: Send, pacing: Pacing) -> None:
        """Send the reply as it comes, then whole."""
        await send(protocol.response_part(self.event_id, "start"))
        async with aclosing(pieces):
            async for piece in pieces:
                self.begun = True
                self._pieces.append(piece)
                await pacing.pause(WORD * len(piece.split()))
                await send(protocol.response_part(self.event_id, "delta", piece))
        self.text = "".join(self._pieces).strip()
        await send(protocol.response_part(self.event_id, "stop"))
        await send(protocol.agent_response(self.event_id, self.text))

    async def speak(self, sound: bytes, fmt: SoundFormat, send: Send, pacing: Pacing) -> None:
        """Send the words and then their sound, not far ahead of the ear, and wait until it has been heard."""
        self.begun = True
        self._seconds = len(sound) / fmt.bytes_per_second
        await send(protocol.agent_response(self.event_id, self.text))
        self._since = time.monotonic()
        size = int(PIECE * fmt.bytes_per_second) // 2 * 2
        for start in range(0, len(sound), size):
            lead = start / fmt.bytes_per_second - pacing.elapsed(self._since)
            await pacing.pause(lead - AHEAD)
            await send(protocol.audio(self.event_id, sound[start : start + size]))
        await pacing.pause(self._seconds - pacing.elapsed(self._since))

    def heard(self, pacing: Pacing) -> str:
        """The words that were heard so far, by the share of the sound that has been played."""
        if self._since is None or self._seconds == 0:
            return self.text
        share = min(1.0, pacing.elapsed(self._since) / self._seconds)
        words = self.text.split()
        return " ".join(words[: int(len(words) * share)]) + ("" if share == 1.0 else "...")


def pieces_of(text: str) -> list[str]:
    """A text as it is written, a few words at a time."""
    return _PIECE_OF_TEXT.findall(text)


async def sound_of(text: str, opening: Opening, voice: Voice | None, speech: Speech, fmt: SoundFormat) -> bytes:
    """The words as sound on the wire, spoken by the agent's voice at the agent's speed."""
    tts = opening.config.tts
    speed = tts.speed * ((voice.settings.speed if voice else None) or 1.0)
    gender = voice.gender if voice else "female"
    pcm = await speech.speak(text, gender=gender, language=opening.config.agent.language, speed=speed, rate=fmt.rate)
    return fmt.encode(pcm)
