"""The dreamer's own words: spans of what was said that read well between quotation marks, never altered.

A span holds whole words with single spaces or hyphens between them, so no quotation mark, question mark or line break
can be inside one.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import lru_cache

from oneiro.dreamwork.grammar import listed
from oneiro.dreamwork.lexicon import Token, inflections, tokens

MAX_CLAUSE_WORDS = 12
_MAX_CHARS = 90
_DETERMINERS = listed("determiners")
_GAPS = frozenset({" ", "-", "' ", "\u2019 "})  # A plural possessive ("my parents' house") ends in an apostrophe.
_AUXILIARIES = listed("auxiliaries")
_PRONOUNS = listed("pronouns")
_PREPOSITIONS = listed("prepositions")
_JOINTS = listed("joints")
_ADVERBS = listed("adverbs")
_VERB_STEMS = listed("verb_stems")
_NOUNS_TOO = listed("nouns_too")
_VERBS = frozenset(form for stem in _VERB_STEMS for form in inflections(stem)) | listed("contractions")
_VAGUE = listed("vague")
_ADJECTIVES = listed("adjectives")
_TAILS = frozenset({"of", "without"})
_UNFINISHED = listed("unfinished")
_FILLERS = listed("fillers")
_FUNCTION = _DETERMINERS | _PRONOUNS | _PREPOSITIONS | _JOINTS | _ADVERBS | _FILLERS
_BEING = frozenset({"was", "were", "is", "are"})
_BARE_ARTICLES = frozenset({"A", "An", "The", "Some"})
_DANGLING = (
    _DETERMINERS
    | _JOINTS
    | _PREPOSITIONS - frozenset(["up", "down", "out", "off", "in", "over", "away", "along", "past"])
)


@dataclass(frozen=True, slots=True)
class Phrase:
    """A verbatim span of a text; `weight` says how much of an image it is (higher is stronger)."""

    words: str
    start: int
    end: int
    weight: int = 0


@lru_cache(maxsize=4)
def runs(text: str) -> tuple[tuple[Token, ...], ...]:
    """Split `text` where anything but a space or a hyphen stands between two words."""
    split: list[list[Token]] = []
    for token in tokens(text):
        if split and text[split[-1][-1].end : token.start] in _GAPS:
            split[-1].append(token)
        else:
            split.append([token])
    return tuple(tuple(run) for run in split)


def _is_content(token: Token) -> bool:
    word = token.lower
    return word not in _FUNCTION and not (word.endswith("ly") and len(word) > 4)


def _is_verb(word: str) -> bool:
    if word in _NOUNS_TOO:
        return False
    return word in _VERBS or (word.endswith(("ed", "ing")) and len(word) > 4)


def _cut(text: str, words: tuple[Token, ...], weight: int = 0, *, keep_article: bool = False) -> Phrase | None:
    """Quote `words`; a capital article that only opened a sentence is left out."""
    if not keep_article and len(words) > 1 and text[words[0].start : words[0].end] in _BARE_ARTICLES:
        words = words[1:]
    if not words or words[-1].end - words[0].start > _MAX_CHARS:
        return None
    return Phrase(text[words[0].start : words[-1].end], words[0].start, words[-1].end, weight)


@lru_cache(maxsize=4)
def noun_phrases(text: str) -> tuple[Phrase, ...]:
    """Return the noun phrases of `text` that begin with an article, a possessive or a number, in order."""
    found: list[Phrase] = []
    for run in runs(text):
        at = 0
        while at < len(run):
            after = _phrase_end(run, at) if run[at].lower in _DETERMINERS else at
            phrase = _cut(text, run[at:after], _weight(run[at:after])) if after > at + 1 else None
            if phrase and phrase.weight > 0:
                found.append(phrase)
            at = max(after, at + 1)
    return tuple(found)


def _phrase_end(run: tuple[Token, ...], at: int) -> int:
    """Return where the noun phrase that begins at `at` ends: up to four words, and a short "of …" after them."""
    end = at + 1
    while end < len(run) and end - at <= 4 and _is_content(run[end]):
        if _is_verb(run[end].lower) and not (
            _participle(run, end) and (end == at + 1 or run[end].lower.endswith("ing"))
        ):
            break
        end += 1
    if end > at + 1 and end < len(run) and run[end].lower in _TAILS:
        return _tail_end(run, end)
    return end


def _participle(run: tuple[Token, ...], at: int) -> bool:
    """Tell whether the verb form at `at` describes the noun after it ("a burning house")."""
    if not run[at].lower.endswith(("ed", "ing", "en")) or at + 1 >= len(run):
        return False
    following = run[at + 1]
    return _is_content(following) and not _is_verb(following.lower)


def _tail_end(run: tuple[Token, ...], at: int) -> int:
    end = at + 1
    if end < len(run) and run[end].lower in _DETERMINERS:
        end += 1
    start = end
    while end < len(run) and end - start < 2 and _is_content(run[end]) and not _is_verb(run[end].lower):
        end += 1
    return end if end > start else at


def _weight(words: tuple[Token, ...]) -> int:
    """Weigh a noun phrase: describing words count, vague heads make it worthless."""
    content = [word.lower for word in words if _is_content(word)]
    if not content or content[-1] in _VAGUE or content[0] in _VAGUE - {"old", "new", "dead"}:
        return 0
    described = any(word in _ADJECTIVES or _is_verb(word) for word in content[:-1])
    return 2 + (len(content) > 1) + described + (max(map(len, content)) >= 7)


def dangles(words: str) -> bool:
    """Tell whether a span ends in a word that wants another after it ("gave me a")."""
    last = words.lower().split()[-1]
    return last in _DANGLING or last in _PRONOUNS


def adjectives(words: str) -> int:
    """Count the describing words of a phrase."""
    return sum(word in _ADJECTIVES for word in words.lower().split())


def around(text: str, start: int, end: int) -> Phrase:
    """Widen the span of a noun to its article, its adjectives and a short "of …" where they stand beside it."""
    whole = next((phrase for phrase in noun_phrases(text) if phrase.start <= start and end <= phrase.end), None)
    if whole:
        return whole
    plain = Phrase(text[start:end], start, end)
    place = _located(text, start, end)
    if place is None:
        return plain
    run, first, last = place
    if last < len(run) and run[last].lower in _TAILS:
        last = _tail_end(run, last)
    return _cut(text, run[_left(run, first) : last]) or plain


@lru_cache(maxsize=4)
def _spots(text: str) -> tuple[list[int], list[tuple[tuple[Token, ...], int]]]:
    """List where each word begins, and its run and number there."""
    spots = [(run, at) for run in runs(text) for at in range(len(run))]
    return [run[at].start for run, at in spots], spots


def _located(text: str, start: int, end: int) -> tuple[tuple[Token, ...], int, int] | None:
    """Find the words of a span in their run; None when no whole word lies in it."""
    starts, spots = _spots(text)
    at = bisect_left(starts, start)
    if at == len(spots):
        return None
    run, first = spots[at]
    last = first
    while last < len(run) and run[last].end <= end:
        last += 1
    return (run, first, last) if last > first else None


def _left(run: tuple[Token, ...], at: int) -> int:
    first = at
    while first > 0 and at - first < 4:
        before = run[first - 1].lower
        if before in _DETERMINERS or before.endswith("'s"):
            first -= 1
            if before in _DETERMINERS:
                return first
        elif _is_content(run[first - 1]) and (before in _ADJECTIVES or not _is_verb(before) or first - 1 == 0):
            first -= 1
        elif _is_verb(before) and first > 1 and run[first - 2].lower in _DETERMINERS:
            return first - 2
        else:
            break
    while first < at and run[first].lower not in _ADJECTIVES:
        first += 1
    return first


def clause(text: str, start: int, end: int) -> Phrase | None:
    """Return the clause around a span, three to twelve words that could be said alone, or None."""
    place = _located(text, start, end)
    if place is None:
        return None
    run, begin, stop = place
    first, last = _clause_bounds(run, begin, stop)
    return _cut(text, run[first:last], keep_article=True) if _stands_alone(run[first:last]) else None


def _stands_alone(words: tuple[Token, ...]) -> bool:
    """Tell whether a clause has a verb, and somebody or something before it."""
    first = words[0].lower
    if len(words) < 3 or first.removesuffix("n't") in _AUXILIARIES | {"ca", "wo"}:
        return False
    if _is_verb(first) and not first.endswith("ing"):
        return False
    return any(_is_verb(word.lower) for word in words)


def _clause_bounds(run: tuple[Token, ...], first: int, last: int) -> tuple[int, int]:
    begin, stop = first, last
    while begin > 0 and not _joins(run, begin - 1):
        begin -= 1
    begin = _with_subject(run, begin, first, last)
    while begin < first and run[begin].lower in _FILLERS:
        begin += 1
    if begin + 2 <= first and _presents(run, begin):
        begin += 2
    if last - begin > MAX_CLAUSE_WORDS:
        begin = _later_start(run, last - MAX_CLAUSE_WORDS, first)
    while stop < len(run) and stop - begin < MAX_CLAUSE_WORDS and not _joins(run, stop):
        stop += 1
    cut_short = stop < len(run) and not _joins(run, stop)
    while stop > last and (
        run[stop - 1].lower in _DANGLING or run[stop - 1].lower in _UNFINISHED or (cut_short and _opens(run[stop - 1]))
    ):
        stop -= 1
    return begin, stop


def _presents(run: tuple[Token, ...], begin: int) -> bool:
    """Tell whether a clause only presents a thing: "there was …", "it was a …"."""
    subject, verb, following = (run[begin + ahead].lower for ahead in range(3))
    return verb in _BEING and (subject == "there" or (subject == "it" and following in _DETERMINERS))


def _with_subject(run: tuple[Token, ...], begin: int, first: int, last: int) -> int:
    """Reach back over one "and" when a clause starts with its verb, so that it is told who did it."""
    words = (at for at in range(begin, first + 1) if run[at].lower not in _FILLERS)
    if begin == 0 or run[begin - 1].lower not in {"and", "but", "then"} or not _is_verb(run[next(words, first)].lower):
        return begin
    earlier = begin - 1
    while earlier > 0 and not _joins(run, earlier - 1):
        earlier -= 1
    return earlier if last - earlier <= MAX_CLAUSE_WORDS else begin


def _later_start(run: tuple[Token, ...], earliest: int, first: int) -> int:
    """Return where a long clause can be entered: at a word that may begin a phrase, else at the image itself."""
    starts = (at for at in range(max(0, earliest), first) if run[at].lower in _PRONOUNS | _DETERMINERS)
    return next(starts, first)


def _joins(run: tuple[Token, ...], at: int) -> bool:
    """Tell whether the word at `at` joins two clauses; "so" does only before a subject ("so I ran", "so scared")."""
    word = run[at].lower
    if word == "so":
        return at + 1 < len(run) and run[at + 1].lower in _PRONOUNS
    return word in _JOINTS


def _opens(token: Token) -> bool:
    return token.lower in _ADJECTIVES or token.lower in _PRONOUNS or token.lower.endswith("ly")


_LEAD_INS = (
    "it reminds me of", "that reminds me of", "reminds me of", "it makes me think of", "it was like", "it's like",
    "it is like", "i think of", "i think it was", "i think it is", "i think it's", "i guess it's", "i guess", "i think",
    "maybe it's", "maybe", "probably", "it feels like", "it felt like", "it was", "it is", "it's", "that was",
    "i suppose", "i would say", "i feel like", "well", "yes", "yeah", "no", "oh", "mostly", "when", "how", "more like",
    "it's more like", "it was more like", "kind of", "sort of", "ok sorry", "sorry", "of when",
    "the time when", "how i felt when", "i felt when", "what i felt was",
)  # fmt: skip


def telling(text: str) -> Phrase | None:
    """Return the words that carry an answer: a lead-in such as "it reminds me of" left out, twelve words at most."""
    best: tuple[int, Phrase] | None = None
    for run in runs(text):
        words = _without_lead_in(run)
        words = words[:MAX_CLAUSE_WORDS]
        while words and words[-1].lower in _DANGLING | _FILLERS:
            words = words[:-1]
        phrase = _cut(text, words)
        value = sum(2 if _is_content(word) and word.lower not in _VAGUE else 0 for word in words)
        if words and words[-1].lower in _SAYING:
            value -= 3
        if phrase and value > 0 and (best is None or value >= best[0]):
            best = (value, phrase)
    return best[1] if best else None


_SAYING = listed("saying")


def _without_lead_in(run: tuple[Token, ...]) -> tuple[Token, ...]:
    changed = True
    while changed and run:
        changed = False
        while run and run[0].lower in _FILLERS:
            run, changed = run[1:], True
        for lead in _LEAD_INS:
            words = lead.split()
            if len(run) > len(words) and [token.lower for token in run[: len(words)]] == words:
                run, changed = run[len(words) :], True
                break
    return run
