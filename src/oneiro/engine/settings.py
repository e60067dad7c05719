"""What an engine is told when it is made; nothing here reads the environment."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from oneiro.engine.faults import Fault


class EndpointError(Exception):
    """The endpoint did not answer, or not as agreed, or is not to be asked now."""


async def _at_once(attempt: Callable[[], Awaitable[Any]]) -> Any:
    return await attempt()


@dataclass(frozen=True)
class LlmEndpoint:
    """An OpenAI-compatible endpoint, e.g. `http://127.0.0.1:11434/v1`; it answers in place of dreamwork.

    guard: makes each attempt at a whole reply, or raises `EndpointError` in its place.
    """

    base_url: str
    model: str
    api_key: str | None = None
    guard: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]] = _at_once


@dataclass(frozen=True)
class EngineSettings:
    """Settings of one engine.

    api_keys: the keys it accepts in `xi-api-key`; None accepts any that is not empty.
    speed: how much faster than a person it thinks, types and speaks; limits such as a maximum duration stay as set.
    guardrail: given what was said to the agent, returns words to say in place of the brain's, or None.
    aloud: whether it speaks with a voice, else in silence as long as the words; None where this machine has a voice.
    recogniser: turns 16-bit mono PCM in the agent's input format into words; None hears nothing and says so.
    clock: the time in seconds since 1970.
    client_data_timeout: seconds to wait for the client's opening frame before the conversation starts without it.
    webhook_secret: key of the signature; without it the post-call webhook is sent unsigned.
    faults: how it misbehaves from the beginning; `/engine/faults` changes that.
    """

    api_keys: frozenset[str] | None = None
    speed: float = 1.0
    guardrail: Callable[[str], str | None] | None = None
    llm: LlmEndpoint | None = None
    aloud: bool | None = None
    recogniser: Callable[[bytes], str] | None = None
    clock: Callable[[], float] = time.time
    client_data_timeout: float = 5.0
    webhook_url: str | None = None
    webhook_secret: str | None = None
    faults: tuple[Fault, ...] = ()
    fault_seed: int | None = None
