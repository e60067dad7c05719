"""Who came, and when: dreamers who come back, most of them before they sleep and when they wake."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Final

from oneiro.analytics.history.models import Dreamer, Lead, Night, Plan
from oneiro.analytics.history.talks import KINDS

_HOURS: Final = (5, 4, 4, 5, 7, 11, 18, 22, 16, 9, 6, 4, 4, 4, 3, 3, 3, 4, 5, 6, 9, 13, 15, 10)
"""Weights of the hours of a day, UTC."""
_WEEKDAYS: Final = (10, 9, 9, 9, 10, 12, 13)
_NEW: Final = 0.08
"""Share of conversations that are a dreamer's first."""
_LATELY: Final = 20_000
"""Conversations whose dreamers come back; whoever came often lately comes again more often."""
_COUNTRIES: Final = (("US", "en"), ("US", "en"), ("US", "en"), ("GB", "en"), ("GB", "en"), ("IE", "en"))
_OTHERS: Final = (("DE", "de"), ("ES", "es"), ("IN", "en"), ("IN", "hi"))
_PLACES: Final = _COUNTRIES * 2 + _OTHERS
_CONSENTING: Final = 60
"""Of a hundred dreamers."""
_STRETCHES: Final = 12
_64: Final = (1 << 64) - 1
_KIND_OF: Final = {kind: number for number, kind in enumerate(KINDS)}
_HOUR_MS: Final = 3_600_000


class History:
    """Everything that happened, in order of time; the same for the same plan, talks and leads.

    `kinds` holds the numbers of the talks of each kind, `leads` those of each stretch of time by interpreter. Takes
    memory for who came lately, however long the history is.
    """

    def __init__(self, plan: Plan, kinds: Sequence[Sequence[int]], leads: Sequence[Sequence[Sequence[int]]]) -> None:
        self._plan, self._kinds, self._leads = plan, kinds, leads
        self._rng = Random(f"{plan.seed}:nights")  # noqa: S311 - nothing here is a secret.
        self._lately: list[int] = []
        self.dreamers = 0

    def batches(self, size: int) -> Iterator[tuple[list[Dreamer], list[Night]]]:
        """New dreamers and conversations, at most `size` of these."""
        new: list[Dreamer] = []
        nights: list[Night] = []
        for number, (ended_ms, stretch) in enumerate(self._ends()):
            dreamer = self._who(number)
            if dreamer == self.dreamers:
                self.dreamers += 1
                new.append(self._dreamer(dreamer, ended_ms))
            nights.append(self._night(number, dreamer, ended_ms, stretch))
            if len(nights) == size:
                yield new, nights
                new, nights = [], []
        if nights:
            yield new, nights

    def _ends(self) -> Iterator[tuple[int, int]]:
        """When conversations ended, and in which stretch of time that was."""
        plan, stretches = self._plan, len(self._leads)
        hours = plan.days * 24
        start = plan.until - timedelta(hours=hours)
        first = round(start.timestamp() * 1000)
        weights = [_weight(start + timedelta(hours=hour, minutes=30), hour / hours) for hour in range(hours)]
        total, passed, made = sum(weights), 0.0, 0
        for hour, weight in enumerate(weights):
            passed += weight
            due = round(plan.conversations * passed / total) if hour < hours - 1 else plan.conversations
            begin = first + hour * _HOUR_MS
            for at in sorted(int(self._rng.random() * _HOUR_MS) for _ in range(due - made)):
                yield begin + at, hour * stretches // hours
            made = due

    def _who(self, number: int) -> int:
        if not self._lately or self._rng.random() < _NEW:
            who = self.dreamers
        else:
            who = self._lately[int(self._rng.random() * len(self._lately))]
        if len(self._lately) < _LATELY:
            self._lately.append(who)
        else:
            self._lately[number % _LATELY] = who
        return who

    def _dreamer(self, number: int, came_ms: int) -> Dreamer:
        mixed = _mixed(self._plan.seed, number)
        region, language = _PLACES[mixed % len(_PLACES)]
        born = 1950 + mixed // 100 % 57
        return Dreamer(number, language, region, born, _consented(mixed), came_ms - _HOUR_MS)

    def _night(self, number: int, dreamer: int, ended_ms: int, stretch: int) -> Night:
        mixed = _mixed(self._plan.seed, dreamer)
        kind = _KIND_OF[_PLACES[mixed % len(_PLACES)][1], _consented(mixed)]
        talks = self._kinds[kind]
        interpreters = self._leads[stretch]
        # Seven times of ten she talks to whom she likes best.
        drawn = self._rng.random()
        chosen = mixed // 7919 % 1000 / 1000 if drawn < 0.7 else (drawn - 0.7) / 0.3
        # The first interpreter is liked best by every second one, the second by every fourth, and so on.
        place = min(int(chosen**1.4 * len(interpreters)), len(interpreters) - 1)
        arms = interpreters[place]
        return Night(
            number,
            dreamer,
            talks[int(self._rng.random() * len(talks))],
            arms[mixed // 104_729 % len(arms)],
            ended_ms,
        )


def order(leads: Sequence[Lead]) -> list[list[list[int]]]:
    """Which leads there were in each stretch of time, by interpreter, as indices.

    An interpreter's releases followed each other; the arms of experiments came in the last quarter, for every second
    dreamer. `leads` are sorted by interpreter, and those without an arm by their release.
    """
    names = sorted({lead.interpreter_id for lead in leads})
    found: list[list[list[int]]] = []
    for stretch in range(_STRETCHES):
        now: list[list[int]] = []
        for name in names:
            ours = [index for index, lead in enumerate(leads) if lead.interpreter_id == name]
            plain = [index for index in ours if leads[index].arm_id is None]
            arms = [index for index in ours if leads[index].arm_id is not None]
            usual = plain[stretch * len(plain) // _STRETCHES]
            tried = arms if stretch >= _STRETCHES * 3 // 4 else []
            now.append([usual] * max(len(tried), 1) + tried)
        found.append(now)
    return found


def _weight(at: datetime, passed: float) -> float:
    """How much happens in an hour: more at night and at week-ends, and twice as much at the end as at the beginning."""
    return _HOURS[at.hour] * _WEEKDAYS[at.weekday()] * (1 + passed)


def _mixed(seed: int, number: int) -> int:
    """A number's own draw, which needs no memory: SplitMix64's finaliser (Steele et al., 2014)."""
    mixed = (number + 1) * 0x9E3779B97F4A7C15 + seed & _64
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _64
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _64
    return mixed ^ mixed >> 31


def _consented(mixed: int) -> bool:
    return mixed // 1009 % 100 < _CONSENTING
