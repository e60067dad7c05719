"""The official Python SDK speaks through the relay, by the subclass that the how-to shows."""

import asyncio
import importlib
import math
import re
import threading
import warnings
from array import array
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    # The SDK names a class that websockets has deprecated, at import; later imports find the module ready.
    warnings.simplefilter("ignore", DeprecationWarning)
    sdk = importlib.import_module("elevenlabs.conversational_ai.conversation")

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "official-sdks.md"
Rows = Callable[..., Awaitable[list[dict[str, Any]]]]


def documented() -> Any:
    """The class as the how-to has it."""
    block = re.findall(r"```python\n(.*?)```", HOW_TO.read_text("utf-8"), re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(block, names)  # noqa: S102 - our own page, so that it stays true.
    return names["RelayedConversation"]


class Told:
    """What callbacks were told, for a thread to wait for."""

    def __init__(self) -> None:
        self.replies: list[str] = []
        self._more = threading.Semaphore(0)

    def __call__(self, reply: str) -> None:
        self.replies.append(reply)
        self._more.release()

    def next(self) -> str:
        assert self._more.acquire(timeout=20)
        return self.replies[-1]


async def test_a_written_conversation(dreamer: Any, until: Rows) -> None:
    started = await dreamer.start()
    told = Told()

    def converse() -> tuple[list[str], str | None]:
        conversation = documented()(started["signed_url"], callback_agent_response=told)
        conversation.start_session()
        told.next()
        conversation.send_user_message("I dreamt of a bridge over a river.")
        told.next()
        conversation.end_session()
        return told.replies, conversation.wait_for_session_end()

    replies, platform_id = await asyncio.to_thread(converse)
    assert replies[0] == started["opening"]
    (row,) = await until("SELECT * FROM conversations WHERE status = 'completed'")
    assert (row["end_reason"], row["elevenlabs_conversation_id"]) == ("user_ended", platform_id)
    assert [line["content"] for line in await dreamer.lines(started["conversation_id"])] == [
        started["opening"],
        "I dreamt of a bridge over a river.",
        replies[1],
    ]


class Headset(sdk.AudioInterface):  # type: ignore[misc,name-defined]  # The module is imported by name, see above.
    """A headset without hardware."""

    def __init__(self) -> None:
        self.played = b""

    def start(self, input_callback: Callable[[bytes], None]) -> None:
        self.speak = input_callback

    def stop(self) -> None:
        pass

    def output(self, audio: bytes) -> None:
        self.played += audio

    def interrupt(self) -> None:
        pass


async def test_a_spoken_conversation(dreamer: Any, until: Rows) -> None:
    started = await dreamer.start(text_only=False)
    told, headset, heard = Told(), Headset(), list[str]()
    # So loud is the sentence that the engine's recogniser of these tests takes for the house by the sea.
    speech = array("h", [int(6_000 * math.sin(index * 0.2)) for index in range(16_000)]).tobytes() + bytes(64_000)

    def converse() -> None:
        conversation = documented()(
            started["signed_url"],
            audio_interface=headset,
            callback_agent_response=told,
            callback_user_transcript=heard.append,
        )
        conversation.start_session()
        told.next()
        for begin in range(0, len(speech), 8_000):
            headset.speak(speech[begin : begin + 8_000])
        told.next()
        conversation.end_session()
        conversation.wait_for_session_end()

    await asyncio.to_thread(converse)
    assert heard == ["I was walking through a house by the sea."]
    assert headset.played
    await until("SELECT 1 FROM conversations WHERE end_reason = 'user_ended'")
    lines = await dreamer.lines(started["conversation_id"])
    assert [line["event_id"] for line in lines] == ["1:interpreter:0", "1:user:0", "1:interpreter:1"]
    assert lines[1]["metadata"] == {"medium": "audio"}
    assert lines[2]["metadata"]["latency"]["from"] == "user_transcript"
