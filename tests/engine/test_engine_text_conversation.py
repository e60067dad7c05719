import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from elevenlabs import AsyncElevenLabs
from elevenlabs.conversational_ai.conversation import (
    AgentChatResponsePartType,
    ConversationInitiationData,
)
from elevenlabs.core.api_error import ApiError

DREAM = "I was in a dark house by the sea and a black horse stood in the kitchen and looked at me."


async def ended(sdk: AsyncElevenLabs, conversation_id: str) -> Any:
    """The conversation once the engine has seen its end."""
    async with asyncio.timeout(10):
        while (found := await sdk.conversational_ai.conversations.get(conversation_id)).status != "done":  # noqa: ASYNC110 - the engine is asked over HTTP.
            await asyncio.sleep(0)
    return found


@pytest.mark.parametrize("requires_auth", [True, False])
async def test_a_dream_is_told_in_writing_and_the_conversation_is_kept(
    engine_url: str,
    sdk: AsyncElevenLabs,
    create_agent: Callable[..., Awaitable[str]],
    talk_with: Callable[..., Any],
    *,
    requires_auth: bool,
) -> None:
    agent_id = await create_agent(
        engine_url,
        agent={"first_message": "Good evening, {{ user_name }}.", "prompt": {"prompt": "Context: {{dream_context}}"}},
        platform={"auth": {"enable_auth": requires_auth}},
    )
    variables = {"user_name": "Ada", "dream_context": "", "session_id": "s-1"}
    talk = talk_with(
        engine_url,
        agent_id,
        requires_auth=requires_auth,
        user_id="u-1",
        config=ConversationInitiationData(dynamic_variables=variables),
    )

    def converse() -> str:
        talk.conversation.start_session()
        assert talk.say(None) == "Good evening, Ada."
        assert talk.say(DREAM) != talk.say("The horse did not frighten me. I wanted to touch it.")
        return str(talk.finish())

    conversation_id = await asyncio.to_thread(converse)
    assert [details.reason for details in talk.ended] == ["user"]
    kept = await ended(sdk, conversation_id)
    assert [line.role for line in kept.transcript] == ["agent", "user", "agent", "user", "agent"]
    assert [line.message for line in kept.transcript if line.role == "agent"] == talk.replies
    assert kept.transcript[1].message == DREAM
    assert kept.conversation_initiation_client_data.dynamic_variables == variables
    assert kept.user_id == "u-1"
    assert kept.metadata.text_only is True
    assert kept.metadata.authorization_method == ("signed_url" if requires_auth else "public")
    assert kept.metadata.conversation_initiation_source == "python_sdk"
    assert kept.analysis.call_successful == "success"
    assert "horse" in kept.analysis.transcript_summary


async def test_a_written_reply_comes_in_parts_that_make_up_the_whole(
    engine_url: str, create_agent: Callable[..., Awaitable[str]], talk_with: Callable[..., Any]
) -> None:
    agent_id = await create_agent(engine_url, agent={"first_message": "Hello."})
    talk = talk_with(engine_url, agent_id, requires_auth=True)

    def converse() -> None:
        talk.conversation.start_session()
        talk.say(None)
        talk.parts.clear()
        talk.say(DREAM)
        talk.finish()

    await asyncio.to_thread(converse)
    texts, kinds = zip(*talk.parts, strict=True)
    assert kinds[0] == AgentChatResponsePartType.START
    assert kinds[-1] == AgentChatResponsePartType.STOP
    assert len(kinds) > 5
    assert "".join(texts).strip() == talk.replies[-1]


async def test_conversations_are_listed_by_page_and_filter_rated_and_deleted(
    engine_url: str, sdk: AsyncElevenLabs, create_agent: Callable[..., Awaitable[str]], talk_with: Callable[..., Any]
) -> None:
    agent_id = await create_agent(engine_url, agent={"first_message": "Hello."})
    conversations = sdk.conversational_ai.conversations

    def converse(user_id: str) -> str:
        talk = talk_with(engine_url, agent_id, requires_auth=True, user_id=user_id)
        talk.conversation.start_session()
        talk.say(None)
        return str(talk.finish())

    made = [await asyncio.to_thread(converse, name) for name in ("ada", "bea", "ada")]
    first = await conversations.list(agent_id=agent_id, page_size=2)
    second = await conversations.list(agent_id=agent_id, page_size=2, cursor=first.next_cursor)
    assert sorted(row.conversation_id for row in [*first.conversations, *second.conversations]) == sorted(made)
    assert (first.has_more, second.has_more) == (True, False)
    assert len((await conversations.list(user_id="ada")).conversations) == 2
    assert (await conversations.list(agent_id="another")).conversations == []
    await conversations.feedback.create(made[0], feedback="like")
    assert (await ended(sdk, made[0])).metadata.feedback.overall_score == "like"
    await conversations.delete(made[0])
    with pytest.raises(ApiError) as refusal:
        await conversations.get(made[0])
    assert refusal.value.status_code == 404


async def test_a_version_named_in_the_signed_url_is_the_one_that_speaks(
    engine_url: str,
    sdk: AsyncElevenLabs,
    create_agent: Callable[..., Awaitable[str]],
    dial: Callable[..., Awaitable[Any]],
) -> None:
    agent_id = await create_agent(engine_url, agent={"first_message": "The first."}, conversation={"text_only": True})
    old = await sdk.conversational_ai.agents.get(agent_id)
    await sdk.conversational_ai.agents.update(
        agent_id,
        conversation_config={"agent": {"first_message": "The second."}},
    )
    said = []
    for version_id in (old.version_id, None):
        url = await sdk.conversational_ai.conversations.get_signed_url(agent_id=agent_id, version_id=version_id)
        client = await dial(url.signed_url)
        await client.open()
        said.append(await client.reply())
    assert said == ["The first.", "The second."]
