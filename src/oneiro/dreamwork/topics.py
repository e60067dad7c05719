"""The themes a text is about: one taxonomy for replies, summaries and analytics."""

from collections import Counter
from dataclasses import dataclass

from oneiro.dreamwork import symbols
from oneiro.dreamwork.lexicon import Lexicon

# Theme to words that speak of it beside the symbols. Words with * are verbs and inflect as such.
_TOPICS: dict[str, str] = {
    "emotions": "feeling,emotion,mood,heart,tears,feel*,cry*,weep*,upset,sad,angry,happy,afraid",
    "shadow": "shadow,dark side,darkness,monster,evil,demon,enemy,intruder,hidden side",
    "self": "myself,who i am,true self,inner self,soul,wholeness,inner child,self",
    "change": "change*,transform*,turned into,became,new chapter,move on,moving on,transition,grow*,different now",
    "loss": "lose*,loss,grief,mourn*,miss him,miss her,gone forever,goodbye,breakup,break up,divorce,left me",
    "love": "love*,in love,kiss*,marriage,wedding,lover,romance,boyfriend,girlfriend,husband,wife,partner",
    "family": "family,mother,mom,mum,father,dad,parents,sister,brother,grandmother,grandfather,son,daughter,cousin,"
    "aunt,uncle,grandma,grandpa,gran",
    "childhood": "childhood,when i was little,when i was a child,as a child,when i was young,school,my old room,kid",
    "fear": "fear,afraid,scared,terrified,frightened,panic,nightmare,dread,anxiety,anxious,chase*,hide*",
    "power": "power,control,boss,king,queen,authority,weapon,strong,powerless,helpless,command*",
    "freedom": "free,freedom,escape*,fly*,let go,released,break free,trapped,prison,cage",
    "work": "work*,job,office,boss,career,colleague,deadline,meeting,exam,project,interview,fired",
    "body": "body,teeth,tooth,blood,hair,skin,hand,face,naked,sick,pain,pregnant,breathe*",
    "death": "death,die*,dead,kill*,funeral,grave,coffin,corpse,cemetery,murder*,bury*,passed away",
    "birth": "birth,born,baby,pregnant,newborn,egg,seed",
    "spirit": "spirit,spiritual,god,goddess,soul,prayer,pray*,angel,divine,sacred,temple,church,karma,past life,"
    "universe,meditation,heaven,destiny,faith,higher self,chakra,ancestor",
    "journey": "journey,travel*,road,path,train,bus,ship,airport,map,lost my way,destination,luggage,suitcase,trip",
    "home": "home,house,room,door,kitchen,cellar,attic,apartment,flat,bedroom,basement,roof",
    "creativity": "paint*,sing*,song,music,write*,poem,dance*,art,artist,create*,story,instrument",
    "time": "time,clock,late,past,future,years ago,memory,remember*,old days,hour,ageing,aging",
    "identity": "mirror,mask,my face,name,stranger,disguise,role,naked,costume,who am i,belong*,identity",
    "conflict": "fight*,argue*,war,battle,attack*,enemy,quarrel*,argument,shout*,scream*,betray*",
    "guidance": "guide,advice,teacher,wise,old man,old woman,show me,told me,message,sign,lead the way,help me,voice",
}
TOPICS = tuple(_TOPICS)


@dataclass(frozen=True, slots=True)
class Mention:
    """A theme met in a text, with the words that speak of it."""

    topic: str
    words: str
    start: int
    end: int


def _entries() -> list[tuple[str, bool, tuple[str, ...]]]:
    """Gather the themes of each word, since "naked" speaks of the body and of identity."""
    gathered: dict[str, list[str]] = {}
    for topic, listed in _TOPICS.items():
        for word in listed.split(","):
            gathered.setdefault(word, []).append(topic)
    return [(word.rstrip("*"), word.endswith("*"), tuple(topics)) for word, topics in gathered.items()]


_LEXICON = Lexicon(_entries())


def find(text: str) -> list[Mention]:
    """Return every theme named in `text`, in order; the words of a symbol bring the symbol's themes."""
    own = [
        Mention(topic, text[match.start : match.end], match.start, match.end)
        for match in _LEXICON.find(text)
        for topic in match.value
    ]
    seen = {(mention.topic, mention.start) for mention in own}
    pictured = [
        Mention(topic, sighting.words, sighting.start, sighting.end)
        for sighting in symbols.find(text)
        for topic in sighting.symbol.topics
        if (topic, sighting.start) not in seen
    ]
    return sorted(own + pictured, key=lambda mention: (mention.start, mention.topic))


def named(text: str) -> dict[str, int]:
    """Count the themes that `text` names by their own words, the most frequent first.

    A symbol may speak of many themes; what somebody talks about is told better by the words alone.
    """
    counted = Counter(topic for match in _LEXICON.find(text) for topic in match.value)
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def tally(text: str) -> dict[str, int]:
    """Count the mentions of each theme in `text`, the most frequent first."""
    counted = Counter(mention.topic for mention in find(text))
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))
