"""Response patterns: when this happens in a turn, the interpreter answers in that way."""

import re
from collections.abc import Iterator

from oneiro.dreamwork import feelings, imagery, topics
from oneiro.dreamwork.grammar import listed
from oneiro.dreamwork.lexicon import tokens
from oneiro.dreamwork.profile import Profile

_SEEKING = re.compile(
    r"\b(?:purpose|meaning of (?:my |it all|life)|calling|destiny|why am i here|my path|faith|pray\w*|enlighten\w*"
    r"|awakening|higher self|the divine|spiritual\w*|soul|god(?:dess)?|karma|universe|meditat\w*|past li(?:fe|ves))\b",
    re.IGNORECASE,
)
_CHALLENGE = re.compile(
    r"\b(?:divorc\w+|break ?up|broke up|going through|struggl\w+|hard time|difficult (?:time|year|week|months?)"
    r"|lost my (?:job|mother|father|mum|mom|dad|husband|wife|son|daughter|friend|home)|lost (?:him|her) (?:last|this)"
    r"|laid off|burn(?:ed|t)? ?out|these days|in real life|my (?:marriage|debts?|illness|surgery|diagnosis)"
    r"|my (?:boss|job|work|husband|wife|partner) (?:is|isn't|keeps|has|wants|makes|won't|never|always|doesn't)"
    r"|stress(?:ed|ful)? (?:at|about|from|with|by)|overwhelmed (?:at|by|with)|at work\W*$|moving (?:house|away|out))\b",
    re.IGNORECASE,
)
_DOING_WORDS = listed("doing_words")
_MAX_LENS_WORDS = 3


def triggered(profile: Profile, text: str) -> Iterator[str]:
    """Yield the responses whose trigger is met in `text`, in the profile's order."""
    for trigger, response in profile.response_patterns:
        if _met(trigger, text):
            yield response


def is_challenge(text: str) -> bool:
    """Tell whether a trouble of waking life is named."""
    return bool(_CHALLENGE.search(text))


def _met(trigger: str, text: str) -> bool:
    match trigger:
        case "dream_symbol_mentioned":
            return any(image.symbol for image in imagery.find(text)) or bool(imagery.find(text))
        case "emotional_reaction":
            return any(not feeling.denied for feeling in feelings.find(text))
        case "spiritual_seeking":
            return bool(_SEEKING.search(text))
        case "life_challenge":
            return is_challenge(text)
        case _:
            return _named(trigger, text)


def _named(trigger: str, text: str) -> bool:
    """Take an unknown trigger by its words: a theme of that name, or one of its longer words in the text."""
    words = {token.lower for token in tokens(trigger.replace("_", " ")) if len(token.lower) > 4}
    spoken = {token.lower for token in tokens(text)} | {mention.topic for mention in topics.find(text)}
    return any(word == said or (len(said) > 4 and said.startswith(word)) for word in words for said in spoken)


def lens(response: str) -> str:
    """Return the words by which an unknown response looks at things ("body awareness"), or "" when it has none."""
    words = [token.lower for token in tokens(response.replace("_", " ").replace("-", " "))]
    while words and words[0] in _DOING_WORDS:
        words = words[1:]
    return " ".join(words) if 0 < len(words) <= _MAX_LENS_WORDS else ""
