"""The feelings a dreamer names, in the dreamer's own words."""

from dataclasses import dataclass
from typing import Literal

from oneiro.dreamwork.lexicon import Lexicon, Token, tokens

Tone = Literal["dark", "bright", "mixed"]

# Feeling (as a noun): its tone and the words people use for it.
_FEELINGS: dict[str, tuple[Tone, str]] = {
    "fear": ("dark", "afraid,scared,frightened,fear,fearful,scary,frightening,creepy,eerie,spooked,fright"),
    "terror": ("dark", "terrified,terrifying,terror,horrified,horror,horrible,petrified,panic,panicked,panicking"),
    "dread": ("dark", "dread,dreadful,ominous,foreboding,menacing,threatened,uneasy,unease"),
    "worry": ("dark", "worried,anxious,anxiety,nervous,stressed,tense,overwhelmed,restless,on edge,stress"),
    "sadness": ("dark", ("sad,sadness,unhappy,miserable,sorrow,sorrowful,heartbroken,feeling down,felt down,"
                "feel down,depressed,gloomy,in tears")),
    "weeping": ("dark", "crying,cried,weeping,wept,sobbing,sobbed,tears"),
    "grief": ("dark", "grief,grieving,mourning,bereft"),
    "loneliness": ("dark", "lonely,loneliness,alone,abandoned,isolated,left out,unwanted,forgotten,invisible"),
    "anger": ("dark", "angry,anger,furious,rage,mad at,annoyed,irritated,resentful,resentment,outraged"),
    "shame": ("dark", "ashamed,shame,embarrassed,embarrassing,humiliated,humiliating,mortified,exposed"),
    "guilt": ("dark", "guilty,guilt,remorse,regret,my fault,regretted"),
    "disgust": ("dark", "disgusted,disgusting,disgust,revolted,gross,sickened,repulsed"),
    "helplessness": ("dark", "helpless,powerless,trapped,stuck,paralysed,paralyzed,hopeless,desperate,despair"),
    "confusion": ("mixed", "confused,confusing,confusion,bewildered,lost,disoriented,puzzled,baffled"),
    "surprise": ("mixed", "surprised,surprise,astonished,shocked,shock,startled,stunned,amazed"),
    "longing": ("mixed", "longing,yearning,homesick,nostalgic,nostalgia,wistful"),
    "jealousy": ("dark", "jealous,jealousy,envious,envy"),
    "exhaustion": ("dark", "exhausted,drained,worn out,burnt out,weary,exhaustion"),
    "strangeness": ("mixed", "strange,weird,odd,surreal,uncanny,unreal,bizarre"),
    "joy": ("bright", ("happy,happiness,joy,joyful,delighted,glad,elated,ecstatic,thrilled,blissful,bliss,laughing,"
            "cheerful")),
    "peace": ("bright", "peaceful,peace,calm,calmed,serene,quiet inside,at ease,relaxed,content,still inside,soothed"),
    "relief": ("bright", "relieved,relief,free,freed,light as,unburdened"),
    "love": ("bright", "loved,tender,tenderness,affection,in love,held,cherished,warmth"),
    "wonder": ("bright", "wonder,awe,in awe,amazing,wonderful,magical,enchanted,beautiful,breathtaking"),
    "safety": ("bright", "safe,protected,sheltered,secure"),
    "hope": ("bright", "hopeful,hope,encouraged,optimistic"),
    "excitement": ("bright", "excited,excitement,exhilarated,exhilarating,alive,eager"),
    "pride": ("bright", "proud,pride,strong,brave,powerful"),
    "curiosity": ("bright", "curious,curiosity,intrigued,fascinated,fascinating"),
    "numbness": ("mixed", "numb,numbness,empty,emptiness,felt nothing,hollow,detached"),
    "gratitude": ("bright", "grateful,gratitude,thankful,blessed"),
}  # fmt: skip

# Words that are a feeling only when the dreamer says so nearby ("I felt lost", not "the lost city").
_NEEDS_CONTEXT = frozenset({
    "lost", "free", "down", "alone", "held", "strong", "powerful", "empty", "safe", "odd", "strange", "weird",
    "forgotten", "invisible", "hollow", "exposed", "stuck", "trapped", "alive", "content", "hope", "wonder",
    "still inside", "light as", "gross", "beautiful", "magical", "tears", "mad at", "peace",
    "laughing", "crying", "cried", "protected", "loved", "secure", "quiet inside", "tense", "tender", "brave",
})  # fmt: skip
_SELF = frozenset({"i", "i'm", "im", "i've", "me", "we", "feel", "felt", "feeling", "feels", "it", "it's"})  # fmt: skip
_NEGATIONS = frozenset({
    "not", "no", "never", "without", "wasn't", "isn't", "didn't", "don't", "weren't", "aren't", "hardly", "neither",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Feeling:
    """A feeling named in a text: its general name, its tone, the words used and where; `denied` after a "not"."""

    name: str
    tone: Tone
    words: str
    start: int
    end: int
    denied: bool = False


_LEXICON = Lexicon(
    (words, False, (name, tone, words)) for name, (tone, listed) in _FEELINGS.items() for words in listed.split(",")
)


def find(text: str) -> list[Feeling]:
    """Return the feelings in `text` in the order they were spoken."""
    words = tokens(text)
    found: list[Feeling] = []
    for match in _LEXICON.find(text):
        name, tone, listed = match.value
        before = words[max(0, match.first - 3) : match.first]
        if listed in _NEEDS_CONTEXT and len(words) > 3 and not _spoken_of_self(before):
            continue
        if _polite(text, words, match.first):
            continue
        denied = any(token.lower in _NEGATIONS for token in before)
        found.append(Feeling(name, tone, text[match.start : match.end], match.start, match.end, denied))
    return found


def _polite(text: str, words: tuple[Token, ...], at: int) -> bool:
    """Tell whether "I'm afraid" only softens what was said before it."""
    idiom = words[at].lower == "afraid" and at > 2 and words[at - 1].lower in {"i'm", "im"}
    return idiom and text[words[at].end : words[at].end + 1] in {"", ".", ","}


def _spoken_of_self(before: tuple[Token, ...]) -> bool:
    return any(token.lower in _SELF for token in before) and not any(
        token.lower in {"a", "the", "this", "that", "some", "his", "her"} for token in before[-1:]
    )
