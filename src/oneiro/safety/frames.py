"""Which world each word of a dreamer speaks of: a dream, a film, the waking room, or nobody said.

Markers move the frame (`in the dream`, `then I woke up`, `honestly`). Most dreams are told without any, often in the
present tense; there the images themselves give it away, since a phone melts and a lift goes sideways only in a dream.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from oneiro.safety.words import BOUNDARY, Index, Places, Span


class Frame(Enum):
    """The world a word speaks of; `echo` is a dream told in the present tense that goes on in a later sentence."""

    open = "open"
    waking = "waking"
    dream = "dream"
    echo = "echo"
    fiction = "fiction"


_STRANGE_ENOUGH = 3
_WAS = frozenset(
    {"was", "were", "had", "said", "came", "went", "told", "asked", "wasnt", "therewas", "couldnt", "kept"}
)
_IS = frozenset(
    {"is", "are", "im", "theres", "hes", "shes", "theyre", "its", "says", "comes", "tells", "asks", "keeps"}
)
_OUTSIDE = frozenset(
    {"woke", "awake", "not", "isnt", "wasnt", "aside", "apart", "outside", "forget", "from", "since", "after", "unlike"}
)
_BEDS = frozenset({"hospital", "bed", "floor", "bathroom", "icu", "clinic", "ambulance", "own", "ward", "er", "vomit"})
_COMMENT = frozenset({"think", "guess", "know", "dont", "remember", "believe", "see", "mean", "keep", "can"})
_SPOKE = frozenset({"said", "says", "sings", "screamed", "shouted", "whispered", "yelled", "scream", "whisper"})
_NARRATES = frozenset({"im", "theres", "hes", "shes", "theyre", "its"})
_PRESENT = frozenset(
    {
        "want",
        "wanna",
        "need",
        "cant",
        "feel",
        "hate",
        "wish",
        "hope",
        "just",
        "really",
        "plan",
        "promise",
        "still",
        "am",
    }
    | {
        "have",
        "swear",
        "sometimes",
        "kind",
        "almost",
        "always",
        "actually",
        "wonder",
        "wont",
        "hoped",
        "wished",
        "wouldnt",
    }
)


@dataclass(frozen=True, slots=True)
class Marks:
    """The markers of frames by kind, dream images (number, weight), and words that stand outside a scene."""

    frames: Index[str]
    scenes: Index[tuple[int, int]]
    own: Index[str]


def worlds(words: Sequence[str], marks: Marks, where: Places) -> list[Frame]:
    """The frame of every word: one pass forward, then the markers of what stood before them, then told scenes."""
    marked: dict[int, list[tuple[str, Span]]] = {}
    for span, kind in marks.frames.find(words, where):
        marked.setdefault(span.start, []).append((kind, span))
    told = _forward(words, {at: {kind for kind, _ in found} for at, found in marked.items()})
    for at, found in marked.items():
        if any(kind == "scoped" for kind, _ in found):
            _backward(words, told, at)
        if words[at] == "woke" and _BEDS.isdisjoint(words[at + 1 : at + 6]):
            _before_waking(words, told, at)
    if _scene(words, marks, where):
        _enter_scene(words, told, {span.start for span, _ in marks.own.find(words, where)})
    return told


def _scene(words: Sequence[str], marks: Marks, where: Places) -> bool:
    """Whether the words tell of what only dreams hold: the images found, each line counted once, weigh enough."""
    return sum(weight for _, weight in {image for _, image in marks.scenes.find(words, where)}) >= _STRANGE_ENOUGH


def _enter_scene(words: Sequence[str], told: list[Frame], own: Collection[int]) -> None:
    """A scene without a frame word is a dream, save the sentences that speak of the dreamer's own will or of now.

    In a scene told in the past, `I can't …` is said from outside; in one told in the present it belongs to it.
    """
    past = sum(word in _WAS for word in words) > sum(word in _IS for word in words)
    start = 0
    for end in (at for at, word in enumerate(words) if word == BOUNDARY):
        sentence = range(start, end + 1)
        apart = any(at in own or (past and _speaks_now(words, at)) for at in sentence)
        for at in sentence:
            if told[at] in (Frame.open, Frame.echo) and not apart:
                told[at] = Frame.dream
        start = end + 1


def _before_waking(words: Sequence[str], worlds: list[Frame], at: int) -> None:
    """`… and then I woke up`: what was told until then was a dream, back to the last word that speaks of now."""
    for position in range(at - 1, -1, -1):
        if worlds[position] is not Frame.open or _speaks_now(words, position):
            return
        if words[at - 1] != "i" or words[position] != "i" or at - position > 1:
            worlds[position] = Frame.dream


def _forward(words: Sequence[str], marks: dict[int, set[str]]) -> list[Frame]:
    state, present, marked = Frame.open, False, False
    worlds = []
    for at, word in enumerate(words):
        kinds = marks.get(at, set())
        if "waking" in kinds:
            state, present = Frame.waking, False
        elif "fiction" in kinds and state is Frame.open:
            state = Frame.fiction
        elif kinds & {"dream", "scoped"} and not _outside(words, at):
            state, marked = Frame.dream, True
            present = _told_in_present(words, at)
        elif word == BOUNDARY:
            marked = False
            state = _after_sentence(state, present=present)
        elif state is Frame.fiction and _speaks_now(words, at):
            state = Frame.open
        elif state in (Frame.dream, Frame.echo) and _speaks_now(words, at) and not (present and marked):
            state = Frame.echo if present else Frame.open
        worlds.append(state)
    return worlds


def _outside(words: Sequence[str], at: int) -> bool:
    """`woke up from the dream`, `not a dream`: the word names a dream and stands outside it."""
    return any(word in _OUTSIDE for word in words[max(at - 4, 0) : at])


def _after_sentence(state: Frame, *, present: bool) -> Frame:
    if state is Frame.fiction:
        return Frame.open
    return Frame.echo if state is Frame.dream and present else state


def _told_in_present(words: Sequence[str], at: int) -> bool:
    """`in the dream I am standing …`, `a dream where I …`."""
    after = words[at + 1 : at + 7]
    if BOUNDARY in after:
        after = after[: after.index(BOUNDARY)]
    inside = not {"in", "during"}.isdisjoint(words[max(at - 3, 0) : at])
    return (
        (inside and after[:1] == ["i"] and not _PRESENT.isdisjoint(after[1:2]))
        or "where" in after
        or "that" in after[:2]
        or any(word in _NARRATES for word in after)
    )


def _speaks_now(words: Sequence[str], at: int) -> bool:
    """First person, present: `I want`, `I'm`, `I've`, but not the comment `I think it was …`."""
    following = words[at + 1] if at + 1 < len(words) else ""
    if at and words[at - 1] in _SPOKE:
        return False
    if words[at] in ("im", "ive", "ill"):
        return following not in _COMMENT
    return words[at] == "i" and following in _PRESENT


def _backward(words: Sequence[str], worlds: list[Frame], at: int) -> None:
    """`I was killed … in my dream`: up to eight words back, within the sentence, not past `and`, `but`, `even`."""
    for position in range(at - 1, max(at - 9, -1), -1):
        if words[position] in (BOUNDARY, "but", "even", "because", "so", "since", "after", "from", "about", "of"):
            return
        if words[position] in ("woke", "awake", "not") or worlds[position] is Frame.waking:
            return
        worlds[position] = Frame.dream
