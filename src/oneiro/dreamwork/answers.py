"""What is said about images and answers: taking up, deepening, coming back."""

import re
from itertools import chain

from oneiro.dreamwork import feelings, imagery, patterns, phrases
from oneiro.dreamwork.imagery import Image
from oneiro.dreamwork.memory import Memory
from oneiro.dreamwork.profile import Profile
from oneiro.dreamwork.reply import Draft, Piece
from oneiro.dreamwork.voice import Voice, sentences

_DEATH = re.compile(
    r"\b(?:dead|died|dies|dying|death|killed|killing|murder\w*|funeral|corpse|coffin|grave|buried|drowned|hanged)\b",
    re.IGNORECASE,
)
_GRIEF = re.compile(
    r"\b(?:passed away|passed on|died (?:last|this|in|a|two|three|four|five|six|ten|many|when|of|\d)|miss (?:him|her|them)"
    r"|late (?:father|mother|husband|wife|brother|sister|son|daughter|grand\w+))\b",
    re.IGNORECASE,
)
_PACES = {"contemplative": 2, "slow": 2, "reflective": 2, "measured": 3, "gentle": 3, "relaxed": 3, "moderate": 4}
_STAGES = ("feeling", "life", "encounter", "association", "carry", "open")
_MAX_PLAIN_WORDS = 18


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
        self._memory.visit(image)
        if _GRIEF.search(text) and not self._memory.checked_in:
            return self._grieve(image, text)
        first = self._voice.say(opening, opens=True, needed=True, quote=image.quote, earlier=image.quote)
        pieces = [Piece(first, 9), *self._beside(), Piece(self._reading(image), 6), *self._aside(text)]
        return Draft((*pieces, *self._pause()), self._question(image, text))

    def _grieve(self, image: Image, text: str) -> Draft:
        self._memory.checked_in = True
        pieces = [Piece(self._voice.say("grief", opens=True, needed=True), 9)]
        pieces.append(Piece(self._voice.say("take_up", quote=image.quote), 7))
        return Draft(tuple(pieces), self._voice.ask("person") or self._stage(text))

    def deepen(self, text: str) -> Draft:
        """Take what was said as an answer to the last question, and go one step further in."""
        memory = self._memory
        memory.depth += 1
        told = phrases.telling(text)
        if told and not self._worth_quoting(told.words):
            told = None
        first = (
            self._voice.say("deepen", opens=True, needed=True, answer=told.words)
            if told
            else self._voice.say("continue", opens=True, needed=True)
        )
        fresh = next((image for image in imagery.find(text) if image.symbol and image.key not in memory.visited), None)
        middle = [Piece(self._reading(fresh), 5)] if fresh else []
        if fresh:
            memory.visited.add(fresh.key)
        elif self._length != "brief":
            middle = self._recall()
        return Draft((Piece(first, 9), *middle, *self._aside(text), *self._pause()), self._question(None, text))

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
        told = phrases.telling(text)
        heard = (
            self._voice.say("deepen", opens=True, answer=told.words) if told and self._worth_quoting(told.words) else ""
        )
        self._memory.visit(waiting)
        back = self._voice.say("return", opens=not heard, needed=True, earlier=waiting.quote)
        pieces = (Piece(heard, 7), Piece(back, 9), Piece(self._reading(waiting), 6), *self._pause())
        return Draft(pieces, self._question(waiting, text))

    def mean(self, text: str) -> Draft:
        """Offer a possible meaning of the image at hand, or of the next one."""
        image = self._memory.current or self._memory.waiting()
        if image is None:
            return Draft((Piece(self._voice.say("meaning_open", opens=True, needed=True), 9),), self._stage(text))
        thought = self._reading(image)
        offered = Piece(self._voice.say("meaning", opens=True, needed=True), 8)
        held = (
            Piece(self._voice.say("return", earlier=image.short), 6)
            if image is self._memory.waiting()
            else Piece("", 0)
        )
        self._memory.visited.add(image.key)
        return Draft((offered, held, Piece(thought, 9)), self._stage(text))

    def _reading(self, image: Image) -> str:
        """Return an unsaid thought about an image, in the words of the approach."""
        if image.dead or (image.symbol and image.symbol.id in {"death", "corpse", "funeral"}):
            said = self._voice.say("death")
            if said:
                return said
        symbol = image.symbol
        if symbol is None:
            return "" if self._length == "brief" else self._voice.say("unnamed") or self._voice.say("still")
        own = {"jungian": symbol.jungian, "spiritual": symbol.spiritual}.get(self._profile.approach, symbol.neutral)
        text = (symbol.neutral if self._simple or self._length == "brief" else own).replace('"', "'")
        if not self._voice.fresh(text):
            return self._voice.say("still")
        if self._length == "brief":
            return text if len(text.split()) <= _MAX_PLAIN_WORDS else ""
        lens = "" if self._simple else self._voice.say("lens")
        return f"{text} {lens}".strip()

    def _aside(self, text: str) -> list[Piece]:
        """Return what else belongs in: a feeling that was named, the tone of the voice, a thought to leave open."""
        pieces = []
        felt = [feeling for feeling in feelings.find(text) if not feeling.denied]
        if felt and self._length != "brief":
            last = felt[-1]
            pieces.append(Piece(self._voice.say(f"feeling_{last.tone}", feeling=last.words), 4))
        elif self._memory.turns == 1 or self._length == "detailed":
            pieces.append(Piece(self._voice.say(f"tone_{self._voice.tone}") if self._voice.tone else "", 2))
        if self._length == "detailed" or (self._rich and self._memory.turns % 3 == 2 and self._length != "brief"):
            pieces.append(Piece(self._voice.say("still"), 1))
        return pieces + self._patterned(text)

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

    def _pause(self) -> list[Piece]:
        due = self._pace and self._memory.turns % self._pace == 0
        return [Piece(self._voice.say("pause"), 1)] if due else []

    def _worth_quoting(self, words: str) -> bool:
        current = self._memory.current
        return not current or words.lower() not in current.quote.lower()

    def _question(self, image: Image | None, text: str) -> str:
        """Choose what to ask: a check-in after death, else a response pattern, else the image's own question."""
        if _DEATH.search(text) and not self._memory.checked_in:
            self._memory.checked_in = True
            return self._voice.ask_of("check_in")
        options = chain(
            (question for response in self._responses(text) for question in self._respond(response, image)),
            self._image_questions(image),
            (self._stage(text),),
        )
        return next(question for question in options if question)

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

    def _stage(self, text: str) -> str:
        """Ask the next thing in the order of a conversation: feeling, life, meeting the image, what to carry."""
        memory = self._memory
        at = max(0, memory.depth - 1) if memory.current else _STAGES.index("open")
        ordered = _STAGES[at % len(_STAGES) :] + _STAGES
        if memory.turns > 5 and memory.turns % 5 == 0:
            ordered = ("carry", *ordered)
        return next((question for stage in ordered if (question := self._voice.ask(stage))), self._voice.oldest("open"))
