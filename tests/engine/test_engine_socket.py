"""The traps of the wire protocol, met with a bare socket."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from elevenlabs import AsyncElevenLabs
from websockets.exceptions import InvalidStatus

Dial = Callable[..., Awaitable[Any]]
Create = Callable[..., Awaitable[str]]
TEXT = {"text_only": True}


async def test_metadata_is_the_first_frame_and_names_the_formats(
    engine_url: str, create_agent: Create, dial: Dial
) -> None:
    agent_id = await create_agent(engine_url, tts={"agent_output_audio_format": "ulaw_8000"})
    first = await (await dial(engine_url, agent_id)).next()
    assert first["type"] == "conversation_initiation_metadata"
    event = first["conversation_initiation_metadata_event"]
    assert event["conversation_id"].startswith("conv_")
    assert event["agent_output_audio_format"] == "ulaw_8000"
    assert event["user_input_audio_format"] == "pcm_16000"


@pytest.mark.parametrize(("asked", "echoed"), [(["convai"], "convai"), (None, None), (["other"], None)])
async def test_the_subprotocol_is_echoed_only_when_asked_for(
    engine_url: str, create_agent: Create, dial: Dial, asked: list[str] | None, echoed: str | None
) -> None:
    agent_id = await create_agent(engine_url)
    client = await dial(engine_url, agent_id, subprotocols=asked)
    assert client.socket.subprotocol == echoed


async def test_a_signed_url_opens_one_conversation_once(
    engine_url: str, sdk: AsyncElevenLabs, create_agent: Create, dial: Dial
) -> None:
    agent_id = await create_agent(engine_url, platform={"auth": {"enable_auth": True}})
    assert (await (await dial(engine_url, agent_id)).closed())[0] == 1008
    signed = await sdk.conversational_ai.conversations.get_signed_url(agent_id=agent_id, include_conversation_id=True)
    client = await dial(signed.signed_url)
    conversation_id = (await client.next())["conversation_initiation_metadata_event"]["conversation_id"]
    assert conversation_id in signed.signed_url
    again = await dial(signed.signed_url)
    code, reason = await again.closed()
    assert code == 1008
    assert "signature" in reason
    assert again.frames == []


async def test_a_signed_url_is_too_old_after_a_quarter_of_an_hour(
    start: Callable[..., Awaitable[str]],
    sdk_for: Callable[..., AsyncElevenLabs],
    create_agent: Create,
    dial: Dial,
) -> None:
    now = [1_800_000_000.0]
    url = await start(clock=lambda: now[0])
    agent_id = await create_agent(url)
    conversations = sdk_for(url).conversational_ai.conversations
    early, late = [(await conversations.get_signed_url(agent_id=agent_id)).signed_url for _ in range(2)]
    now[0] += 899
    assert (await (await dial(early)).next())["type"] == "conversation_initiation_metadata"
    now[0] += 1
    assert (await (await dial(late)).closed())[0] == 1008


async def test_the_deprecated_path_of_signed_urls_works(engine_url: str, create_agent: Create, dial: Dial) -> None:
    agent_id = await create_agent(engine_url)
    async with httpx.AsyncClient(headers={"xi-api-key": "k"}, timeout=30) as http:
        answer = await http.get(f"{engine_url}/v1/convai/conversation/get_signed_url", params={"agent_id": agent_id})
    assert (await (await dial(answer.json()["signed_url"])).next())["type"] == "conversation_initiation_metadata"


async def test_an_unknown_agent_is_closed_with_a_reason(engine_url: str, dial: Dial) -> None:
    code, reason = await (await dial(engine_url, "agent_unknown")).closed()
    assert code == 1008
    assert "does not exist" in reason


async def test_a_socket_at_another_path_is_no_conversation(engine_url: str, dial: Dial) -> None:
    with pytest.raises(InvalidStatus):
        await dial(f"{engine_url}/v1/elsewhere")


@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        (
            {"first_message": "Hello {{ user_name }}."},
            "Missing required dynamic variables in first message: {'user_name'}",
        ),
        (
            {"prompt": {"prompt": "{{b}} {{a}} {{given}} {{secret__token}}"}},
            "Missing required dynamic variables in prompt: {'a', 'b', 'secret__token'}",
        ),
    ],
)
async def test_a_missing_variable_ends_the_conversation_with_its_name(
    engine_url: str, create_agent: Create, dial: Dial, agent: dict[str, Any], reason: str
) -> None:
    client = await dial(engine_url, await create_agent(engine_url, agent=agent))
    await client.open(dynamic_variables={"given": 1, "secret__token": "x"})
    assert await client.closed() == (1008, reason)
    error = client.frames[-1]["error_event"]
    assert error["error_type"] == "missing_dynamic_variable"
    assert error["code"] == 1008
    assert client.kinds()[0] == "conversation_initiation_metadata"


async def test_variables_are_filled_in_once_and_system_variables_are_the_platforms_own(
    engine_url: str, create_agent: Create, dial: Dial
) -> None:
    agent_id = await create_agent(
        engine_url,
        agent={"first_message": "{{name}} {{  number }} {{system__agent_id}} {{yes}}"},
        conversation=TEXT,
    )
    client = await dial(engine_url, agent_id)
    await client.open(dynamic_variables={"name": "{{number}}", "number": 7, "yes": True, "system__agent_id": "forged"})
    assert await client.reply() == f"{{{{number}}}} 7 {agent_id} True"


async def test_a_forbidden_override_is_refused_by_name(engine_url: str, create_agent: Create, dial: Dial) -> None:
    client = await dial(engine_url, await create_agent(engine_url, agent={"first_message": "Hello."}))
    await client.open(conversation_config_override={"tts": {"voice_id": "another"}})
    assert await client.closed() == (1008, "Override for field 'voice_id' is not allowed by config.")
    assert client.frames[-1]["error_event"]["error_type"] == "override_error"


async def test_empty_overrides_are_none_and_allowed_ones_hold(
    engine_url: str, create_agent: Create, dial: Dial
) -> None:
    allowed = {"overrides": {"conversation_config_override": {"agent": {"first_message": True}}}}
    agent_id = await create_agent(engine_url, agent={"first_message": "Hello."}, conversation=TEXT, platform=allowed)
    for override, said in (
        ({"agent": {"prompt": {}}, "tts": {}, "conversation": {}}, "Hello."),
        ({"agent": {"first_message": "Welcome.", "language": None}}, "Welcome."),
    ):
        client = await dial(engine_url, agent_id)
        await client.open(conversation_config_override=override)
        assert await client.reply() == said


@pytest.mark.parametrize("override", [{"text_only": True}, {"conversation": {"text_only": True}}])
async def test_text_only_is_read_in_both_places(
    engine_url: str, create_agent: Create, dial: Dial, override: dict[str, Any]
) -> None:
    client = await dial(engine_url, await create_agent(engine_url, agent={"first_message": "Hello."}))
    await client.open(conversation_config_override=override)
    await client.reply()
    assert "agent_chat_response_part" in client.kinds()
    assert "audio" not in client.kinds()


async def test_text_only_is_refused_in_both_places_where_it_is_closed(
    engine_url: str, create_agent: Create, dial: Dial
) -> None:
    closed = {"overrides": {"conversation_config_override": {"conversation": {"text_only": False}}}}
    agent_id = await create_agent(engine_url, platform=closed)
    for override in ({"text_only": True}, {"conversation": {"text_only": True}}):
        client = await dial(engine_url, agent_id)
        await client.open(conversation_config_override=override)
        assert await client.closed() == (1008, "Override for field 'text_only' is not allowed by config.")


async def test_without_the_clients_data_the_conversation_starts_after_a_while(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    url = await start(client_data_timeout=0.05)
    client = await dial(url, await create_agent(url, agent={"first_message": "Hello."}, conversation=TEXT))
    assert await client.reply() == "Hello."


async def test_a_message_in_place_of_the_clients_data_is_answered(
    engine_url: str, create_agent: Create, dial: Dial
) -> None:
    client = await dial(engine_url, await create_agent(engine_url, conversation=TEXT))
    await client.send(type="user_message", text="I dreamt of a bridge.")
    assert "bridge" in await client.reply()


@pytest.mark.parametrize(
    "frame",
    [
        "no json",
        "[]",
        '{"type":"unheard_of"}',
        '{"type":"user_message","text":""}',
        '{"type":"user_message"}',
        json.dumps({"type": "user_message", "text": "a" * 16_385}),
        '{"type":"conversation_initiation_client_data"}',
        '{"user_audio_chunk":"%%%"}',
        '{"type":"user_message","text":"\\ud800 a bridge"}',
        '{"type":"contextual_update","text":"x","more":NaN}',
        b"\x00\x01",
        "[" * 100_000,
    ],
)
async def test_a_frame_that_nobody_understands_is_named_and_the_conversation_goes_on(
    engine_url: str, create_agent: Create, dial: Dial, frame: str | bytes
) -> None:
    agent_id = await create_agent(engine_url, agent={"first_message": "Hello."}, conversation=TEXT)
    client = await dial(engine_url, agent_id)
    await client.open()
    await client.reply()
    await client.socket.send(frame)
    error = (await client.until("error"))["error_event"]
    assert error["error_type"] == "invalid_message"
    await client.send(type="user_message", text="I dreamt of a bridge.")
    assert "bridge" in await client.reply()


async def test_only_the_agents_client_events_are_sent(engine_url: str, create_agent: Create, dial: Dial) -> None:
    agent_id = await create_agent(
        engine_url,
        agent={"first_message": "Hello."},
        conversation={**TEXT, "client_events": ["agent_response"]},
    )
    client = await dial(engine_url, agent_id)
    await client.open()
    await client.reply()
    assert set(client.kinds()) <= {"conversation_initiation_metadata", "ping", "agent_response"}


async def test_event_ids_grow_and_messages_are_answered_in_their_order(
    engine_url: str, create_agent: Create, dial: Dial
) -> None:
    agent_id = await create_agent(engine_url, agent={"first_message": "Hello."}, conversation=TEXT)
    client = await dial(engine_url, agent_id)
    await client.open()
    for text in ("I saw a bridge.", "Then a wolf.", "At last a mirror."):
        await client.send(type="user_message", text=text)
    replies = [await client.reply() for _ in range(4)]
    assert "bridge" in replies[1]
    ids = [frame["agent_response_event"]["event_id"] for frame in client.frames if frame["type"] == "agent_response"]
    assert ids == sorted(set(ids))
    assert len(ids) == 4


async def test_more_messages_than_may_wait_are_refused_and_not_lost_silently(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    url = await start(speed=0.01)
    client = await dial(url, await create_agent(url, conversation=TEXT))
    await client.open()
    for _ in range(18):
        await client.send(type="user_message", text="I dreamt of a bridge.")
    error = (await client.until("error"))["error_event"]
    assert "too many" in error["message"]


async def test_pings_always_carry_their_delay_and_measure_it(engine_url: str, create_agent: Create, dial: Dial) -> None:
    client = await dial(engine_url, await create_agent(engine_url))
    await client.open()
    first = (await client.until("ping"))["ping_event"]
    assert first["ping_ms"] is None
    await client.send(type="pong", event_id=first["event_id"])
    second = (await client.until("ping"))["ping_event"]
    assert second["event_id"] > first["event_id"]
    assert isinstance(second["ping_ms"], int)


async def test_silence_ends_the_call_normally(engine_url: str, create_agent: Create, dial: Dial) -> None:
    agent_id = await create_agent(
        engine_url, agent={"first_message": "Hello."}, conversation=TEXT, turn={"silence_end_call_timeout": 0.1}
    )
    client = await dial(engine_url, agent_id)
    await client.open()
    code, _ = await client.closed()
    assert code == 1000
    assert "agent_response" in client.kinds()


async def test_the_longest_duration_ends_with_words_an_error_and_a_close(
    engine_url: str, sdk: AsyncElevenLabs, create_agent: Create, dial: Dial
) -> None:
    agent_id = await create_agent(
        engine_url,
        agent={"max_conversation_duration_message": "Our time is over for tonight."},
        conversation={**TEXT, "max_duration_seconds": 1},
    )
    client = await dial(engine_url, agent_id)
    await client.open()
    assert await client.closed() == (1011, "Conversation has exceeded maximum duration")
    assert client.kinds()[-2:] == ["agent_response", "error"]
    assert client.frames[-1]["error_event"]["error_type"] == "max_duration_exceeded"
    conversation_id = client.frames[0]["conversation_initiation_metadata_event"]["conversation_id"]
    kept = await sdk.conversational_ai.conversations.get(conversation_id)
    assert kept.metadata.error is not None
    assert kept.metadata.error.code == 1011


async def test_a_guardrail_speaks_in_place_of_the_agent(
    start: Callable[..., Awaitable[str]], sdk_for: Callable[..., AsyncElevenLabs], create_agent: Create, dial: Dial
) -> None:
    url = await start(guardrail=lambda text: "Please call somebody now." if "edge" in text else None)
    events = ["agent_response", "guardrail_triggered"]
    client = await dial(url, await create_agent(url, conversation={**TEXT, "client_events": events}))
    await client.open()
    await client.send(type="user_message", text="I stand at the edge.")
    assert await client.reply() == "Please call somebody now."
    assert "guardrail_triggered" in client.kinds()
    await client.send(type="user_message", text="I dreamt of a bridge.")
    assert "bridge" in await client.reply()
    conversation_id = client.frames[0]["conversation_initiation_metadata_event"]["conversation_id"]
    kept = await sdk_for(url).conversational_ai.conversations.get(conversation_id)
    assert [bool(line.triggered_guardrails) for line in kept.transcript] == [False, True, False, False]


async def test_what_a_client_thinks_of_a_reply_is_kept_with_it(
    engine_url: str, sdk: AsyncElevenLabs, create_agent: Create, dial: Dial
) -> None:
    agent_id = await create_agent(engine_url, agent={"first_message": "Hello."}, conversation=TEXT)
    client = await dial(engine_url, agent_id)
    await client.open()
    event_id = (await client.until("agent_response"))["agent_response_event"]["event_id"]
    await client.send(type="feedback", event_id=event_id, score="like")
    await client.send(type="client_tool_result", tool_call_id="t", result="done", is_error=False)
    await client.send(type="user_activity")
    await client.send(type="contextual_update", text="It is raining.")
    await client.send(type="multimodal_message", text={"type": "user_message", "text": "I dreamt of a bridge."})
    assert "bridge" in await client.reply()
    conversation_id = client.frames[0]["conversation_initiation_metadata_event"]["conversation_id"]
    kept = await sdk.conversational_ai.conversations.get(conversation_id)
    assert kept.transcript[0].feedback is not None
    assert kept.transcript[0].feedback.score == "like"
    assert kept.status == "in-progress"


async def test_two_engines_share_nothing(
    start: Callable[..., Awaitable[str]], sdk_for: Callable[..., AsyncElevenLabs], create_agent: Create
) -> None:
    one, other = await start(), await start()
    await create_agent(one)
    assert (await sdk_for(other).conversational_ai.agents.list()).agents == []
