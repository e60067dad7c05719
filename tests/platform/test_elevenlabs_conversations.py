"""The platform's account of conversations: listed, read and deleted by the real SDK, and read tolerantly."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from oneiro.platform.elevenlabs import ElevenLabsPlatform
from oneiro.platform.errors import PlatformLacks, PlatformUnavailable
from oneiro.platform.held import MOST_CHARACTERS, entry, read
from oneiro.platform.port import AgentSpec

Connect = Callable[..., ElevenLabsPlatform]
Serve = Callable[[Any], AbstractAsyncContextManager[str]]
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
DREAM = "I dreamt of a heron in a paper bath."


async def hold(platform: ElevenLabsPlatform, agent_id: str, *said: str) -> str:
    """Hold a written conversation; gives the platform's id of it."""
    async with websockets.connect((await platform.signed_url(agent_id)).url) as socket:

        async def until(kind: str) -> dict[str, Any]:
            async with asyncio.timeout(10):
                while (frame := json.loads(await socket.recv()))["type"] != kind:
                    pass
            return dict(frame)

        opening = {
            "type": "conversation_initiation_client_data",
            "conversation_config_override": {"conversation": {"text_only": True}},
            "dynamic_variables": {"opening": "Good evening.", "dream_context": "", "conversation_id": "ours-1"},
        }
        await socket.send(json.dumps(opening))
        metadata = await until("conversation_initiation_metadata")
        await until("agent_response")
        for line in said:
            await socket.send(json.dumps({"type": "user_message", "text": line}))
            await until("agent_response")
    return str(metadata["conversation_initiation_metadata_event"]["conversation_id"])


async def finished(platform: ElevenLabsPlatform, conversation_id: str) -> Any:
    async with asyncio.timeout(10):
        while (held := await platform.conversation(conversation_id)).state != "over":  # noqa: ASYNC110 - asked over HTTP.
            await asyncio.sleep(0.01)
    return held


async def test_a_conversation_is_read_as_it_was_held(connect: Connect, engine_url: str, spec: AgentSpec) -> None:
    platform = connect(engine_url)
    agent_id = await platform.create_agent(spec)

    held = await finished(platform, await hold(platform, agent_id, DREAM))

    assert (held.agent_id, held.our_id) == (agent_id, "ours-1")
    assert [line.sender for line in held.lines] == ["interpreter", "user", "interpreter"]
    assert [line.text for line in held.lines[:2]] == ["Good evening.", DREAM]
    assert all(line.at and abs(line.at - datetime.now(UTC)) < timedelta(minutes=1) for line in held.lines)
    assert held.summary
    assert held.seconds is not None
    assert held.termination_reason


