"""One conversation with an interpreter: what was said is remembered, and each reply follows from it."""

from oneiro.dreamwork import symbols
from oneiro.dreamwork.profile import Profile


class Dialogue:
    """A conversation that answers deterministically: the same seed and turns give the same replies."""

    def __init__(self, profile: Profile, *, context: str = "", opening: str = "", seed: str = "") -> None:
        self._profile = profile
        self._context = context
        self._said = [opening]
        self._seed = seed

    def reply(self, text: str) -> str:
        """Answer one turn of the dreamer with at most `max_turn_length` words, ending with a question."""
        sightings = symbols.find(text) or symbols.find(self._context)
        if not sightings:
            return "I am listening. What do you remember most clearly?"
        vivid = max(sightings, key=lambda sighting: sighting.symbol.vividness)
        reading = vivid.symbol.jungian if self._profile.approach == "jungian" else vivid.symbol.spiritual
        return f'I would like to stay with "{vivid.words}". {reading} {vivid.symbol.question}'
