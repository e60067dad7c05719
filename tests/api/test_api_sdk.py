"""The official Python SDK opens a conversation of ours as it is: only the address comes from our API."""

import asyncio
import importlib
import queue
import threading
import warnings
from typing import Any

import httpx
import pytest
from elevenlabs import ElevenLabs

with warnings.catch_warnings():
    # The SDK names a class that websockets has deprecated, at import.
    warnings.simplefilter("ignore", DeprecationWarning)
    sdk = importlib.import_module("elevenlabs.conversational_ai.conversation")

DREAM = "A grey whale swam up my grandmother's staircase and I was not afraid."


class OurConversation(sdk.Conversation):  # type: ignore[name-defined, misc]  # Imported by name, see above.
    """The SDK's conversation with a conversation that our API has started."""

    def __init__(self, started: dict[str, Any], **options: Any) -> None:
        super().__init__(
            ElevenLabs(api_key="unused", httpx_client=httpx.Client(verify=False)),  # noqa: S501 - it calls nothing.
            started["agent_id"],
            requires_auth=True,
            config=sdk.ConversationInitiationData(dynamic_variables=started["dynamic_variables"]),
            **options,
        )
        self._address = started["signed_url"]

    def _get_signed_url(self) -> str:
        return f"{self._address}&source=python_sdk"


class Headset(sdk.AudioInterface):  # type: ignore[name-defined, misc]  # As above.
    """Microphone and loudspeaker of nobody: half a second of silence goes up, what comes down is counted."""

    def __init__(self) -> None:
        self.heard = 0
        self.sounded = threading.Event()

    def start(self, input_callback: Any) -> None:
        threading.Thread(target=lambda: input_callback(b"\0" * 16_000), daemon=True).start()

    def stop(self) -> None:
        return

    def output(self, audio: bytes) -> None:
        self.heard += len(audio)
        self.sounded.set()

    def interrupt(self) -> None:
        return


async def started(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await client.post("/conversations", json={"interpreter_id": "lakshmi"} | fields)
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("voice", [False, True])
async def test_a_conversation_in_writing_and_with_a_voice(dreamer: httpx.AsyncClient, *, voice: bool) -> None:
    await dreamer.patch("/me", json={"consents": {"voice": voice}})
    conversation = await started(dreamer, text_only=not voice)
    replies: queue.Queue[str] = queue.Queue()
    headset = Headset()

    def converse() -> list[str]:
        session = OurConversation(
            conversation, audio_interface=headset if voice else None, callback_agent_response=replies.put
        )
        session.start_session()
        said = [replies.get(timeout=20)]
        session.send_user_message(DREAM)
        said.append(replies.get(timeout=20))
        if voice:
            assert headset.sounded.wait(20)
        session.end_session()
        session.wait_for_session_end()
        return said

    opening, reply = await asyncio.to_thread(converse)

    assert opening == conversation["opening"]
    assert any(word in reply for word in ("whale", "staircase", "grandmother"))
    assert (headset.heard > 0) == voice
