import asyncio
import base64
import math
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from elevenlabs import AsyncElevenLabs
from elevenlabs.conversational_ai.conversation import AudioInterface, ConversationInitiationData

from oneiro.engine.sound import loudness
from oneiro.engine.speech import can_speak

Dial = Callable[..., Awaitable[Any]]
Create = Callable[..., Awaitable[str]]
SPEECH = array("h", [int(9_000 * math.sin(index * 0.2)) for index in range(16_000)]).tobytes()
SILENCE = bytes(2 * 16_000 * 2)
LONG = "I have waited here by the water for you, and there is no hurry. " * 4


class Headset(AudioInterface):
    """A headset without hardware: keeps what it is to play, and speaks when told."""

    def __init__(self) -> None:
        self.played = b""
        self.interruptions = 0

    def start(self, input_callback: Callable[[bytes], None]) -> None:
        self.speak = input_callback

    def stop(self) -> None:
        pass

    def output(self, audio: bytes) -> None:
        self.played += audio

    def interrupt(self) -> None:
        self.interruptions += 1


async def test_a_dream_is_told_aloud_and_answered_aloud(
    start: Callable[..., Awaitable[str]],
    sdk_for: Callable[..., AsyncElevenLabs],
    create_agent: Create,
    talk_with: Callable[..., Any],
) -> None:
    heard: list[bytes] = []

    def recogniser(pcm: bytes) -> str:
        heard.append(pcm)
        return "I dreamt of a bridge over a river."

    url = await start(recogniser=recogniser)
    agent_id = await create_agent(url, agent={"first_message": "Good evening, {{name}}."})
    headset = Headset()
    transcripts: list[str] = []
    talk = talk_with(
        url,
        agent_id,
        requires_auth=True,
        audio_interface=headset,
        config=ConversationInitiationData(dynamic_variables={"name": "Ada"}),
        callback_user_transcript=transcripts.append,
        callback_audio_alignment=lambda _: None,
        callback_latency_measurement=lambda _: None,
    )

    def converse() -> tuple[str, str]:
        talk.conversation.start_session()
        assert talk.say(None) == "Good evening, Ada."
        for begin in range(0, len(SPEECH + SILENCE), 8_000):
            headset.speak((SPEECH + SILENCE)[begin : begin + 8_000])
        return talk.say(None), talk.finish()

    reply, conversation_id = await asyncio.to_thread(converse)
    assert "bridge" in reply
    assert transcripts == ["I dreamt of a bridge over a river."]
    assert 1.0 < len(heard[0]) / 32_000 < 3.5
    assert (loudness(headset.played) > 0.01) == can_speak()
    conversations = sdk_for(url).conversational_ai.conversations
    kept = await conversations.get(conversation_id)
    assert kept.transcript[1].source_medium == "audio"
    assert kept.has_response_audio
    sound = b"".join([piece async for piece in conversations.audio.get(conversation_id)])
    assert sound.startswith(b"RIFF")
    assert len(sound) > len(headset.played) / 2


async def test_a_message_can_be_written_while_the_agent_speaks_aloud(
    engine_url: str, create_agent: Create, talk_with: Callable[..., Any]
) -> None:
    agent_id = await create_agent(engine_url, agent={"first_message": "Hello."})
    headset = Headset()
    talk = talk_with(engine_url, agent_id, requires_auth=True, audio_interface=headset)

    def converse() -> str:
        talk.conversation.start_session()
        talk.say(None)
        reply: str = talk.say("I dreamt of a bridge.")
        talk.finish()
        return reply

    assert "bridge" in await asyncio.to_thread(converse)


@pytest.mark.parametrize("how", ["speech", "message"])
async def test_who_breaks_in_is_listened_to_and_the_transcript_holds_what_was_heard(
    start: Callable[..., Awaitable[str]],
    sdk_for: Callable[..., AsyncElevenLabs],
    create_agent: Create,
    dial: Dial,
    how: str,
) -> None:
    url = await start(speed=3, recogniser=lambda _: "I dreamt of a bridge.")
    client = await dial(url, await create_agent(url, agent={"first_message": LONG}))
    await client.open()
    interrupted = (await client.until("audio"))["audio_event"]["event_id"]
    if how == "speech":
        await client.send(user_audio_chunk=base64.b64encode(SPEECH + SILENCE).decode())
    else:
        await client.send(type="user_message", text="I dreamt of a bridge.")
    assert (await client.until("interruption"))["interruption_event"]["event_id"] == interrupted
    event = (await client.until("agent_response_correction"))["agent_response_correction_event"]
    assert event["original_agent_response"] == LONG.strip()
    assert event["corrected_agent_response"].endswith("...")
    assert LONG.startswith(event["corrected_agent_response"].removesuffix("..."))
    assert "bridge" in await client.reply()
    assert (await client.until("audio"))["audio_event"]["event_id"] > interrupted
    conversation_id = client.frames[0]["conversation_initiation_metadata_event"]["conversation_id"]
    kept = (await sdk_for(url).conversational_ai.conversations.get(conversation_id)).transcript
    assert kept[0].interrupted
    assert kept[0].original_message == LONG.strip()
    assert kept[0].message == event["corrected_agent_response"]


