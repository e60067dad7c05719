"""Who answers: the model's endpoint when one is set, else dreamwork, which also takes over when the endpoint fails."""

import asyncio
import hashlib
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx

from oneiro.dreamwork.dialogue import Dialogue
from oneiro.dreamwork.profile import Profile
from oneiro.engine.delivery import pieces_of
from oneiro.engine.opening import Opening
from oneiro.engine.settings import EndpointError, LlmEndpoint
from oneiro.engine.state import Engine

log = logging.getLogger(__name__)
MOST_REPLY = 8_000
"""Characters of a reply from the endpoint; the rest is not read."""
FIRST_WORDS = 20.0
"""Seconds until the endpoint must have begun to speak."""
LONGEST_REPLY = 60.0
"""Seconds that the endpoint may take for one reply."""
MOST_HISTORY = 60
"""Lines of the conversation that the endpoint is sent."""
MOST_NOTES = 8
"""Contextual updates that are kept."""


class Brain:
    """Answers one conversation and remembers it."""

    def __init__(self, engine: Engine, opening: Opening, conversation_id: str) -> None:
        self._endpoint = engine.settings.llm
        self._http = engine.http if self._endpoint else None
        self._prompt = opening.config.agent.prompt
        self._system = opening.prompt
        self._history: list[dict[str, str]] = []
        self._notes: list[str] = []
        self._dialogue = Dialogue(
            Profile.read(opening.prompt),
            context=str(opening.variables.get("dream_context", "")),
            opening=opening.first_message,
            seed=hashlib.sha256(conversation_id.encode()).hexdigest(),
        )
        if opening.first_message:
            self._remember("assistant", opening.first_message)

    @property
    def name(self) -> str:
        """The model that answers, for the transcript."""
        return self._endpoint.model if self._endpoint else "dreamwork"

    def note(self, text: str) -> None:
        """Take notice of a contextual update without answering it."""
        self._notes = [*self._notes, text][-MOST_NOTES:]

    def said(self, heard: str, reply: str) -> None:
        """Remember an exchange as it really was, after interruptions."""
        self._remember("user", heard)
        self._remember("assistant", reply)

    async def answer(self, text: str) -> AsyncGenerator[str, None]:
        """The reply in pieces; dreamwork hears every line, so that it can take over at any point."""
        own = self._dialogue.reply(text)
        if self._endpoint is None:
            for piece in pieces_of(own):
                yield piece
            return
        begun = False
        try:
            async for piece in self._stream(self._endpoint, text):
                begun = True
                yield piece
        except (EndpointError, httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            log.warning("engine.llm_failed", extra={"cause": type(error).__name__, "mid_reply": begun})
            yield f" … {own}" if begun else own
        else:
            if not begun:
                yield own

    def _remember(self, role: str, content: str) -> None:
        self._history = [*self._history, {"role": role, "content": content}][-MOST_HISTORY:]

    def _request(self, endpoint: LlmEndpoint, text: str) -> dict[str, Any]:
        system = "\n\n".join([self._system, *(f"Note: {note}" for note in self._notes)])
        messages = [{"role": "system", "content": system}, *self._history, {"role": "user", "content": text}]
        request: dict[str, Any] = {"model": endpoint.model, "messages": messages, "stream": True}
        if self._prompt.temperature is not None:
            request["temperature"] = self._prompt.temperature
        if self._prompt.max_tokens > 0:
            request["max_tokens"] = self._prompt.max_tokens
        return request

    async def _stream(self, endpoint: LlmEndpoint, text: str) -> AsyncGenerator[str, None]:
        """The pieces of a reply; the guard sees the whole of it, so that one that stalls or breaks off counts."""
        assert self._http is not None
        headers = {"Authorization": f"Bearer {endpoint.api_key}"} if endpoint.api_key else {}
        url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        request = self._http.build_request("POST", url, json=self._request(endpoint, text), headers=headers)
        pieces: asyncio.Queue[str | None] = asyncio.Queue()
        asking = asyncio.ensure_future(endpoint.guard(lambda: _read(self._http, request, pieces)))
        asking.add_done_callback(lambda _done: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            await asking
        finally:
            # Whoever interrupts a reply says nothing about the endpoint: a cancelled attempt counts as none.
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)


async def _read(http: httpx.AsyncClient | None, request: httpx.Request, pieces: asyncio.Queue[str | None]) -> None:
    """Read a streamed chat completion (server-sent events, ended by `[DONE]`) to its end, within its time."""
    assert http is not None
    length, latest = 0, asyncio.get_running_loop().time() + LONGEST_REPLY
    try:
        async with asyncio.timeout(FIRST_WORDS) as limit, aclosing(await http.send(request, stream=True)) as response:
            async for line in response.raise_for_status().aiter_lines():
                if line == "data: [DONE]":
                    return
                piece = _piece(line)
                length += len(piece)
                if length > MOST_REPLY:
                    return
                if piece:
                    limit.reschedule(latest)
                    pieces.put_nowait(piece)
    except TimeoutError:
        raise EndpointError("the reply took too long") from None
    raise EndpointError("the stream ended before [DONE]")


def _piece(line: str) -> str:
    """The words in one line of the stream."""
    if not line.startswith("data:"):
        return ""
    chunk = json.loads(line[5:])
    try:
        if "error" in chunk:
            raise EndpointError("the endpoint reported an error")
        choices = chunk.get("choices") or [{}]
        return str((choices[0].get("delta") or {}).get("content") or "")
    except (AttributeError, TypeError, KeyError):
        raise EndpointError("a chunk of an unknown shape") from None
