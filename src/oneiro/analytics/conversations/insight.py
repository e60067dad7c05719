"""What is said when something has become clear: cues by which a line of a talk is taken for an insight.

A dream is told in the past and thought about in the present. So most cues ask for a present tense, or for a bond
between the dream and waking life; "I think there was a door" and "I realised I was late" tell the dream.
"""

import re
from typing import Final

_LONG: Final = 30
"""Words from which on a line rather tells the dream on: there only the first kind of cues counts."""
_IS: Final = r"(?:'s|'re| is| are|'m| am)"
_SOFTLY: Final = r"(?:really |actually |just |simply |probably |maybe |perhaps |also |all |kind of |sort of )?"
_MAYBE: Final = (
    r"(?:maybe|perhaps|i (?:guess|suppose|think|suspect|wonder if|bet|imagine)|(?:it )?could be|probably|possibly"
    r"|what if|i'm (?:starting|beginning) to (?:think|see|believe|feel|reali[sz]e|wonder|understand))(?: that)?,?"
)
_NOW: Final = (
    r"(?:i'm|i've|i am|i have|i still|part of me|i (?:just |always |never |really |only |also )?"
    r"(?:need|want|should|keep|miss|feel|do|don't|let|treat|carry|avoid|hide|run|expect|blame|hold|act|worry|get|have)"
    rf"|(?:it|that|this|he|she|they|there|everything|nobody){_IS}"
    r"|(?:it|that|this) (?:means|has to do|represents|stands|shows|says|tells|comes)"
    r"|(?:the|my|that|this) (?:\w+ ){1,3}(?:is|are|means|stands|represents))\b"
)
_CLEAR: Final = (
    # It has become clear.
    r"(?<!n't )(?<!not )(?<!never )makes? (?:so much |perfect |complete |a lot of |more |total |some )?sense\b",
    r"(?:adds up|fits together|falls into place|clicks|hits me|dawns on me|occurs to me)\b",
    r"(?:it |that )(?:just )?clicked\b(?! (?:open|shut))|just (?:hit|struck|dawned on|occurred to) me\b",
    r"(?:that|this|which|it) (?:would |might |could )?explains?\b|no wonder\b",
    r"(?:that|this|which)(?:'s| is|'d be| must be| might be| could be) (?:why|how|what|exactly|just|it)\b",
    r"(?:just |only )?now i (?:can )?(?:see|understand|know|reali[sz]e|get it)\b",
    r"i (?:can )?see (?:it |that |things |her |him |myself )?(?:\w+ly )?now\b(?! and)",
    r"i (?:see|get) (?:what you mean|the connection|the link|it)\b",
    r"i(?:'m| am)?(?: think i)?(?: finally| suddenly| just| now| only now)? reali[sz](?:e|ing)\b",
    r"i(?: think i)? (?:finally |now |do )?understand (?:now|why|it|that|what|her|him)\b",
    r"i(?:'d|'ve| have| had)? never (?:\w+ )?(?:thought (?:of|about)|looked at|connected|linked|considered)\b",
    r"i(?:'d|'ve| have| had)? never (?:saw|seen|put|made) (?:it|that|her|him|this|the|those|these|them)\b",
    r"i (?:hadn't|haven't|didn't) (?:reali[sz]ed?|noticed?|known?) how\b",
    r"(?:it|that|this|which|she|he) (?:also |really |always |kind of |sort of )?reminds? me\b",
    rf"{_MAYBE} {_NOW}|it means\b|that means\b|this means\b",
)
_BOND: Final = (
    # The dream and her life are held side by side.
    r"(?:the )?same (?:feeling|thing|way|as (?:i|when|with|my)|with my)\b",
    r"(?:that|it|this)(?:'s| is) (?:a bit |a lot |kind of |sort of )?(?:like|how) (?:i|my|me|when|with|at|it|we)\b",
    r"(?:just|exactly) (?:like|how|what|the way) (?:my|i|me|when|at|with|in)\b",
    r"which is (?:what|how|exactly|just)\b|it(?:'s| is) as (?:if|though)\b",
    r"i do (?:that|the same|this|it) (?:with|to|at|in|all|too|every)\b",
    r"in real life\b|in my (?:waking |actual |own |real )?life\b|these days\b|all along\b",
    # One thing is another.
    rf"{_IS} {_SOFTLY}(?:me\b(?! (?:who|again))|about (?:me|my|him|her|us|being|not|wanting|the)\b)",
    rf"{_IS} {_SOFTLY}my (?:own |old |younger )?\w+(?: \w+)?(?:[,.!?]|$)",
    r"it(?:'s| is) me (?:who|that)\b",
    r"(?:stands? for|represents?|symboli[sz]es?|is a (?:symbol|metaphor|picture|sign) (?:of|for))\b",
    r"(?:it|that|this|he|she) (?:feels|seems) like (?:a |an |the )?\w+ing\b",
    r"(?:it|that) (?:was|is)n't .{2,60}[,.;] ?(?:it|it's|but)(?: was|'s| is)? (?:about |the |that |because |me|my|how)",
    r"(?:isn't|aren't|don't|haven't|doesn't|hasn't|weren't) (?:it|i|he|she|they)(?: not)?[.?!]*$",
    # What she takes from it.
    r"i (?:really |just |probably |clearly )?(?:should|need to|have to|must|ought to|want to|don't (?:want|need))\b",
    r"(?:what|all) i (?:really |actually )?(?:need|want|miss|fear)\b",
    r"i(?:'ve| have) been \w+ing\b.{0,60}\b(?:lately|for years|since|too|myself|everything|instead)\b",
    r"i (?:can )?see (?:it|that|things|her|him|myself) differently\b",
)
_SUDDENLY: Final = (
    r"(?:^|[.!,] )(?:oh|ah|huh|wow|hm+|so|right|yes|exactly)[,.!]+ (?:so )?(?:the|it|that|he|she)(?: \w+)?(?:'s| is)\b"
)
_INSIGHT: Final = re.compile(rf"\b(?:{'|'.join((*_CLEAR, *_BOND))})|{_SUDDENLY}")
_IN_LONG: Final = re.compile(rf"\b(?:{'|'.join(_CLEAR)})")
_ASKING: Final = re.compile(
    r"^\W*(?:what|why|how|who|where|when|which|can|could|do|does|did|is|are|will|would|should|have you|tell me"
    r"|explain)\b[^.!?]*\?\s*$"
    r"|\bi (?:don't|do not|can't|couldn't) (?:really |quite )?(?:know|understand|see|get|remember|tell)\b"
    r"|\bno idea\b|\bi need to (?:think|go|sleep|leave|stop here)\b"
)
"""Who asks, or says that she does not know."""


def is_insight(line: str) -> bool:
    """Whether something seems to have become clear to whoever says this line after a dream was told."""
    said = line.replace("\u2019", "'").lower()  # In one case the search is many times quicker than ignoring it.
    cues = _INSIGHT if said.count(" ") < _LONG else _IN_LONG
    return bool(cues.search(said)) and not _ASKING.search(said)