async def test_a_first_message_that_is_protected_is_not_interrupted(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    url = await start(speed=30, recogniser=lambda _: "I dreamt of a bridge.")
    agent = {"first_message": LONG, "disable_first_message_interruptions": True}
    client = await dial(url, await create_agent(url, agent=agent))
    await client.open()
    await client.until("audio")
    await client.send(user_audio_chunk=base64.b64encode(SPEECH + SILENCE).decode())
    assert "bridge" in await client.reply()
    assert "interruption" not in client.kinds()


async def test_the_words_of_the_guardrail_are_said_to_the_end(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    url = await start(
        speed=20,
        recogniser=lambda _: "I dreamt of a bridge.",
        guardrail=lambda text: LONG if "edge" in text else None,
    )
    client = await dial(url, await create_agent(url))
    await client.open()
    await client.send(type="user_message", text="I stand at the edge.")
    await client.until("audio")
    await client.send(user_audio_chunk=base64.b64encode(SPEECH + SILENCE).decode())
    assert "bridge" in await client.reply()
    assert "interruption" not in client.kinds()


async def test_without_a_recogniser_nothing_is_invented_and_the_agent_asks_for_writing(
    engine_url: str, create_agent: Create, dial: Dial
) -> None:
    client = await dial(engine_url, await create_agent(engine_url))
    await client.open()
    await client.send(user_audio_chunk=base64.b64encode(SPEECH + SILENCE).decode())
    assert "write" in await client.reply()
    assert "user_transcript" not in client.kinds()
    await client.send(type="user_message", text="I dreamt of a bridge.")
    assert "bridge" in await client.reply()


async def test_an_engine_that_is_to_keep_silent_sends_silence_though_the_machine_has_a_voice(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    url = await start(aloud=False)
    client = await dial(url, await create_agent(url, agent={"first_message": "Good evening."}))
    await client.open()
    sound = base64.b64decode((await client.until("audio"))["audio_event"]["audio_base_64"])
    assert can_speak()
    assert set(sound) == {0}


async def test_a_microphone_that_falls_silent_by_sending_nothing_is_answered(
    start: Callable[..., Awaitable[str]], create_agent: Create, dial: Dial
) -> None:
    url = await start(recogniser=lambda _: "I dreamt of a bridge.")
    client = await dial(url, await create_agent(url))
    await client.open()
    await client.send(user_audio_chunk=base64.b64encode(SPEECH).decode())
    assert "bridge" in await client.reply()


@pytest.mark.parametrize(("name", "rate"), [("ulaw_8000", 8_000), ("pcm_44100", 88_200), ("pcm_16000", 32_000)])
async def test_speech_has_the_format_and_about_the_length_of_the_words(
    engine_url: str, create_agent: Create, dial: Dial, name: str, rate: int
) -> None:
    agent_id = await create_agent(
        engine_url,
        agent={"first_message": LONG},
        tts={"agent_output_audio_format": name},
        turn={"silence_end_call_timeout": 0.1},
    )
    client = await dial(engine_url, agent_id)
    await client.open()
    assert (await client.closed())[0] == 1000
    pieces = [frame["audio_event"] for frame in client.frames if frame["type"] == "audio"]
    assert all(set(piece) == {"audio_base_64", "event_id"} for piece in pieces)
    sizes = [len(base64.b64decode(piece["audio_base_64"])) for piece in pieces]
    assert max(sizes) <= rate / 4
    usual = len(LONG.split()) / 150 * 60
    assert usual * 0.6 < sum(sizes) / rate < usual * 1.4


async def test_a_voice_that_is_not_recorded_is_not_kept(
    engine_url: str, sdk: AsyncElevenLabs, create_agent: Create, dial: Dial
) -> None:
    agent_id = await create_agent(
        engine_url, agent={"first_message": "Hello."}, platform={"privacy": {"record_voice": False}}
    )
    client = await dial(engine_url, agent_id)
    await client.open()
    await client.until("audio")
    conversation_id = client.frames[0]["conversation_initiation_metadata_event"]["conversation_id"]
    assert not (await sdk.conversational_ai.conversations.get(conversation_id)).has_audio
