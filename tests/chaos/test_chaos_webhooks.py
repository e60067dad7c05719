"""An engine that repeats, reorders, delays and never sends its webhooks."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response
from tests.chaos import clients
from tests.chaos.clients import MARKER, Answer, Call, Dreamer, Traffic, dialled
from tests.chaos.processes import WITHIN, House, until

from oneiro.parts import Parts

SignIn = Callable[..., Awaitable[Dreamer]]
Settle = Callable[..., Awaitable[None]]
Later = Callable[..., Awaitable[Parts]]
Look = Callable[..., Awaitable[list[dict[str, Any]]]]

EACH = 4
"""Conversations of each kind."""
TURNS = 3


@pytest.fixture
async def hook(traffic: Traffic) -> AsyncIterator[str]:
    """Where the engine posts what is over: handed on to the service, whose address nobody knows before it runs."""
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN) as http:

        async def hand_on(request: Request) -> Response:
            headers = {"ElevenLabs-Signature": request.headers["elevenlabs-signature"]}
            url = f"{await traffic.door.passed()}/webhooks/elevenlabs"
            answer = await http.post(url, content=await request.body(), headers=headers)
            return Response(status_code=answer.status_code)

        async with clients.hook(hand_on) as url:
            yield url


class Talk:
    """A conversation over the platform's own socket whose client reports only half of what is said."""

    def __init__(self, dreamer: Dreamer, started: Answer, call: Call) -> None:
        self.dreamer, self.call = dreamer, call
        self.id = str(started["conversation_id"])
        self.said = [("interpreter", started["opening"])]

    async def take_place(self) -> None:
        for turn in range(TURNS):
            words = f"I dreamt of a lake with {turn + 3} swans and a {MARKER} beneath the ice."
            reply = await self.call.say(words)
            self.said += [("user", words), ("interpreter", reply)]
            if turn == 0:
                line = {"event_id": "told", "sender": "user", "content": words}
                await self.dreamer.post(f"/conversations/{self.id}/messages", {"messages": [line]})
                self.dreamer.traffic.acknowledged.note(self.id, "told")

    async def name(self) -> None:
        """Tell the service which conversation of the platform it is."""
        body = {"elevenlabs_conversation_id": self.call.platform_id}
        await self.dreamer.post(f"/conversations/{self.id}/connected", body)

    async def end(self) -> None:
        await self.dreamer.post(f"/conversations/{self.id}/end")

    async def transcript(self) -> list[tuple[str, str]]:
        return [(line["sender"], line["content"]) for line in await self.dreamer.lines(self.id)]


async def _hold(talks: list[Talk], *, named: bool = True, early: bool = False) -> None:
    """Hold conversations at the same time; `early`: the platform's side ends before ours."""
    await asyncio.gather(*(talk.take_place() for talk in talks))
    for talk in talks:
        if named:
            await talk.name()
        if not early:
            await talk.end()
        await talk.call.socket.close()


async def _unreconciled(parts: Parts) -> int:
    text = (await parts.monitoring.render()).decode()
    found = re.search(r"^oneiro_unreconciled_conversations (\d+)", text, flags=re.MULTILINE)
    assert found
    return int(found[1])


async def test_every_transcript_ends_complete_and_once(
    oneiro: House, hook: str, traffic: Traffic, sign_in: SignIn, later: Later, settle: Settle, look: Look
) -> None:
    engine = await oneiro.engine(webhook_url=hook)
    service = await oneiro.serve()
    traffic.door.opens(service.url)
    dreamer = await sign_in()
    async with AsyncExitStack() as stack, clients.switchboard(engine) as faults:
        kinds = {}
        for kind in ("late", "twice", "never", "nameless", "early", "well"):
            kinds[kind] = [await _open(stack, dreamer) for _ in range(EACH)]
        # The first to end are told of last: the order is another one.
        await faults.put({"kind": "webhook", "what": "late", "seconds": 1.5})
        await _hold(kinds["late"])
        await faults.put({"kind": "webhook", "what": "duplicate"})
        await _hold(kinds["twice"])
        await faults.put({"kind": "webhook", "what": "never"})
        await _hold(kinds["never"])
        await _hold(kinds["nameless"], named=False)
        await faults.put()
        await _hold(kinds["early"], early=True)
        await _hold(kinds["well"])

        async def heard() -> bool:
            return len(await look("SELECT 1 FROM webhook_inbox")) == 4 * EACH

        await until("the webhooks of four kinds are here", heard)
        assert (await look("SELECT count(*) AS n FROM webhook_inbox WHERE handled_at IS NULL"))[0]["n"] >= EACH
        for talk in kinds["early"]:
            await talk.end()
        await _is_filled([talk for kind in ("late", "twice", "well") for talk in kinds[kind]])
        replica = await later(minutes=10)
        # What waits for a session's end has its time now, and finds its account taken over already or does it itself.
        await look("UPDATE jobs SET run_at = now() WHERE state = 'queued' AND kind LIKE '%%webhook%%'")
        await _is_filled(kinds["early"])
        assert await _unreconciled(replica) == 2 * EACH
        assert await replica.reconciler.run() == 2 * EACH
        assert await _unreconciled(replica) == 0
        assert await replica.reconciler.run() == 0
        await _is_filled([talk for talks in kinds.values() for talk in talks])
    assert [row["body"] for row in await look("SELECT body FROM webhook_inbox WHERE body IS NOT NULL")] == []
    await settle(traffic.acknowledged)


async def _open(stack: AsyncExitStack, dreamer: Dreamer) -> Talk:
    started = await dreamer.start(transport="direct")
    call = await stack.enter_async_context(dialled(started["signed_url"]))
    await call.open(started["dynamic_variables"])
    return Talk(dreamer, started, call)


async def _is_filled(talks: list[Talk]) -> None:
    """Each transcript becomes what was said, whole and in order."""
    for talk in talks:

        async def whole(talk: Talk = talk) -> bool:
            return await talk.transcript() == talk.said

        await until("the transcript is whole", whole)
