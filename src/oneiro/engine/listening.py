"""Endpointing by loudness: where somebody begins to speak and where they have finished."""

from typing import Literal

from oneiro.engine.sound import SoundFormat, loudness

THRESHOLD = 0.012
"""Mean amplitude above which a window counts as speech; a quiet room stays well below."""
WINDOW = 0.032
"""Seconds of one window."""
ONSET = 0.2
"""Seconds of speech after which somebody has begun."""
PATIENCE: dict[str, float] = {"patient": 1.6, "normal": 1.0, "eager": 0.6}
"""Seconds of silence after which somebody has finished, by `turn_eagerness`."""
LONGEST = 120.0
"""Seconds of one utterance; then it is taken as finished."""

Change = Literal["began"] | bytes
"""Somebody has begun to speak, or has finished: then the utterance, as 16-bit PCM."""


class Ear:
    """Hears one microphone; time is measured in sound, so a fast client needs no waiting."""

    def __init__(self, sound: SoundFormat, eagerness: str) -> None:
        self.patience = PATIENCE[eagerness]
        self._format = sound
        self._window = int(WINDOW * sound.rate) * 2
        self._rest = b""
        self._speech = bytearray()
        self._onset = 0.0
        self._quiet = 0.0
        self._open = False

    @property
    def open(self) -> bool:
        """Whether somebody is speaking."""
        return self._open

    def hear(self, data: bytes) -> list[Change]:
        """Take in a piece of sound in the wire's format and tell what changed."""
        pcm = self._rest + self._format.decode(data)
        changes: list[Change] = []
        whole = len(pcm) // self._window * self._window
        for start in range(0, whole, self._window):
            if self._step(pcm[start : start + self._window]):
                changes.append("began")
            elif self._finished():
                changes.append(self.take())
        self._rest = pcm[whole:]
        return changes

    def take(self) -> bytes:
        """The utterance so far as 16-bit PCM; the ear begins anew."""
        utterance = bytes(self._speech)
        self._speech.clear()
        self._onset, self._quiet, self._open = 0.0, 0.0, False
        return utterance

    def _step(self, window: bytes) -> bool:
        """Take in one window; whether somebody has just begun to speak."""
        if loudness(window) > THRESHOLD:
            self._quiet = 0.0
            self._onset += WINDOW
        else:
            self._quiet += WINDOW
        self._keep(window)
        return not self._open and self._begin()

    def _finished(self) -> bool:
        seconds = len(self._speech) / 2 / self._format.rate
        return self._open and (self._quiet >= self.patience or seconds >= LONGEST)

    def _keep(self, window: bytes) -> None:
        """Keep the sound; before somebody speaks only its last half second, so that no first syllable is lost."""
        self._speech += window
        if not self._open:
            del self._speech[: -int(self._format.rate)]

    def _begin(self) -> bool:
        if self._quiet >= ONSET:
            self._onset = 0.0
        self._open = self._onset >= ONSET
        return self._open
