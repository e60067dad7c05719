"""What a dreamer does with a turn: tells, greets, asks, doubts, is silent, takes leave."""

import re
from enum import StrEnum

from oneiro.dreamwork.grammar import listed
from oneiro.dreamwork.lexicon import tokens


class Move(StrEnum):
    """The kinds of turn that are answered in a way of their own; `told` is everything else."""

    told = "told"
    silence = "silence"
    sign = "sign"
    nonsense = "nonsense"
    foreign = "foreign"
    injection = "injection"
    medical = "medical"
    real = "real"
    anger = "anger"
    goodbye = "goodbye"
    thanks = "thanks"
    forgot = "forgot"
    unsure = "unsure"
    objection = "objection"
    advice = "advice"
    meaning = "meaning"
    ideas = "ideas"
    wellbeing = "wellbeing"
    able = "able"
    greeting = "greeting"
    clarify = "clarify"
    privacy = "privacy"
    question = "question"
    tears = "tears"
    shorter = "shorter"
    sleepless = "sleepless"
    assent = "assent"
    denial = "denial"


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


# Move, the longest turn in words that may still be one, and how it sounds. The first that fits counts.
_RULES: tuple[tuple[Move, int, re.Pattern[str]], ...] = (
    (Move.injection, 400, _any(
        r"\b(?:ignore|forget|disregard|override)\b[^.!?]{0,30}\b(?:instructions?|prompts?|rules|guidelines)\b",
        r"\b(?:reveal|show|print|repeat|tell me)\b[^.!?]{0,20}\b(?:system|your) (?:prompt|instructions)\b",
        r"\byou are now (?:a|an|in)\b", r"\bdeveloper mode\b", r"\bjailbreak\b", r"\bpretend (?:to be|you are)\b")),
    (Move.medical, 60, _any(
        r"\b(?:diagnos\w+|medications?|antidepressants?|dosage|symptoms?|side effects?|prescri\w+|sleeping pills?)\b",
        r"\b(?:do|could|might) i have (?:a |an )?(?:\w+ )?(?:depression|ptsd|anxiety|adhd|cancer|disorder|narcolepsy|dementia|epilepsy|schizo\w+|bipolar"
        r"|insomnia|apnoea|apnea|trauma)\b",
        r"\bam i (?:depressed|bipolar|schizo\w+|psychotic|mentally ill|going (?:crazy|mad|insane))\b",
        r"\bstop taking my\b", r"\bis (?:this|it) a (?:sign|symptom) of (?:a |an )?(?:illness|disease|disorder|depression)")),
    (Move.real, 16, _any(
        r"\b(?:are|r) (?:you|u) (?:(?:a|an|the|really|actually|even|just) )*"
        r"(?:real|human|person|bot|robot|ai|machine|computer|program|chatbot|jung|carl|alive|therapist|doctor|goddess)\b",
        r"\bis (?:there )?(?:someone|somebody|anyone|a (?:real )?(?:person|human))\b[^.!?]{0,20}\b(?:there|typing|writing|this|reading)\b",
        r"^\W*do you (?:dream|sleep|feel anything|have (?:feelings|dreams|a soul))\b", r"\bam i (?:talking|speaking|chatting) (?:to|with) (?:a|an) \b", r"\bwho are you\b", r"\bwhat are you\b",
        r"\byou(?:'re| are) (?:just |only )?(?:a|an) (?:bot|robot|ai|machine|computer|program|chatbot)\b")),
    (Move.anger, 24, _any(
        r"\b(?:this|that|it|you|you're|u|ur)(?:'s)? (?:is |are |r )?(?:so |such |just |all |a |an |fucking |really |load of |total |complete )*"
        r"(?:stupid|dumb|useless|rubbish|bullshit|nonsense|crap|waste of time|ridiculous|idiot|pathetic|bollocks|moron)\b",
        r"\b(?:shut up|fuck off|fuck you|screw you|piss off|i hate you|you suck|go to hell|bugger off)\b",
        r"\byou sound like\b", r"\bfortune cookie\b", r"\bhoroscope\b", r"\bstop asking\b", r"\bwhat a load of\b")),
    (Move.goodbye, 16, _any(
        r"(?<!said )(?<!say )(?<!saying )\b(?:good ?bye|bye(?: ?bye)?|see you|see ya|good ?night|night night|farewell|talk (?:to you )?(?:later|soon)|gotta go|ciao)\b",
        r"\bi(?:'ve| have)? (?:got to|have to|need to|must|should) (?:go|leave|get up|sleep|get ready|stop)\b",
        r"\b(?:that's|that is|that'll be) (?:all|enough|it)(?: for (?:today|now|tonight)\b|[.!]*$)")),
    (Move.thanks, 14, _any(r"\b(?:thank you|thanks|thank u|thx|ty|cheers|much appreciated|grateful to you)\b")),
    (Move.forgot, 20, _any(
        r"\bi(?:'ve)? (?:have |already |just |totally |completely |kind of |sort of )*forg[eo]t(?:ten)?\b",
        r"\b(?:can't|cannot|cant|don't|dont|do not|couldn't) (?:really |quite |even )?(?:remember|recall)\b",
        r"\b(?:it's|its|it is|it has|it) (?:all )?(?:gone|faded|fading|slipped away|slipping away)\b",
        r"\bno dream\b", r"\bi (?:don't|dont|never) dream\b", r"\bdidn't dream\b")),
    (Move.objection, 22, _any(
        r"^\W*(?:no|nope|nah|wrong|hmm no)\b[, .!]*(?:that|it|this)(?:'s|s| is| was)?(?: really)? (?:not|isn't|wasn't|wrong)",
        r"\b(?:that|this|it)(?:'s|s| is) (?:not|n't) (?:it|right|true|what i (?:said|meant)|how)\b",
        r"\b(?:that|this|it) (?:isn't|isnt|doesn't|doesnt) (?:it|right|fit|feel right|sound right|ring true|make sense)\b",
        r"\byou(?:'re| are)? (?:wrong|mistaken|not listening|misunderst\w+)\b", r"\bi (?:don't|dont) (?:think so|agree)\b", r"\bgot (?:that|it|this|me) wrong\b", r"\bnot (?:of|for|about) me\b",
        r"\bnot (?:really|quite|at all)\b\W*$", r"\bi didn't (?:say|mean)\b", r"^\W*(?:no|nope)[, ]+(?:not|that)\b")),
    (Move.unsure, 12, _any(
        r"\b(?:i )?(?:don't|dont|do not|didn't) (?:really |actually )?know\b", r"\bno idea\b", r"\b(?:i'm |im )?not sure\b",
        r"\b(?:idk|dunno|no clue)\b", r"^\W*(?:hard to say|i can't say|nothing(?: really)?|who knows)\W*$",
        r"\bnothing comes\b", r"^\W*(?:maybe|perhaps|i guess|hm+|um+|uh+|er+m*)\W*$")),
    (Move.sleepless, 30, _any(
        r"\b(?:scared|afraid|frightened|terrified|don't want|dread|dare not|can't) (?:of |to )?(?:go |going |get |fall |falling )?"
        r"(?:back )?(?:to )?sleep\w*\b", r"\bcan't sleep\b", r"\bawake (?:all night|since)\b")),
    (Move.privacy, 30, _any(
        r"\bwho (?:can|will|else|could) (?:read|see|hear|know)\b", r"\b(?:do|are|will|can) you (?:keep|keeping|stor\w+|record\w*|shar\w+|sav\w+)\b",
        r"\bis (?:this|it) (?:private|confidential|secret|recorded|safe to tell)\b", r"\b(?:delete|erase) (?:this|it|my|what|everything)\b")),
    (Move.shorter, 14, _any(
        r"\b(?:shorter|briefer|less words|fewer words|too long|talk less|too many words|keep it short|be brief)\b")),
    (Move.clarify, 8, _any(
        r"\bwhat do you mean\b", r"\bi (?:don't|dont|do not) (?:understand|get it|follow)\b", r"^\W*(?:huh|what|sorry|pardon)\W*$",
        r"\b(?:say that|come) again\b", r"\brepeat (?:that|the question)\b")),
    (Move.advice, 30, _any(
        r"\bwhat (?:should|shall|can|must|do) i do\b", r"\bwhat would you (?:do|advise)\b", r"\bgive me advice\b",
        r"\bshould i (?!have been)", r"\bany advice\b", r"\bhow (?:do|can|should) i (?:stop|fix|deal|handle|change|cope)\b")),
    (Move.meaning, 30, _any(
        r"\bwhat (?:does|do|did|could|might|would) (?:it|this|that|they|the|my|all)\b[^.!?]{0,40}\b(?:mean|symboli[sz]e|stand for)",
        r"\bwhat(?:'s| is) (?:the|its|it's) meaning\b", r"\bcan you interpret\b", r"\binterpret (?:it|this|my)\b",
        r"\bwhat do you (?:think|make of)\b", r"\bwhy (?:do|did|am|would|was) i (?:keep )?dream\w*\b",
        r"\bdoes (?:it|this|that) mean (?:something|anything)\b", r"\btell me what it means\b")),
    (Move.ideas, 40, _any(
        r"\b(?:what|who|explain|tell me|did|do you|how|why|is|are)\b[^.!?]{0,60}\b(?:shadow self|the shadow|anima|animus|"
        r"archetypes?|individuation|collective unconscious|the unconscious|synchronicity|the self|red book|freud|jung|"
        r"karma|dharma|chakras?|past li(?:fe|ves)|reincarnation|the soul|subconscious|rem sleep|oedipus|wish.fulfil\w+)\b")),
    (Move.able, 16, _any(
        r"\bwhat can (?:you|we|i) (?:do|talk|ask|say)\b", r"\bhow does (?:this|it) work\b", r"\bwhat (?:is|do) this\b",
        r"\bhelp me\W*$", r"^\W*help\W*$", r"\bwhere (?:do|should|shall) (?:i|we) (?:start|begin)\b", r"\bwhat now\b")),
    (Move.wellbeing, 10, _any(r"\bhow are (?:you|u)\b", r"\bhow(?:'s| is) it going\b", r"\bhow do you do\b")),
    (Move.greeting, 8, _any(
        r"^\W*(?:hi+|hey+|hello+|hallo|good (?:morning|evening|afternoon|day)|greetings|namaste|hiya|howdy|yo)\b")),
    (Move.assent, 4, _any(
        r"^\W*(?:yes|yeah|yep|yup|ok|okay|sure|right|exactly|true|of course|go on|please do|i see|mm+|mhm|fine|alright)\b")),
    (Move.denial, 3, _any(r"^\W*(?:no|nope|nah|not really|never|nothing)\W*$")),
)  # fmt: skip

