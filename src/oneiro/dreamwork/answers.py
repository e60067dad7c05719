"""What is said about images and answers: taking up, deepening, coming back."""

import re
from collections.abc import Iterator
from itertools import chain

from oneiro.dreamwork import feelings, imagery, patterns, phrases
from oneiro.dreamwork.feelings import Feeling
from oneiro.dreamwork.imagery import Image
from oneiro.dreamwork.memory import Memory
from oneiro.dreamwork.profile import Profile
from oneiro.dreamwork.reply import Draft, Piece
from oneiro.dreamwork.symbols import Symbol
from oneiro.dreamwork.voice import Voice, sentences

_DEATH = re.compile(
    r"\b(?:dead|died|dies|dying|death|killed|killing|murder\w*|funeral|corpse|coffin|grave|buried|drowned|hanged)\b",
    re.IGNORECASE,
)
_DREAMING = re.compile(
    r"\b(?:dream\w*|nightmares?|asleep|night|slept|woke|there was|there were|suddenly)\b", re.IGNORECASE
)
_MAX_WAKING_WORDS = 40
# What kind of answer was given: a memory, the body, the waking day, or the image speaking for itself.
_KINDS: tuple[tuple[str, re.Pattern[str]], ...] = (
    ("body", re.compile(
        r"\b(?:chest|throat|stomach|belly|shoulders?|heart|head|hands|neck|jaw|back|legs|gut)\b", re.IGNORECASE)),
    ("spoken", re.compile(
        r"\b(?:would|might|could|it'd|wants?|wanted|to) (?:say|tell|ask|me to|whisper|want)\b", re.IGNORECASE)),
    ("memory", re.compile(
        r"\b(?:used to|when i was|when we were|as a (?:child|kid|girl|boy)|years ago|remind\w*|childhood|always"
        r"|once|my (?:grand\w+|mother|father|mum|mom|dad|parents|uncle|aunt|brother|sister)|gave)\b", re.IGNORECASE)),
    ("life", re.compile(
        r"\b(?:work|boss|job|office|these days|lately|at the moment|right now|husband|wife|partner|marriage|money|study"
        r"|studies|exam|moving house|every day|my (?:life|son|daughter|kids|children|friend))\b", re.IGNORECASE)),
)  # fmt: skip
# What hurts is stayed with: no other image is called in.
_TENDER = re.compile(
    r"\b(?:hurts?|hurting|i'm sorry|am sorry|i miss|missed (?:him|her|them)"
    r"|(?:doesn't|don't|didn't) (?:know|recogni[sz]e) me"
    r"|(?:haven't|hasn't|not|never) (?:spoken|talked|said goodbye)|lost (?:him|her|them)|left me|dementia|cancer|dying"
    r"|died|cried|crying|my fault|forgive|ashamed|lonely|all alone|nobody (?:came|loves|knows))\b",
    re.IGNORECASE,
)
_PACES = {"contemplative": 2, "slow": 2, "reflective": 2, "measured": 3, "gentle": 3, "relaxed": 3, "moderate": 4}
_STAGES = ("feeling", "life", "encounter", "association", "carry", "open")
_MAX_PLAIN_WORDS = 18
_SHORT_FEELING = 8
_LONG_ENOUGH = 11


def is_tender(text: str) -> bool:
    """Tell whether what is said hurts, so that nothing else should be brought in."""
    return bool(_TENDER.search(text))


def _named_feeling(text: str) -> Feeling | None:
    """Return the last feeling that can be quoted as one word and was not denied."""
    felt = [feeling for feeling in feelings.find(text) if not feeling.denied and " " not in feeling.words]
    return felt[-1] if felt else None


