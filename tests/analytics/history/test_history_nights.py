"""What is made up, before it is written: when people come, who they are, what they say."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import mean
from uuid import UUID, uuid4

import pytest

from oneiro.analytics.history.lines import LANGUAGES
from oneiro.analytics.history.models import FIRST, LAST, LINES, SEEDS, Dreamer, Lead, Night, Plan, identity
from oneiro.analytics.history.nights import History, order
from oneiro.analytics.history.talks import KINDS, talks

Plans = Callable[..., Plan]


def lived(plan: Plan, size: int = 1000) -> tuple[list[Dreamer], list[Night]]:
    kinds = [[number] for number in range(len(KINDS))]
    dreamers: list[Dreamer] = []
    nights: list[Night] = []
    for new, some in History(plan, kinds, [[[0], [1]]]).batches(size):
        assert len(some) <= size
        dreamers += new
        nights += some
    return dreamers, nights


def test_as_many_as_were_asked_for_in_order_of_time_and_within_the_days(plan: Plans) -> None:
    asked = plan(conversations=5000, days=30)
    _, nights = lived(asked)
    ends = [night.ended_ms for night in nights]
    assert len(nights) == 5000
    assert ends == sorted(ends)
    assert ends[0] >= (asked.until - timedelta(days=30)).timestamp() * 1000
    assert ends[-1] < asked.until.timestamp() * 1000
    assert [night.number for night in nights] == list(range(5000))


@pytest.mark.parametrize("conversations", [1, 2, 7])
def test_a_very_small_history_is_complete(plan: Plans, conversations: int) -> None:
    assert len(lived(plan(conversations=conversations, days=300))[1]) == conversations


def test_people_come_in_the_evening_and_the_morning(plan: Plans) -> None:
    _, nights = lived(plan(conversations=5000, days=30))
    hours = Counter(datetime.fromtimestamp(night.ended_ms / 1000, UTC).hour for night in nights)
    assert min(hours[7], hours[22]) > 2 * max(hours[12], hours[15])


def test_dreamers_come_back_and_some_of_them_often(plan: Plans) -> None:
    dreamers, nights = lived(plan(conversations=5000, days=30))
    visits = Counter(night.dreamer for night in nights)
    assert len(visits) == len(dreamers)
    assert 5 < mean(visits.values()) < 25
    assert visits.most_common(1)[0][1] > 50
    assert min(visits.values()) == 1


def test_a_dreamer_came_before_her_first_night_and_always_has_her_own_kind_of_talks(plan: Plans) -> None:
    dreamers, nights = lived(plan(conversations=2000))
    first: dict[int, int] = {}
    for night in nights:
        first.setdefault(night.dreamer, night.ended_ms)
    for dreamer in dreamers:
        assert dreamer.came_ms < first[dreamer.number]
    known = {dreamer.number: dreamer for dreamer in dreamers}
    for night in nights:
        dreamer = known[night.dreamer]
        assert KINDS[night.talk] == (dreamer.language, dreamer.consented)


def test_some_agree_that_their_words_are_read_and_some_speak_other_languages(plan: Plans) -> None:
    dreamers, _ = lived(plan(conversations=5000))
    agreed = mean(dreamer.consented for dreamer in dreamers)
    spoken = Counter(dreamer.language for dreamer in dreamers)
    assert 0.5 < agreed < 0.7
    assert set(spoken) == set(LANGUAGES)
    assert spoken["en"] > len(dreamers) / 2


def test_batches_of_another_size_hold_the_same(plan: Plans) -> None:
    assert lived(plan(), size=7) == lived(plan(), size=400)


def test_talks_are_as_long_as_was_asked_for_and_of_every_kind(plan: Plans) -> None:
    made = list(talks(plan(conversations=10_000, messages=6.0)))
    held = [talk for _, talk in made if talk.outline.status == "completed"]
    assert {kind for kind, _ in made} == set(range(len(KINDS)))
    assert 5.3 < mean(len(talk.outline.lines) for talk in held) < 6.7
    assert max(len(talk.outline.lines) for talk in held) < LINES
    reasons = Counter(talk.outline.end_reason for _, talk in made)
    assert set(reasons) == {"user_ended", "agent_ended", "timeout", "error", "system_shutdown", "never_connected"}
    assert 0.2 < mean(talk.outline.rating is not None for talk in held) < 0.5
    assert any(talk.outline.degraded for talk in held)
    assert any(len(talk.outline.sittings) == 2 for talk in held)


def test_no_lines_are_no_lines(plan: Plans) -> None:
    assert all(not talk.outline.lines for _, talk in talks(plan(messages=0.0)))


def test_words_are_read_only_with_consent_and_in_english(plan: Plans) -> None:
    for kind, talk in talks(plan(conversations=2000)):
        language, consented = KINDS[kind]
        if not consented or language != "en":
            assert talk.analysis.topics is None
            assert talk.analysis.counts_of_words == {}
    read = [talk for kind, talk in talks(plan(conversations=2000)) if KINDS[kind] == ("en", True)]
    assert any(talk.analysis.topics for talk in read)


def test_releases_follow_each_other_and_arms_come_at_the_end() -> None:
    releases = [uuid4() for _ in range(3)]
    leads = [
        Lead("carl", releases[0], None, None),
        Lead("carl", releases[1], None, None),
        Lead("carl", releases[1], uuid4(), None),
        Lead("lakshmi", releases[2], None, None),
    ]
    found = order(leads)
    assert [stretch[0] for stretch in found] == [[0]] * 6 + [[1]] * 3 + [[1, 2]] * 3
    assert all(stretch[1] == [3] for stretch in found)


@pytest.mark.parametrize("seed", [0, 1, 0xABCDEF, SEEDS - 1])
def test_an_id_is_a_uuid_of_version_8_that_tells_seed_and_number(seed: int) -> None:
    found = {identity(seed, number) for number in (0, 1, (1 << 48) - 1)}
    assert len(found) == 3
    assert all(made.version == 8 and str(made.variant).startswith("specified in RFC") for made in found)
    assert all(FIRST <= made <= LAST for made in found)
    assert all(identity(other, 0) not in found for other in (2, 0xABCDEE))
    assert isinstance(min(found), UUID)