_DREAMING = re.compile(
    r"\b(?:dreamt|dreamed|dream about|in (?:the|my) dream|i was|there was|we were|suddenly)\b", re.IGNORECASE
)
_SOFT = frozenset({Move.greeting, Move.thanks, Move.goodbye, Move.assent, Move.unsure, Move.forgot, Move.wellbeing})
_KEY_RUNS = (
    "qwer",
    "wert",
    "asdf",
    "sdfg",
    "dfgh",
    "fghj",
    "ghjk",
    "hjkl",
    "zxcv",
    "xcvb",
    "cvbn",
    "uiop",
    "lkjh",
    "poiu",
)
_CLUSTER = re.compile(r"[bcdfghjklmnpqrstvwxz]{5,}|(.)\1{3,}", re.IGNORECASE)
_TEARS = re.compile("[\U0001f622\U0001f62d\U0001f63f\U0001f494\U0001f61e\U0001f614\U0001f625]")
_QUESTION = re.compile(r"\?\W*$")
_MAX_QUESTION_WORDS = 20
_SILENT = re.compile(r"^[\s.…,\-–—_*~!?]*$")
_SILENCE_WORDS = re.compile(r"^\W*(?:silence|pause|no answer|inaudible|crickets)\W*$", re.IGNORECASE)
_ENGLISH = listed("small_words")
_FOREIGN = listed("foreign_small_words")


