import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from oneiro.dreamwork.profile import Profile
from oneiro.engine.app import LlmEndpoint

Dial = Callable[..., Awaitable[Any]]
Create = Callable[..., Awaitable[str]]
CARL = Profile(name="Carl", full_name="Dr. Carl Gustav Jung", approach="jungian", max_turn_length=60)
LAKSHMI = Profile(name="Lakshmi", full_name="Lakshmi", approach="spiritual", max_turn_length=60)
TERSE = Profile(name="Carl", full_name="Dr. Carl Gustav Jung", approach="jungian", max_turn_length=20)
DREAM = "I stood on a bridge and below it the river ran backwards."


async def answer(url: str, create_agent: Create, dial: Dial, profile: Profile, words: str) -> str:
    prompt = f"You speak about dreams.\n\n{profile.block()}"
    agent_id = await create_agent(url, agent={"prompt": {"prompt": prompt}}, conversation={"text_only": True})
    client = await dial(url, agent_id)
    await client.open(dynamic_variables={"dream_context": ""})
    await client.send(type="user_message", text=words)
    return str(await client.reply())


async def test_the_block_in_the_prompt_decides_how_long_the_answer_is(
    engine_url: str, create_agent: Create, dial: Dial
) -> None:
    replies = [await answer(engine_url, create_agent, dial, profile, DREAM) for profile in (CARL, LAKSHMI, TERSE)]
    assert [len(reply.split()) <= 20 for reply in replies] == [False, False, True]
    assert all(len(reply.split()) <= 60 for reply in replies)


async def test_no_log_line_holds_what_was_said(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(text: str) -> str | None:
        raise ValueError(f"cannot judge: {text}")

    with caplog.at_level(logging.DEBUG, logger="oneiro"):
        url = await start(llm=LlmEndpoint("http://127.0.0.1:9", "a-model"))
        assert await answer(url, create_agent, dial, CARL, DREAM)
        url = await start(guardrail=broken)
        agent_id = await create_agent(url, conversation={"text_only": True})
        client = await dial(url, agent_id)
        await client.open()
        await client.send(type="user_message", text=DREAM)
        assert await client.closed() == (1011, "Internal error")
    ours = [record for record in caplog.records if record.name.startswith("oneiro")]
    assert {record.getMessage() for record in ours} >= {"engine.llm_failed", "engine.session_failed"}
    assert not any("river" in str(vars(record)) for record in ours)
