"""What a dreamer is told about whom she speaks with: at the start, and at least every three hours.

Texts are versioned: change a text, change its id, so that `disclosure.given` says what was said.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

REPEAT_AFTER = timedelta(hours=3)

_STARTS = {
    "en": (
        "You are talking with {name}, an AI, not a human being and not a doctor, therapist or any other clinician. "
        "{where} {kept} In danger, please call your local emergency number or a help line."
    ),
    "de": (
        "Du sprichst mit {name}, einer KI: kein Mensch, keine Ärztin, kein Therapeut. "
        "{where} {kept} In Gefahr ruf bitte den Notruf oder eine Krisenhilfe an."
    ),
}
_WHERE = {
    "en": {
        False: "In a voice call your audio goes to our speech provider, ElevenLabs, to be understood and answered.",
        True: "This is a demo without a speech provider: your words are answered by software.",
    },
    "de": {
        False: "Im Sprachgespräch geht dein Ton an unseren Sprachdienst ElevenLabs, der ihn versteht und beantwortet.",
        True: "Dies ist eine Vorführung ohne Sprachdienst: deine Worte beantwortet ein Programm.",
    },
}
_KEPT = {
    "en": "Audio is not recorded. What was said is kept as text until you delete it.",
    "de": "Der Ton wird nicht aufgezeichnet. Das Gesagte bleibt als Text, bis du es löschst.",
}
_REMINDERS = {
    "en": "A short reminder: {name} is an AI, not a human being and not a clinician.",
    "de": "Zur Erinnerung: {name} ist eine KI, kein Mensch und keine Fachperson.",
}


@dataclass(frozen=True, slots=True)
class Disclosure:
    """A text and the id of its version, for example `start-en-1`."""

    id: str
    text: str


def disclosure(name: str, language: str, simulated: bool) -> Disclosure:  # noqa: FBT001  # The agreed signature.
    """The text at the start of a conversation; English where we have no text in the language."""
    code = _known(language)
    where = _WHERE[code][simulated]
    kind = "demo" if simulated else "start"
    return Disclosure(f"{kind}-{code}-1", _STARTS[code].format(name=name, where=where, kept=_KEPT[code]))


def reminder(name: str, language: str) -> Disclosure:
    """The text that is repeated while a conversation goes on."""
    code = _known(language)
    return Disclosure(f"reminder-{code}-1", _REMINDERS[code].format(name=name))


def due(last_given: datetime, now: datetime) -> bool:
    """Whether the reminder has to be given again."""
    return now - last_given >= REPEAT_AFTER


def _known(language: str) -> str:
    code = language.lower().replace("_", "-").split("-")[0]
    return code if code in _STARTS else "en"