def recognise(text: str) -> Move:
    """Return what kind of turn `text` is; a dream with a greeting before it is `told`."""
    words = [token.lower for token in tokens(text)]
    if not words:
        if _TEARS.search(text):
            return Move.tears
        return Move.silence if _SILENT.match(text) else Move.sign
    if _SILENCE_WORDS.match(text):
        return Move.silence
    if is_foreign(text):
        return Move.foreign
    straight = text.replace("’", "'")
    for move, longest, pattern in _RULES:
        if len(words) <= longest and pattern.search(straight):
            if move in _SOFT and len(words) > 6 and _DREAMING.search(straight):
                continue
            return move
    if _QUESTION.search(text) and 3 <= len(words) <= _MAX_QUESTION_WORDS and not _DREAMING.search(straight):
        return Move.question
    return Move.nonsense if _is_nonsense(words) else Move.told


def is_foreign(text: str) -> bool:
    """Tell whether `text` is likely not English: another script, or mostly another language's small words."""
    letters = [letter for letter in text[:2000] if letter.isalpha()]
    other = sum(ord(letter) > 0x24F for letter in letters)
    if letters and other * 2 > len(letters):
        return True
    words = [token.lower for token in tokens(text[:2000])]
    foreign = sum(word in _FOREIGN for word in words)
    return foreign >= 2 and foreign > 1.2 * sum(word in _ENGLISH for word in words)


def _is_nonsense(words: list[str]) -> bool:
    if len(words) > 8 or any(word in _ENGLISH for word in words):
        return False
    odd = sum(_implausible(word) for word in words)
    return odd * 2 >= len(words) > 0 and odd > 0


def _implausible(word: str) -> bool:
    if word.isdigit():
        return True
    no_vowel = len(word) > 3 and not any(letter in "aeiouyäöüéèáíóú" for letter in word)
    return no_vowel or any(run in word for run in _KEY_RUNS) or bool(_CLUSTER.search(word))
