"""The platform of the soak: an engine in a process of its own that hears, that can be restarted, and whose accounts
outlive it. Run as a program it is that process: port, address of the webhook, and where its accounts go at its end.
"""

import asyncio
import base64
import json
import signal
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from oneiro.engine.app import EngineSettings, create_engine, served
from oneiro.safety.cards import guardrail

SPEED = 8.0
"""Times as quick as a person: a spoken reply lasts more than a second, in which somebody may break in."""
WEBHOOK_SECRET = "a secret of the platform's webhooks"
KEY = {"xi-api-key": "k"}
STARTING, ENDING = 90.0, 30.0
"""Seconds that the process may take, on a machine with other work."""

WINDOW, LOUD, QUIET = 512, 10, 10
"""Samples of a frame of the microphone (32 ms), and how many frames of speech and of silence are an utterance."""
BASE, STEP = 4_000, 100


def aloud(text: str) -> list[str]:
    """The microphone's frames for these words: each loud sample stands for a character of them, again and again."""
    once = [BASE + STEP * ord(character) for character in f"{text}\n"]
    loud = array("h", (once * (LOUD * WINDOW // len(once) + 1))[: LOUD * WINDOW])
    sound = loud.tobytes() + bytes(2 * QUIET * WINDOW)
    pieces = [sound[start : start + 2 * WINDOW] for start in range(0, len(sound), 2 * WINDOW)]
    return [json.dumps({"user_audio_chunk": base64.b64encode(piece).decode()}) for piece in pieces]


def recognised(sound: bytes) -> str:
    """The words of an utterance; what is cut off at its beginning and its end is no whole word."""
    marks = "".join(chr((sample - BASE) // STEP) for sample in array("h", sound) if sample >= BASE)
    return " ".join(dict.fromkeys(marks.split("\n")[1:-1]))


@dataclass(frozen=True)
class Account:
    """What one life of the platform knew of a conversation when it ended: who spoke, and the words."""

    platform_id: str
    lines: list[tuple[str, str]]


class Platform:
    """The process, as one who breaks it."""

    def __init__(self, place: Path) -> None:
        self._place = place
        # Bound and never listened on: while the process is away nobody else gets its port.
        self._port = socket.socket()
        self._port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._port.getsockname()[1]}"
        self._http = httpx.AsyncClient(base_url=self.url, headers=KEY, trust_env=False, timeout=30)
        self._process: subprocess.Popen[bytes] | None = None
        self.webhook_url = ""
        self.lives = 0

    async def begin(self) -> None:
        """Start the process and wait until it listens."""
        self.lives += 1
        log = self._place / f"platform-{self.lives}.log"
        port = self.url.rsplit(":", 1)[1]
        command = [sys.executable, __file__, port, self.webhook_url, str(self._place / f"accounts-{self.lives}")]
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + STARTING
        while "ready" not in log.read_text():
            assert self._process.poll() is None, f"the platform did not start: {log.read_text()[-2000:]}"
            assert time.monotonic() < end, f"the platform does not listen after {STARTING} s: {log.read_text()[-2000:]}"
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        """Terminate the process, which leaves behind what it knew."""
        assert self._process is not None
        self._process.terminate()
        status = await asyncio.to_thread(self._process.wait, ENDING)
        log = (self._place / f"platform-{self.lives}.log").read_text()
        assert status == 0, f"the platform ended with {status}: {log[-2000:]}"

    def accounts(self) -> Iterator[Account]:
        """What its lives that are over knew; it is read now, as this process shall be weighed without it."""
        for life in range(1, self.lives + 1):
            for line in (self._place / f"accounts-{life}").read_text().splitlines():
                known = json.loads(line)
                yield Account(known["id"], [(role, words) for role, words in known["lines"]])

    async def behave(self, *faults: dict[str, Any]) -> None:
        """Have these faults and no others."""
        (await self._http.put("/engine/faults", json={"faults": faults})).raise_for_status()

    async def close(self) -> None:
        """Leave nothing behind, however a test ended."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        await self._http.aclose()
        self._port.close()


async def _serve(port: int, webhook_url: str, accounts: Path) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = EngineSettings(
        guardrail=guardrail,
        speed=SPEED,
        aloud=False,
        recogniser=recognised,
        webhook_url=webhook_url,
        webhook_secret=WEBHOOK_SECRET,
    )
    app = create_engine(settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(served(app, port=port))
        print("ready", flush=True)  # noqa: T201 - whoever started it waits for this.
        await stop.wait()
    with accounts.open("w") as out:
        for record in app.state.engine.conversations.all():
            lines = [(line.role, line.message) for line in record.lines]
            out.write(json.dumps({"id": record.conversation_id, "lines": lines}) + "\n")


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])))
