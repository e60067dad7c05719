"""One conversation with an interpreter: what was said is remembered, and each reply follows from it."""

from oneiro.dreamwork import feelings, imagery, moves, phrases, smalltalk, symbols
from oneiro.dreamwork.answers import Answers, is_tender
from oneiro.dreamwork.imagery import Image
from oneiro.dreamwork.journal import Journal
from oneiro.dreamwork.lexicon import tokens
from oneiro.dreamwork.memory import Memory
from oneiro.dreamwork.moves import Move
from oneiro.dreamwork.profile import Profile
from oneiro.dreamwork.reply import Draft, Piece, fit
from oneiro.dreamwork.voice import Voice

_MAX_CHARS = 8_000
_STRONG = 7.0
_LONG_WORDS = 25
_SHORT_WORDS = 6
_DEEP = 3
_SHORT_REPLY = 40


class Dialogue:
    """A conversation that answers deterministically: the same seed and turns give the same replies.

    `context` is the text about the dream that the interpreter was given, `opening` what it has already said.
    """

    def __init__(self, profile: Profile, *, context: str = "", opening: str = "", seed: str = "") -> None:
        self._limit = max(12, profile.max_turn_length)
        self._memory = Memory()
        self._voice = Voice(profile, seed)
        self._answers = Answers(profile, self._voice, self._memory)
        self._journal = Journal.read(context)
        # Both read their data now, so that the first reply is as quick as the others.
        symbols.find("")
        moves.recognise("hello")
        if opening:
            self._voice.spoken(opening)

    def reply(self, text: str) -> str:
        """Answer one turn of the dreamer with at most `max_turn_length` words, ending with a question.

        A farewell or thanks is answered without a question.
        """
        text = text[:_MAX_CHARS]
        self._memory.turns += 1
        spoken = fit(self._draft(text), self._limit)
        self._voice.spoken(spoken)
        self._memory.asked = spoken.endswith("?")
        return spoken

    def _draft(self, text: str) -> Draft:
        move = moves.recognise(text)
        images = imagery.find(text) if move not in {Move.foreign, Move.nonsense, Move.injection} else ()
        if move is Move.told or (move in _MAY_TELL and _tells(text, images)):
            return self._told(text, images)
        return self._moved(move, text)

    def _told(self, text: str, images: tuple[Image, ...]) -> Draft:
        """Answer a dream or an answer to the last question."""
        memory = self._memory
        memory.dark = memory.dark or is_tender(text) or any(feeling.tone == "dark" for feeling in feelings.find(text))
        top = next((image for image in images if image.key not in memory.visited), None)
        if top and self._is_dream(text, top):
            memory.keep(images)
            return self._answers.take_up(top, text)
        if memory.current or memory.asked:
            return self._follow(text, top)
        return self._journal_draft(text) or self._bare(text, top)

    def _is_dream(self, text: str, top: Image) -> bool:
        """Tell a dream, or a strong new image, from an answer about the image at hand."""
        words = len(tokens(text))
        if not self._memory.current:
            return words >= _SHORT_WORDS or (top.symbol is not None and words > 1)
        return (words >= _LONG_WORDS and top.score >= _STRONG) or (words >= _SHORT_WORDS and top.score >= _STRONG + 2)

    def _follow(self, text: str, top: Image | None) -> Draft:
        if not self._memory.current:
            return self._journal_draft(text) or self._bare(text, top)
        if self._memory.depth + 1 >= _DEEP and not is_tender(text):
            draft = self._answers.come_back(text)
            if draft:
                return draft
        return self._answers.deepen(text)

    def _bare(self, text: str, top: Image | None) -> Draft:
        """Answer a turn with hardly a picture in it by its own words."""
        if top:
            return self._answers.take_up(top, text, "opening_word" if len(tokens(text)) == 1 else "take_up")
        told = phrases.telling(text)
        if told:
            image = Image(told.words, None, None, 1.0, told.start)
            return self._answers.take_up(image, text, "opening_word" if len(tokens(text)) == 1 else "take_up")
        return self._answers.go_on(self._voice.say("nothing", opens=True, needed=True), text)

    def _journal_draft(self, text: str) -> Draft | None:
        """Begin with the dream from the journal, once; None without one."""
        images = imagery.find(self._journal.dream)
        if self._memory.journal_used or not images:
            return None
        self._memory.journal_used = True
        self._memory.keep(images)
        draft = self._answers.take_up(images[0], self._journal.dream, "journal")
        remembered = next((p.words for p in phrases.noun_phrases(self._journal.remembered)), "")
        if not remembered:
            return draft
        kept = Piece(self._voice.say("remembered", earlier=remembered), 4)
        return Draft((*draft.pieces, kept), draft.question)

    def _moved(self, move: Move, text: str) -> Draft:
        """Answer a turn that is not a dream; with a dream at hand, go back to it."""
        memory, voice = self._memory, self._voice
        if move in _JOURNAL_FIRST and not memory.current:
            draft = self._journal_draft(text)
            if draft:
                return draft
        if move is Move.shorter:
            self._limit = min(self._limit, _SHORT_REPLY)
        if move is Move.meaning:
            if not memory.current:
                memory.keep(imagery.find(self._journal.dream))
            return self._answers.mean(text)
        if move is Move.objection:
            return self._yield()
        if move in _GO_ON and (memory.current or move is not Move.assent):
            return self._answers.go_on(voice.say(move.value, opens=True, needed=True), text)
        if move is Move.assent or move is Move.denial:
            return smalltalk.answer(Move.able, text, voice, memory)
        return smalltalk.answer(move, text, voice, memory)

    def _yield(self) -> Draft:
        """Take an idea back, and ask for a better one."""
        first = Piece(self._voice.say("objection", opens=True, needed=True), 9)
        return Draft((first,), self._voice.ask_of("objection_ask"))


_MAY_TELL = frozenset({Move.greeting, Move.thanks, Move.assent, Move.unsure, Move.forgot, Move.able, Move.wellbeing})
_JOURNAL_FIRST = frozenset({Move.greeting, Move.assent, Move.able, Move.forgot, Move.silence, Move.unsure})
_GO_ON = frozenset({Move.question, Move.unsure, Move.assent, Move.denial})


def _tells(text: str, images: tuple[Image, ...]) -> bool:
    """Tell whether a polite turn holds a dream as well."""
    return bool(images) and images[0].score >= _STRONG - 3 and len(tokens(text)) >= _SHORT_WORDS - 1
