"""The people of a dream: family, loves, figures of authority, the dead, strangers, and names."""

import re
from dataclasses import dataclass

from oneiro.dreamwork.grammar import listed
from oneiro.dreamwork.lexicon import Lexicon

# Role to the words that people use for it.
_ROLES: dict[str, str] = {
    "mother": "mother,mom,mum,mummy,mommy,mama,mam,stepmother,mother in law,stepmom",
    "father": "father,dad,daddy,papa,stepfather,father in law,stepdad",
    "grandmother": "grandmother,grandma,granny,gran,nana,nan,great grandmother",
    "grandfather": "grandfather,grandpa,grandad,granddad,gramps,great grandfather",
    "sister": "sister,stepsister,half sister,twin sister",
    "brother": "brother,stepbrother,half brother,twin brother",
    "parents": "parents",
    "son": "son",
    "daughter": "daughter",
    "child": "child,kid,baby,infant,toddler,little girl,little boy",
    "aunt or uncle": "aunt,auntie,uncle",
    "cousin": "cousin,niece,nephew",
    "husband": "husband",
    "wife": "wife",
    "partner": "partner,boyfriend,girlfriend,fiance,fiancee,lover",
    "former partner": "ex,ex husband,ex wife,ex boyfriend,ex girlfriend,old boyfriend,old girlfriend",
    "friend": "friend,best friend,old friend,roommate,flatmate,neighbour,neighbor",
    "authority": "boss,manager,teacher,professor,headmaster,policeman,policewoman,police officer,judge,priest,doctor",
    "colleague": "colleague,coworker,co worker,classmate,customer,client",
    "stranger": "stranger,strange man,strange woman,unknown man,unknown woman,a man,some man,a woman,some woman,"
    "old man,old woman,someone,somebody,dark figure,figure",
    "crowd": "crowd,everyone,everybody,audience,strangers,guests,passengers",
}
_DEAD = re.compile(
    r"\b(?:dead|late|deceased|died|passed away|passed on|who is gone|funeral|buried|no longer alive)\b", re.IGNORECASE
)
_DEATH_BEFORE, _DEATH_AFTER = 16, 40
# A capital after a small word; after "in" or "to" it is rather a place.
_NAME = re.compile(r"(?<=[a-z,;] )(?<!\bin )(?<!\bto )(?<!\bat )(?<!from )(?<!near )[A-Z][a-zé]{2,14}\b")
_NO_NAMES = listed("no_names")


@dataclass(frozen=True, slots=True)
class Person:
    """Someone in the text by role ("mother", "stranger", "named"), in the dreamer's words; `dead` if said nearby."""

    role: str
    words: str
    start: int
    end: int
    dead: bool = False


_LEXICON = Lexicon((words, False, role) for role, listed in _ROLES.items() for words in listed.split(","))


def find(text: str) -> list[Person]:
    """Return the people in `text` in the order they were spoken of; nothing of them is kept here."""
    known = [
        Person(match.value, text[match.start : match.end], match.start, match.end, _dead(text, match.start, match.end))
        for match in _LEXICON.find(text)
    ]
    named = [
        Person("named", match.group(), match.start(), match.end(), _dead(text, match.start(), match.end()))
        for match in _NAME.finditer(text)
        if match.group() not in _NO_NAMES and match.group().lower() not in _COMMON
    ]
    return sorted(known + named, key=lambda person: person.start)


_COMMON = frozenset(word for listed in _ROLES.values() for word in listed.split(","))


def _dead(text: str, start: int, end: int) -> bool:
    """Tell whether death is said of this person: just before ("my late father") or in the same clause after."""
    before = text[max(0, start - _DEATH_BEFORE) : start].rpartition(".")[2]
    after = re.split(r"[.!?;]", text[end : end + _DEATH_AFTER])[0]
    return bool(re.search(r"\b(?:dead|late|deceased)\s*$", before, re.IGNORECASE) or _DEAD.search(after))
