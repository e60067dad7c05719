"""The numbers of one conversation, from its rows alone."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneiro.analytics.conversations.models import Analysis, Facts, Line, Session
from oneiro.analytics.conversations.service import analyse, engagement
from oneiro.conversations.models import Sender

START = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)


def facts(**changes: Any) -> Facts:
    known: dict[str, Any] = {
        "conversation_id": uuid4(),
        "user_id": uuid4(),
        "interpreter_id": "carl",
        "release_id": uuid4(),
        "arm_id": None,
        "status": "completed",
        "transport": "direct",
        "language": "en",
        "started_at": START,
        "ended_at": START + timedelta(seconds=90, milliseconds=900),
        "end_reason": "user_ended",
        "rating": None,
        "upstream_calls": 1,
        "degraded": False,
        "agent_known": True,
        "consented": True,
        "start_ms": 40,
    }
    return Facts(**{**known, **changes})


def line(sender: Sender, content: str, second: float, **more: Any) -> Line:
    session = more.pop("session", 1)
    return Line(sender, content, START + timedelta(seconds=second), session, more, corrected=False)


def session(**changes: Any) -> Session:
    known: dict[str, Any] = {
        "session": 1,
        "began_at": START,
        "connected_at": START + timedelta(milliseconds=250),
        "ended_at": START + timedelta(seconds=60, milliseconds=250),
        "connection_count": 1,
        "close_code": 1000,
        "degraded": False,
        "errors": [],
        "platform": {},
    }
    return Session(**{**known, **changes})


TALK = [
    line("interpreter", "What did you dream?", 0),
    line("user", "I dreamed of my mother at the lake, and I was terribly afraid.", 10),
    line("interpreter", "What was the lake like?", 12),
    line("user", "Dark. I think it is about how much I miss her. That makes sense now.", 30),
    line("interpreter", "It does.", 31),
    line("user", "Thank you, that was lovely.", 60),
]


def analysed(lines: list[Line], *sessions: Session, **changes: Any) -> Analysis:
    return analyse(facts(**changes), lines, list(sessions))


def test_durations_counts_and_lengths() -> None:
    found = analysed(TALK, session())
    assert found.duration_seconds == 90
    assert found.message_count == 6
    messages = found.snapshot["messages"]
    assert (messages["user"], messages["interpreter"]) == (3, 3)
    assert messages["average_length"] == round(sum(len(one.content) for one in TALK) / 6, 1)
    assert found.snapshot["connected_seconds"] == 60.0


def test_responses_are_timed_by_the_messages_where_nobody_saw_them() -> None:
    assert analysed(TALK).response_time == {"p50": 1000, "p95": 2000, "clock": "message_times"}


def test_responses_are_timed_by_the_relay_where_it_saw_them() -> None:
    measured = [
        line("user", "A river.", 0),
        line("interpreter", "Yes?", 9, latency={"ms": 480, "clock": "relay_monotonic"}),
        line("user", "It was wide.", 20),
        line("interpreter", "How wide?", 29, latency={"ms": 700, "clock": "relay_monotonic"}),
    ]
    assert analysed(measured, transport="relay").response_time == {"p50": 480, "p95": 700, "clock": "relay_monotonic"}
    # Where a client reports the lines, its metadata is only its word.
    assert analysed(measured).response_time["clock"] == "message_times"


@pytest.mark.parametrize("latency", ["fast", {"ms": -1, "clock": "x"}, {"ms": True, "clock": "x"}, {"ms": 3}, None])
def test_a_measurement_that_is_none_is_not_believed(latency: Any) -> None:
    lines = [line("user", "A river.", 0), line("interpreter", "Yes?", 2, latency=latency)]
    assert analysed(lines, transport="relay").response_time["clock"] == "line_times"


def test_each_clock_is_counted_by_itself() -> None:
    timed = [
        line("user", "A river.", 0),
        line("interpreter", "Yes?", 9, latency={"ms": 480, "clock": "relay_monotonic"}),
    ]
    untimed = [line("user", "A river.", 0), line("interpreter", "Yes?", 2)]
    assert analysed(timed, transport="relay").counts["response_ms:relay_monotonic"] == 480
    assert analysed(untimed, transport="relay").counts["response_ms:line_times"] == 2000
    assert analysed(untimed).counts["response_ms:message_times"] == 2000
    assert "response_ms:line_times" not in analysed(timed, transport="relay").counts


def test_a_reply_that_was_withheld_is_no_answer() -> None:
    latency = {"ms": 480, "clock": "relay_monotonic"}
    lines = [line("user", "A river.", 0), line("interpreter", "So?", 2, latency=latency, withheld=True)]
    found = analysed(lines, transport="relay")
    assert (found.message_count, found.response_time["clock"]) == (1, None)
    assert (found.snapshot["messages"]["interpreter"], found.snapshot["messages"]["withheld"]) == (0, 1)
    assert analysed(lines).message_count == 2  # A client's word for it is not believed.


@pytest.mark.parametrize("text", ["我梦见了一条很长的河河水漆黑我很害怕母亲在对岸", "ฉันฝันถึงแม่น้ำ", "夢を見ました"])
def test_words_that_no_space_parts_are_not_counted(text: str) -> None:
    shares = analysed([line("user", text, 0), line("interpreter", "Hmm.", 1)]).snapshot["turn_taking"]
    assert (shares["user_share"], shares["balance"]) == (None, None)
    assert shares["turns"] == {"user": 1, "interpreter": 1}


def test_an_interruption_that_only_a_client_tells_of_is_not_known() -> None:
    told = [line("user", "A river.", 0), line("interpreter", "Yes?", 1, interrupted=True)]
    assert analysed(told).snapshot["turn_taking"]["interruptions"] is None
    assert analysed(told, transport="relay").snapshot["turn_taking"]["interruptions"] == 1
    platform = [*told, line("interpreter", "And?", 3, interrupted=True, source="platform")]
    assert analysed(platform).snapshot["turn_taking"]["interruptions"] == 1


@pytest.mark.parametrize(("known", "counted"), [(True, (1, 1)), (False, (0, 1)), (None, (None, None))])
def test_whether_the_agent_was_known_does_not_follow_from_later_calls(
    known: bool | None,  # noqa: FBT001 - a case.
    counted: tuple[int | None, int | None],
) -> None:
    counts = analysed(TALK, agent_known=known, upstream_calls=2).counts
    assert (counts.get("agent_known"), counts.get("agent_known_n")) == counted


def test_a_cost_that_nobody_told_is_none() -> None:
    assert not {"cost", "cost_n"} & analysed(TALK, session()).counts.keys()
    counts = analysed(TALK, session(platform={"cost": 0})).counts
    assert (counts["cost"], counts["cost_n"]) == (0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "I think the door was blue.",
        "I suppose it was my house.",
        "It doesn't make sense.",
        "Maybe it was a dog.",
        "I suddenly realised that I was naked.",
    ],
)
def test_telling_is_no_insight(text: str) -> None:
    lines = [*TALK[:3], line("user", text, 30)]
    assert analysed(lines).snapshot["words"]["progression"]["reached"] == "exploration"


def test_an_answer_across_two_sessions_is_no_answer_time() -> None:
    lines = [line("user", "A river.", 0), line("interpreter", "Welcome back.", 4000, session=2)]
    found = analysed(lines)
    assert found.response_time == {"p50": None, "p95": None, "clock": None}
    assert found.snapshot["turn_taking"]["longest_silence_ms"] is None


@pytest.mark.parametrize(
    ("said", "answers", "score"),
    [(0, 5, None), (1, 0, 1.4), (3, 3, 3.5), (10, 10, 3.9), (10, 20, 5.0), (1, 2, 3.8), (500, 5000, 5.0)],
)
def test_engagement_is_the_guides_formula_from_one_to_five(said: int, answers: int, score: float | None) -> None:
    assert engagement(said=said, answers=answers) == score


@given(st.integers(min_value=1, max_value=300), st.integers(min_value=0, max_value=900))
def test_engagement_stays_between_one_and_five(said: int, answers: int) -> None:
    score = engagement(said=said, answers=answers)
    assert score is not None
    assert 1 <= score <= 5


def test_technical_numbers_add_up_over_sessions() -> None:
    broken = session(close_code=1006, errors=["upstream_closed"], platform={"seconds": 60, "cost": 120})
    again = session(session=2, connection_count=2, errors=["slow"], platform={"seconds": 30, "cost": 60.5})
    technical = analysed(TALK, broken, again).snapshot["technical"]
    assert technical == {
        "sessions": 2,
        "connects": 3,
        "reconnects": 2,
        "broken_off": 1,
        "errors": 2,
        "error_codes": {"upstream_closed": 1, "slow": 1},
        "degraded": False,
        "start_ms": 40,
        "connect_ms": 250,
        "platform_calls": 1,
        "platform_seconds": 90,
        "cost": 180.5,
    }


def test_turns_shares_and_interruptions() -> None:
    lines = [
        line("interpreter", "one two", 0),
        line("user", "one two three", 5),
        line("user", "four", 6),
        line("interpreter", "one", 66, interrupted=True),
    ]
    assert analysed(lines, transport="relay").snapshot["turn_taking"] == {
        "turns": {"user": 1, "interpreter": 2},
        "user_share": round(4 / 7, 4),
        "balance": 0.75,
        "interruptions": 1,
        "longest_silence_ms": 60_000,
    }


def test_a_talk_moves_from_its_opening_to_its_closing() -> None:
    lines = [line("user", "Hello, can you hear me?", 0), *TALK[1:]]
    progression = analysed(lines).snapshot["words"]["progression"]
    assert progression["reached"] == "closing"
    assert progression["lines"] == {"opening": 1, "exploration": 1, "insight": 1, "closing": 1}
    assert progression["sentiment"]["end"] > progression["sentiment"]["begin"]


def test_who_goes_on_after_thanks_has_not_closed() -> None:
    lines = [*TALK, line("user", "And then there was a dog at the lake, all wet.", 70)]
    assert analysed(lines).snapshot["words"]["progression"]["reached"] == "insight"


def test_themes_are_hers_and_not_the_interpreters() -> None:
    found = analysed([line("interpreter", "Your father's death?", 0), line("user", "No, it was my school.", 3)])
    assert found.topics == ["childhood"]


def test_the_mood_is_that_of_her_lines() -> None:
    found = analysed([line("interpreter", "Horrible, terrible!", 0), line("user", "I was so happy and safe.", 3)])
    assert found.sentiment is not None
    assert found.sentiment["overall"] == "positive"
    assert found.sentiment["agreement"] is None  # One line agrees with itself.
    assert found.sentiment["lines"] == {"positive": 1, "neutral": 0, "negative": 0}


def test_moods_agree_as_far_as_charged_lines_are_of_one_kind() -> None:
    lines = [line("user", text, n) for n, text in enumerate(["I was so happy.", "I felt safe.", "It was horrible."])]
    found = analysed(lines).sentiment
    assert found is not None
    assert found["agreement"] == 0.3333


@pytest.mark.parametrize(
    ("reason", "completion"),
    [
        ("agent_ended", "natural_end"),
        ("user_ended", "user_ended"),
        ("timeout", "timeout"),
        ("error", "error"),
        ("system_shutdown", "error"),
    ],
)
def test_completion_follows_from_the_end_reason(reason: str, completion: str) -> None:
    found = analysed(TALK, end_reason=reason)
    assert found.completion_reason == completion
    assert found.counts[f"end:{completion}"] == 1


def test_without_messages_there_are_nulls() -> None:
    found = analysed([])
    assert (found.message_count, found.engagement, found.topics, found.sentiment) == (0, None, None, None)
    assert found.response_time == {"p50": None, "p95": None, "clock": None}
    assert found.snapshot["messages"]["average_length"] is None
    assert found.snapshot["turn_taking"]["balance"] is None
    assert found.counts_of_words == {}


def test_with_the_interpreter_alone_speaking_nothing_is_said_of_her() -> None:
    found = analysed([line("interpreter", "Hello?", 0), line("interpreter", "Are you there?", 30)])
    assert (found.engagement, found.topics, found.sentiment) == (None, None, None)
    assert found.snapshot["turn_taking"]["user_share"] == 0
    assert found.snapshot["turn_taking"]["balance"] == 0


@pytest.mark.parametrize(
    "text",
    [
        "我梦见了一条很长的河",
        "كنت في بيت قديم",
        "…",
        "ich war nicht in dem Haus und ich habe das nicht gewusst",
    ],
)
def test_a_script_or_language_that_no_lexicon_covers_gets_no_score(text: str) -> None:
    found = analysed([line("user", text, 0), line("interpreter", "Yes.", 1)])
    assert (found.topics, found.sentiment) == (None, None)
    assert "words" not in found.snapshot
    assert found.engagement is not None


def test_a_conversation_in_another_language_gets_none_either() -> None:
    assert analysed(TALK, language="de").sentiment is None


def test_without_consent_nothing_is_read_from_her_words() -> None:
    found = analysed(TALK, session(), consented=False)
    assert (found.topics, found.sentiment, found.counts_of_words) == (None, None, {})
    assert "words" not in found.snapshot
    assert found.counts["conversations"] == 1


def test_one_that_never_began_counts_as_what_it_was() -> None:
    unopened = analysed([], status="failed", end_reason="never_connected", started_at=None)
    assert (unopened.counts, unopened.completion_reason, unopened.duration_seconds) == (
        {"never_connected": 1},
        None,
        None,
    )
    assert analysed([], status="failed", end_reason="error", started_at=None).counts == {"failed": 1}


def test_a_clock_that_was_set_back_gives_no_negative_numbers() -> None:
    lines = [line("user", "A river.", 10), line("interpreter", "Yes?", 5)]
    found = analysed(lines, ended_at=START - timedelta(seconds=5))
    assert found.duration_seconds == 0
    assert found.response_time["clock"] is None


LINES = st.lists(
    st.builds(
        Line,
        sender=st.sampled_from(["user", "interpreter"]),
        content=st.text(max_size=80),
        occurred_at=st.datetimes(timezones=st.just(UTC)),
        session=st.integers(1, 3),
        metadata=st.dictionaries(
            st.sampled_from(["latency", "interrupted", "withheld", "source"]),
            st.none() | st.integers() | st.text(max_size=4),
        ),
        corrected=st.booleans(),
    ),
    max_size=12,
)


@given(LINES, st.sampled_from(["relay", "direct", None]))
def test_no_conversation_makes_it_fail(lines: list[Line], transport: str | None) -> None:
    found = analysed(lines, session(), transport=transport)
    assert found.message_count == len(lines)
    if found.sentiment is not None:
        assert -1 <= found.sentiment["score"] <= 1
