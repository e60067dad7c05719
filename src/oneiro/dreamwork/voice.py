"""An interpreter's way of speaking: sentences by approach and style, in a rotation that does not repeat itself."""

import re
import tomllib
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from typing import Any

from oneiro.dreamwork.profile import Profile

_SENTENCE_END = re.compile(r'(?<=[.!?])\s+(?=[A-Z"])')
_STYLES = {
    "socratic": ("socratic", "reflective", "philosophical", "probing", "exploratory", "inquisitive"),
    "compassionate": ("compassionate", "gentle", "nurturing", "empathetic", "supportive", "tender", "loving"),
}
_TONES = {
    "warm": ("warm", "kind", "friendly", "loving", "caring", "nurturing"),
    "mystical": ("mystical", "ethereal", "sacred", "spiritual"),
    "playful": ("playful", "humorous", "light", "witty"),
    "calm": ("calm", "soothing", "serene", "gentle", "peaceful"),
}


@cache
def bank() -> dict[str, Any]:
    """Return what stands in `voices.toml`, read once."""
    return tomllib.loads(files("oneiro.dreamwork").joinpath("voices.toml").read_text(encoding="utf-8"))


def sentences(text: str) -> list[str]:
    """Split spoken text into sentences."""
    return [part for part in _SENTENCE_END.split(text.strip()) if part]


class Voice:
    """Speaks for one conversation: knows which sentences were used, and how the last reply began."""

    def __init__(self, profile: Profile, seed: str) -> None:
        self._seed = seed
        self._name = profile.name
        voices = bank()["voice"]
        self._own = voices.get(profile.approach, voices["neutral"])
        self._neutral = voices["neutral"]
        style = _synonym(_STYLES, profile.conversation_style.get("questioning_style", ""))
        asks = bank()["ask"]
        self._asks = asks.get(style, asks["plain"])
        self._plain = asks["plain"]
        self.tone = _synonym(_TONES, profile.conversation_style.get("emotional_tone", ""))
        self._said: dict[str, int] = {}
        self._last_words: tuple[str, ...] = ()

    def say(self, key: str, *, opens: bool = False, needed: bool = False, **slots: str) -> str:
        """Return the next sentence of the rotation `key`, or "" when all were used and none is `needed`."""
        return self._pick(key, [self._own.get(key), self._neutral.get(key)], opens=opens, needed=needed, slots=slots)

    def ask(self, stage: str) -> str:
        """Return the next question of a stage; "" when all were asked."""
        return self._pick(f"ask:{stage}", [self._asks.get(stage), self._plain.get(stage)])

    def ask_of(self, key: str) -> str:
        """Return the next question kept under `key` among the interpreter's own sentences."""
        return self.say(key, needed=True)

    def ask_new(self, key: str) -> str:
        """Return the next question kept under `key`, or "" when all were asked."""
        return self.say(key)

    def oldest(self, stage: str) -> str:
        """Return the question of a stage that was asked longest ago, for when none is new."""
        return self._pick(f"ask:{stage}", [self._asks.get(stage), self._plain.get(stage)], needed=True)

    def pattern(self, response: str, part: str) -> str:
        """Return the next thought ("say") or question ("ask") of a response pattern."""
        return self._pick(f"{part}:{response}", [bank()["pattern"].get(response, {}).get(part)])

    def knows_pattern(self, response: str) -> bool:
        """Tell whether sentences are written for this response."""
        return response in bank()["pattern"]

    def fresh(self, text: str) -> bool:
        """Tell whether no sentence of `text` was spoken before."""
        return not any(_plainly(sentence) in self._said for sentence in sentences(text))

    def opens_alike(self, text: str) -> bool:
        """Tell whether `text` would begin as the last reply began."""
        return _opening(text) == self._last_words

    def spoken(self, text: str) -> None:
        """Note a whole reply as said."""
        self._last_words = _opening(text)
        for sentence in sentences(text):
            self._said[_plainly(sentence)] = len(self._said)

    def _pick(
        self,
        key: str,
        lists: list[list[str] | None],
        *,
        opens: bool = False,
        needed: bool = False,
        slots: dict[str, str] | None = None,
    ) -> str:
        filled = {"name": self._name, **(slots or {})}
        options = [
            _fill(template, filled) for listed in lists if listed for template in self._shuffled(key, tuple(listed))
        ]
        options = [option for option in options if not (opens and self.opens_alike(option))] or options
        for option in options:
            if self._template_fresh(option):
                return option
        return min(options, key=self._age) if needed and options else ""

    def _shuffled(self, key: str, listed: tuple[str, ...]) -> list[str]:
        """Order a list by the seed: the same in every run, another for another conversation."""
        return sorted(listed, key=lambda one: blake2b(f"{self._seed}|{key}|{one}".encode(), digest_size=8).digest())

    def _template_fresh(self, option: str) -> bool:
        return all(_plainly(sentence) not in self._said for sentence in sentences(option))

    def _age(self, option: str) -> int:
        return max(self._said.get(_plainly(sentence), -1) for sentence in sentences(option))


def _fill(template: str, slots: dict[str, str]) -> str:
    """Set the slots; a value is never read as a template."""
    return re.sub(r"\{(\w+)\}", lambda match: slots.get(match.group(1), ""), template)


def _plainly(sentence: str) -> str:
    """Return what makes two sentences the same one: the words outside the quotation marks."""
    return re.sub(r'"[^"]*"', '""', sentence).lower().strip()


def _opening(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[\w'\"]+", text.lower())[:2])


def _synonym(table: dict[str, tuple[str, ...]], word: str) -> str:
    return next((name for name, words in table.items() if word.lower() in words), word.lower())