async def test_the_list_names_what_began_after_a_time_on_all_its_pages(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    platform = connect(engine_url)
    agent_id = await platform.create_agent(spec)
    ids = [await hold(platform, agent_id) for _ in range(3)]

    page = await platform.list_conversations(LONG_AGO)

    assert {each.id for each in page.entries} == set(ids)
    assert {each.agent_id for each in page.entries} == {agent_id}
    assert page.next_cursor is None
    assert (await platform.list_conversations(datetime.now(UTC) + timedelta(hours=1))).entries == ()


async def test_a_deleted_conversation_is_lacking_and_can_be_deleted_again(
    connect: Connect, engine_url: str, spec: AgentSpec
) -> None:
    platform = connect(engine_url)
    conversation_id = await hold(platform, await platform.create_agent(spec))

    await platform.delete_conversation(conversation_id)
    await platform.delete_conversation(conversation_id)

    with pytest.raises(PlatformLacks):
        await platform.conversation(conversation_id)


class Canned:
    """An ASGI app that gives one answer after the other, and keeps the queries."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.queries: list[bytes] = []

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            return
        self.queries.append(scope["query_string"])
        body = json.dumps(self.answers.pop(0)).encode()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


async def test_the_cursor_of_the_next_page_is_passed_on(connect: Connect, serve: Serve) -> None:
    row = {"conversation_id": "conv_1", "agent_id": "agent_1", "start_time_unix_secs": 1_700_000_000, "new_field": {}}
    canned = Canned(
        {"conversations": [row, {"agent_id": "nameless"}], "has_more": True, "next_cursor": "second"},
        {"conversations": [], "has_more": False, "next_cursor": None},
    )
    async with serve(canned) as url:
        platform = connect(url)
        first = await platform.list_conversations(LONG_AGO)
        second = await platform.list_conversations(LONG_AGO, first.next_cursor)

    assert [each.id for each in first.entries] == ["conv_1"]
    assert (first.next_cursor, second.next_cursor) == ("second", None)
    assert b"sort_direction=asc" in canned.queries[0]
    assert b"call_start_after_unix=1577836800" in canned.queries[0]
    assert b"cursor=second" in canned.queries[1]


@pytest.mark.parametrize("answer", [{}, [], {"conversation_id": 7}, {"conversation_id": ""}, "text", None])
async def test_an_account_that_cannot_be_read_is_unavailable(connect: Connect, serve: Serve, answer: Any) -> None:
    async with serve(Canned(answer, answer)) as url:
        platform = connect(url)
        with pytest.raises(PlatformUnavailable):
            await platform.conversation("conv_1")
        with pytest.raises(PlatformUnavailable):
            await platform.list_conversations(LONG_AGO)


async def test_new_fields_and_missing_ones_hurt_nothing(connect: Connect, serve: Serve) -> None:
    answer = {
        "conversation_id": "conv_1",
        "status": "a_new_status",
        "transcript": [
            {"role": "user", "message": "Hello", "mood": {"new": 1}, "source_event_id": 4},
            {"role": "agent", "message": None, "tool_calls": [{}]},
            {"role": "observer", "message": "Hm"},
            {"role": "agent", "message": "Yes\u0000", "interrupted": True, "original_message": "Yes, and"},
        ],
        "analysis": {"evaluation_criteria_results": {"kind": {"result": "success", "rationale": "She said so."}}},
        "something_else": [1],
    }
    async with serve(Canned(answer)) as url:
        held = await connect(url).conversation("conv_1")

    assert held.state == "open"
    assert [(line.sender, line.text, line.event_id) for line in held.lines] == [
        ("user", "Hello", 4),
        ("interpreter", "Yes", None),
    ]
    assert (held.lines[1].interrupted, held.lines[1].original) == (True, "Yes, and")
    assert held.evaluation == {"kind": "success"}
    assert held.started_at is None


def test_times_and_numbers_out_of_all_bounds_are_left_out() -> None:
    line = {
        "role": "user",
        "message": "x" * (MOST_CHARACTERS + 5),
        "time_in_call_secs": -4,
        "created_at_unix_ms": 1e300,
    }
    metadata = {"start_time_unix_secs": sys.maxsize, "call_duration_secs": float("nan"), "cost": True}
    held = read({"conversation_id": "c", "transcript": [line, "no line"], "metadata": metadata})

    assert held is not None
    assert (held.started_at, held.seconds, held.cost) == (None, None, None)
    assert (len(held.lines[0].text), held.lines[0].seconds, held.lines[0].at) == (MOST_CHARACTERS, 0, None)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
lines = st.fixed_dictionaries(
    {},
    optional={
        name: anything | st.sampled_from(["user", "agent", 1.7e12])
        for name in ("role", "message", "time_in_call_secs", "created_at_unix_ms", "source_event_id")
    },
)


@given(
    st.fixed_dictionaries(
        {"conversation_id": st.just("c")},
        optional={
            "transcript": st.lists(lines, max_size=3) | anything,
            "metadata": st.dictionaries(st.sampled_from(["start_time_unix_secs", "error", "cost"]), anything),
            "analysis": st.dictionaries(st.sampled_from(["evaluation_criteria_results"]), anything),
            "conversation_initiation_client_data": anything,
            "status": anything,
        },
    )
)
def test_whatever_comes_is_read_without_a_fault(data: dict[str, Any]) -> None:
    held = read(data)
    assert held is not None
    assert all(line.text for line in held.lines)


@given(anything)
def test_an_entry_of_the_list_is_read_or_left_out(row: Any) -> None:
    found = entry(row)
    assert found is None or found.id