class Answers:
    """Composes what one interpreter says about what was told."""

    def __init__(self, profile: Profile, voice: Voice, memory: Memory) -> None:
        style = profile.conversation_style
        self._profile, self._voice, self._memory = profile, voice, memory
        self._length = style.get("response_length", "moderate").lower()
        self._simple = style.get("language_complexity", "").lower() in {"simple", "basic", "plain", "easy"}
        self._rich = style.get("language_complexity", "").lower() in {"sophisticated", "complex", "rich", "academic"}
        self._pace = _PACES.get(style.get("pacing_preference", style.get("pacing", "")).lower(), 0)

    def take_up(self, image: Image, text: str, opening: str = "take_up") -> Draft:
        """Turn to an image: its words, a thought about it, and what it asks."""
        memory = self._memory
        waking = memory.current is None and patterns.is_challenge(text) and not _DREAMING.search(text)
        waking = waking and len(text.split()) <= _MAX_WAKING_WORDS
        memory.visit(image)
        if imagery.GRIEF.search(text) and not memory.checked_in:
            return self._grieve(image)
        if waking:
            return self._hear_life(image, text)
        first = self._voice.say(opening, opens=True, needed=True, quote=image.quote, earlier=image.quote)
        pieces = [Piece(first, 9), *self._beside(), Piece(self._reading(image), 6), *self._aside(text)]
        return Draft((*pieces,), self._question(image, text))

    def _grieve(self, image: Image) -> Draft:
        """Meet a loss in waking life before any image."""
        self._memory.checked_in = True
        pieces = (
            Piece(self._voice.say("grief", opens=True, needed=True), 9),
            Piece(self._voice.say("grief_image", quote=image.short) if image.score > 0 else "", 7),
        )
        return Draft(pieces, self._voice.ask("person") or self._stage())

    def _hear_life(self, image: Image, text: str) -> Draft:
        """Take a trouble of the day as what it is, and no picture."""
        told = phrases.telling(text)
        first = self._voice.say("take_up_life", opens=True, needed=True, quote=told.words if told else image.quote)
        pieces = (Piece(first, 9), *(self._patterned(text) or [Piece(self._voice.say("guidance_life"), 5)]))
        return Draft(pieces, next(self._responded(text, None), "") or self._voice.ask_of("life_ask"))

    def deepen(self, text: str) -> Draft:
        """Take what was said as an answer to the last question, and go one step further in."""
        memory, voice = self._memory, self._voice
        memory.depth += 1
        felt = _named_feeling(text)
        told = self._telling(text)
        if is_tender(text):
            return self._stay(told)
        kind = next((name for name, pattern in _KINDS if pattern.search(text)), "")
        if felt and felt.tone == "dark" and len(text.split()) <= _SHORT_FEELING:
            first = voice.say("feeling_dark", opens=True, needed=True, feeling=felt.words)
        elif told:
            first = voice.say("deepen", opens=True, needed=True, answer=told)
        else:
            first = voice.say("continue", opens=True, needed=True)
        bridge = voice.say(f"bridge_{kind}") if kind else ""
        recall = [] if self._length == "brief" else self._recall()
        middle = [Piece(bridge, 6), *recall, *(self._patterned(text) if bridge or felt else self._aside(text))]
        return Draft((Piece(first, 9), *middle, *self._pause(quiet=bool(bridge))), self._question(None, text))

    def _stay(self, told: str) -> Draft:
        """Stay with what hurts: few words, and a question that leaves the dreamer free."""
        voice = self._voice
        first = voice.say("tender", opens=True, needed=True, answer=told) if told else ""
        first = first or voice.say("continue", opens=True, needed=True)
        return Draft(
            (Piece(first, 9), Piece(voice.say("bridge_tender"), 6)), voice.ask_new("tender_ask") or self._stage()
        )

    def _telling(self, text: str) -> str:
        """Return the words that carry the answer, unless they only repeat the image."""
        told, current = phrases.telling(text), self._memory.current
        repeats = told and current and told.words.lower() in current.quote.lower()
        return told.words if told and not repeats else ""

    def go_on(self, first: str, text: str = "") -> Draft:
        """Say `first`, then come back to an image that waits or go on with the one at hand."""
        waiting = self._memory.waiting()
        if waiting:
            self._memory.visit(waiting)
            back = Piece(self._voice.say("return", needed=True, earlier=waiting.short), 7)
            return Draft((Piece(first, 9), back, Piece(self._reading(waiting), 5)), self._question(waiting, text))
        self._memory.depth += 1
        return Draft((Piece(first, 9), *self._recall()), self._question(None, text))

    def come_back(self, text: str) -> Draft | None:
        """Take the answer, then return to an image that was told and passed over; None when there is none."""
        waiting = self._memory.waiting()
        if not waiting:
            return None
        told = self._telling(text)
        heard = self._voice.say("deepen", opens=True, answer=told) if told else ""
        self._memory.visit(waiting)
        back = self._voice.say("return", opens=not heard, needed=True, earlier=waiting.quote)
        pieces = (Piece(heard, 7), Piece(back, 9), Piece(self._reading(waiting), 6))
        return Draft(pieces, self._question(waiting, text))

    def mean(self, text: str) -> Draft:
        """Offer a possible meaning of the image at hand, or of the next one."""
        image = self._memory.current or self._memory.waiting()
        if image is None:
            return Draft((Piece(self._voice.say("meaning_open", opens=True, needed=True), 9),), self._stage())
        thought = self._second_thought(image)
        offered = Piece(self._voice.say("meaning", opens=True, needed=True), 8)
        held = (
            Piece(self._voice.say("return", earlier=image.short), 6)
            if image is self._memory.waiting()
            else Piece("", 0)
        )
        self._memory.visited.add(image.key)
        return Draft((offered, held, Piece(thought, 9)), self._stage())

    def _reading(self, image: Image) -> str:
        """Return an unsaid thought about an image, in the words of the approach."""
        if image.dead or (image.symbol and image.symbol.id in {"death", "corpse", "funeral"}):
            said = self._voice.say("death")
            if said:
                return said
        symbol = image.symbol
        if symbol is None:
            return "" if self._length == "brief" else self._voice.say("unnamed") or self._voice.say("still")
        text = self._own(symbol)
        if not self._voice.fresh(text):
            return self._voice.say("still")
        if self._length == "brief":
            return text if len(text.split()) <= _MAX_PLAIN_WORDS else ""
        lens = "" if self._simple else self._voice.say("lens")
        return f"{text} {lens}".strip()

    def _second_thought(self, image: Image) -> str:
        """Return a reading of an image, or the plain one where its own was given already."""
        symbol = image.symbol
        plain = symbol.neutral.replace('"', "'") if symbol else ""
        own = self._reading(image) if symbol is None or self._voice.fresh(self._own(symbol)) else ""
        return own or (plain if plain and self._voice.fresh(plain) else self._voice.say("still"))

    def _own(self, symbol: Symbol) -> str:
        """Return the symbol's reading in the words of the approach."""
        own = {"jungian": symbol.jungian, "spiritual": symbol.spiritual}.get(self._profile.approach, symbol.neutral)
        return (symbol.neutral if self._simple or self._length == "brief" else own).replace('"', "'")

    def _aside(self, text: str) -> list[Piece]:
        """Return what else belongs in: a feeling that was named, the tone of the voice, a thought to leave open."""
        felt, voice, turns = _named_feeling(text), self._voice, self._memory.turns
        detailed = self._length == "detailed"
        pieces = self._patterned(text)
        if self._length == "brief" or (pieces and not detailed):
            return pieces
        if felt:
            pieces.append(Piece(voice.say(f"feeling_{felt.tone}", feeling=felt.words), 4))
        elif voice.tone and (detailed or turns == 1) and len(text.split()) > _LONG_ENOUGH:
            pieces.append(Piece(voice.say(f"tone_{voice.tone}"), 2))
        if detailed or (self._rich and not felt and turns % 3 == 0):
            pieces.append(Piece(voice.say("still"), 1))
        return pieces

    def _patterned(self, text: str) -> list[Piece]:
        """Return the thought of a response pattern, known or only known by its name."""
        for response in patterns.triggered(self._profile, text):
            if self._voice.knows_pattern(response):
                said = self._voice.pattern(response, "say")
            else:
                words = patterns.lens(response)
                said = self._voice.say("pattern_lens", words=words) if words else ""
            if said:
                return [Piece(said, 5)]
        return []

    def _beside(self) -> list[Piece]:
        previous = self._memory.previous
        if not previous or self._memory.turns < 2 or self._length == "brief":
            return []
        return [Piece(self._voice.say("beside", earlier=previous.short), 3)]

    def _recall(self) -> list[Piece]:
        """Call back an image from earlier beside the one at hand."""
        other = self._memory.other()
        if not other or self._memory.depth < 2:
            return []
        self._memory.recalled.add(other.key)
        return [Piece(self._voice.say("beside", earlier=other.short), 5)]

    def _pause(self, *, quiet: bool) -> list[Piece]:
        due = self._pace and not quiet and self._memory.turns % self._pace == 0
        return [Piece(self._voice.say("pause"), 1)] if due else []

    def _question(self, image: Image | None, text: str) -> str:
        """Choose what to ask: a check-in after death, else a response pattern, else the image's own question."""
        if _DEATH.search(text) and not self._memory.checked_in:
            self._memory.checked_in = True
            return self._voice.ask_of("check_in")
        options = chain(
            self._responded(text, image),
            self._image_questions(image),
            (self._stage(),),
        )
        return next(question for question in options if question)

    def _responded(self, text: str, image: Image | None) -> Iterator[str]:
        """Yield the questions of the response patterns that this turn triggers."""
        return (
            question for response in self._responses(text) for question in self._respond(response, image) if question
        )

    def _responses(self, text: str) -> list[str]:
        """Return the triggered responses, the one used last time at the end."""
        met = [r for r in patterns.triggered(self._profile, text) if self._voice.knows_pattern(r)]
        return sorted(met, key=lambda response: response == self._memory.last_response)

    def _respond(self, response: str, image: Image | None) -> list[str]:
        if response == "explore_personal_association" and image is None:
            return []
        if response == "explore_personal_association" and image and image.symbol:
            questions = [self._fresh_question(image)]
        else:
            questions = [self._voice.pattern(response, "ask")]
        if questions[0]:
            self._memory.last_response = response
        return questions

    def _image_questions(self, image: Image | None) -> list[str]:
        if image is None:
            return []
        if image.person and not image.symbol:
            return [self._voice.ask("person")]
        own = self._fresh_question(image)
        return [own] if len(self._memory.visited) % 3 else [self._voice.ask("association"), own]

    def _fresh_question(self, image: Image) -> str:
        question = image.symbol.question.replace('"', "'") if image.symbol else ""
        asked = (sentences(question) or [""])[-1]
        return asked if asked and self._voice.fresh(asked) else ""

    def _stage(self) -> str:
        """Ask the next thing in the order of a conversation: feeling, life, meeting the image, what to carry."""
        memory = self._memory
        at = max(0, memory.depth - 1) if memory.current else _STAGES.index("open")
        ordered = _STAGES[at % len(_STAGES) :] + _STAGES
        if memory.turns > 5 and memory.turns % 5 == 0:
            ordered = ("carry", *ordered)
        return next((question for stage in ordered if (question := self._voice.ask(stage))), self._voice.oldest("open"))
