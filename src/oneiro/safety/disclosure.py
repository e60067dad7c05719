"""What a dreamer is told about whom she speaks with: at the start, and at least every three hours.

Texts are versioned: change a text, change its id, so that `disclosure.given` says what was said.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from oneiro.settings import Settings

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
        "start": "In a voice call your audio goes to our speech provider, ElevenLabs, to be understood and answered.",
        "start-model": (
            "In a voice call your audio goes to our speech provider, ElevenLabs, to be understood and answered. What "
            "is said, and what is known of your dream and of earlier conversations, also goes to a language model of "
            "{provider}: it sums up the conversation, and answers while the speech provider is away."
        ),
        "demo": "This is a demo without a speech provider: your words are answered by software.",
        "demo-model": (
            "This is a demo without a speech provider: your words, and what is known of your dream and of earlier "
            "conversations, go to a language model of {provider}, which answers them and sums up the conversation."
        ),
    },
    "de": {
        "start": (
            "Im Sprachgespräch geht dein Ton an unseren Sprachdienst ElevenLabs, der ihn versteht und beantwortet."
        ),
        "start-model": (
            "Im Sprachgespräch geht dein Ton an unseren Sprachdienst ElevenLabs, der ihn versteht und beantwortet. Das "
            "Gesagte und was von deinem Traum und früheren Gesprächen bekannt ist geht auch an ein Sprachmodell von "
            "{provider}: es fasst das Gespräch zusammen und antwortet, solange der Sprachdienst nicht erreichbar ist."
        ),
        "demo": "Dies ist eine Vorführung ohne Sprachdienst: deine Worte beantwortet ein Programm.",
        "demo-model": (
            "Dies ist eine Vorführung ohne Sprachdienst: deine Worte und was von deinem Traum und früheren Gesprächen "
            "bekannt ist gehen an ein Sprachmodell von {provider}, das sie beantwortet und das Gespräch zusammenfasst."
        ),
    },
}
_DEGRADED = {
    "en": (
        "Our speech provider cannot be reached just now. For this part of the conversation a language model of "
        "{provider} speaks for {name}, in writing: what you write and what was said before goes there."
    ),
    "de": (
        "Unser Sprachdienst ist gerade nicht erreichbar. Für diesen Teil des Gesprächs spricht ein Sprachmodell von "
        "{provider} schriftlich für {name}: was du schreibst und was vorher gesagt wurde, geht dorthin."
    ),
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


def provider(settings: Settings) -> str:
    """Who runs the configured language model, as a dreamer is told; empty where there is none."""
    if settings.llm_base_url is None:
        return ""
    return settings.llm_provider or urlsplit(settings.llm_base_url).hostname or settings.llm_base_url


def disclosure(name: str, language: str, simulated: bool, provider: str = "") -> Disclosure:  # noqa: FBT001  # Agreed.
    """The text at the start of a conversation; English where we have no text in the language.

    provider: who runs the language model that sums up and stands in, where there is one; its texts have ids of their
    own, for example `start-model-en-1`.
    """
    code = _known(language)
    kind = ("demo" if simulated else "start") + ("-model" if provider else "")
    where = _WHERE[code][kind].format(provider=provider)
    return Disclosure(f"{kind}-{code}-1", _STARTS[code].format(name=name, where=where, kept=_KEPT[code]))


def told_of_summary(disclosure_id: str) -> bool:
    """Whether the text of this id said that a language model sums up the conversation; that of a stand-in does not."""
    return "-model-" in disclosure_id


def standing_in(name: str, language: str, provider: str) -> Disclosure:
    """The text when a session goes on with the language model because the speech provider is away."""
    code = _known(language)
    return Disclosure(f"degraded-{code}-1", _DEGRADED[code].format(name=name, provider=provider))


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
