"""Two replicas, one of which is killed in mid-conversation."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
import uvicorn
from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from tests.chaos.clients import MARKER, Answer, Call, Dreamer, Traffic, dialled
from tests.chaos.processes import House, Process, until

from oneiro.cli.listen import bind
from oneiro.parts import Parts

SignIn = Callable[..., Awaitable[Dreamer]]
Settle = Callable[..., Awaitable[None]]
Later = Callable[..., Awaitable[Parts]]
Look = Callable[..., Awaitable[list[dict[str, Any]]]]

EACH = 6
"""Calls through each replica, and conversations that are reported to each."""
PAUSE = 0.2
"""Seconds between the lines of a caller who is not interrupted."""


class Receiver:
    """Somebody else's server: keeps what Oneiro posts to it."""

    def __init__(self) -> None:
        self.url = ""
        self.secret = ""
        self.got: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        body = await request.body()
        Webhook(self.secret).verify(body, dict(request.headers))
        self.got.append(json.loads(body)["id"])
        await Response()(scope, receive, send)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    listener = bind("127.0.0.1", 0, what="a receiver")
    server = uvicorn.Server(uvicorn.Config(receiver, log_config=None, lifespan="off", timeout_graceful_shutdown=1))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    receiver.url = f"http://127.0.0.1:{listener.getsockname()[1]}/hook"
    yield receiver
    server.should_exit = True
    await task


async def _first_and_second(oneiro: House, look: Look) -> tuple[Process, Process]:
    """Two replicas; the first one holds every lease."""
    first = await oneiro.serve(ONEIRO_TRANSPORT="relay")

    async def leased() -> bool:
        (row,) = await look("SELECT count(*) AS all, count(lease_owner) AS held FROM event_cursors")
        return bool(row["all"] == row["held"] >= 3)

    await until("the first replica holds the leases", leased)
    return first, await oneiro.serve(ONEIRO_TRANSPORT="relay")


async def _bury(process: Process, look: Look) -> None:
    """Kill a replica and wait until PostgreSQL has noticed: a commit that was sent is done even after its sender."""
    process.kill()

    async def forgotten() -> bool:
        return not await look(
            "SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = %s", process.name
        )

    await until(f"{process.name} has no connection any more", forgotten)


async def _let_leases_lapse(look: Look) -> None:
    """As if half a minute had passed for cursors and jobs, a minute for deliveries; the living renew theirs."""
    await look("UPDATE event_cursors SET lease_until = now() WHERE lease_until > now()")
    await look("UPDATE webhook_deliveries SET lease_until = now() WHERE lease_until > now()")
    await look("UPDATE jobs SET lease_until = now() WHERE lease_until > now()")


class Told:
    """A relayed conversation: what was answered is what was acknowledged."""

    def __init__(self, dreamer: Dreamer, started: Answer) -> None:
        self.dreamer, self.started = dreamer, started
        self.id = str(started["conversation_id"])
        self.answered: list[str] = []
        self.call: Call | None = None

    async def open(self, stack: AsyncExitStack, url: str) -> None:
        self.call = await stack.enter_async_context(dialled(url))
        await self.call.open()

    async def say(self, words: str) -> None:
        assert self.call is not None
        await self.call.say(words)
        self.answered.append(words)

    async def talk_on(self, pause: float = 0.0) -> None:
        """Say things until the line breaks."""
        with suppress(Exception):
            for number in range(1000):
                await self.say(f"In corridor {number} of {self.id} hung a {MARKER}.")
                await asyncio.sleep(pause)

    async def resume(self, dreamer: Dreamer, stack: AsyncExitStack) -> None:
        """Go on elsewhere; what got no reply is said again unless the transcript has it."""
        self.dreamer = dreamer
        resumed = await dreamer.post(f"/conversations/{self.id}/resume")
        await self.open(stack, resumed["signed_url"])
        kept = await self.kept()
        lost = f"In corridor {len(self.answered)} of {self.id} hung a {MARKER}."
        if lost not in kept:
            await self.say(lost)
        await self.say(f"And in the end, in {self.id}, a door.")

    async def kept(self) -> list[str]:
        return [line["content"] for line in await self.dreamer.lines(self.id) if line["sender"] == "user"]


@asynccontextmanager
async def _calls(sign_in: SignIn, at: Process) -> AsyncIterator[tuple[AsyncExitStack, list[Told]]]:
    """Open calls through a replica."""
    async with AsyncExitStack() as stack:
        told = []
        for _ in range(EACH):
            dreamer = await sign_in(at=at.url)
            told.append(Told(dreamer, await dreamer.start()))
        await asyncio.gather(*(each.open(stack, each.started["signed_url"]) for each in told))
        yield stack, told


async def _register(sign_in: SignIn, at: Process, receiver: Receiver) -> None:
    operator = await sign_in(operator=True, at=at.url)
    made = await operator.post("/admin/webhooks", {"url": receiver.url, "event_types": []})
    receiver.secret = made["secret"]


async def _report(dreamer: Dreamer, traffic: Traffic, conversation_id: str, lines: int) -> None:
    for number in range(lines):
        traffic.acknowledged.said[conversation_id].append(f"line {number}")
        await dreamer.say(conversation_id, number)


async def _all_delivered(look: Look, receiver: Receiver) -> None:
    async def delivered() -> bool:
        wanted = await look(
            "SELECT e.id FROM system_events AS e, webhook_endpoints AS w WHERE e.created_at > w.created_at"
        )
        return {str(row["id"]) for row in wanted} <= set(receiver.got)

    await until("each event is delivered to the receiver", delivered, within=90)


async def _meet(
    oneiro: House, traffic: Traffic, sign_in: SignIn, look: Look, receiver: Receiver, *, lapse: bool
) -> None:
    """Calls and reports at two replicas; the first is killed, everybody goes on at the second."""
    first, second = await _first_and_second(oneiro, look)
    await _register(sign_in, first, receiver)
    traffic.door.opens(first.url)
    reporting = [await sign_in() for _ in range(EACH)]
    reported = [str((await one.start(transport="direct"))["conversation_id"]) for one in reporting]
    async with _calls(sign_in, first) as (_, broken), _calls(sign_in, second) as (stack, steady):
        # Those of the other replica take their time: each line is delivered, and how long this lasts nobody knows.
        talking = [asyncio.create_task(each.talk_on()) for each in broken]
        talking += [asyncio.create_task(each.talk_on(PAUSE)) for each in steady]
        telling = [
            asyncio.create_task(_report(one, traffic, conversation_id, 40))
            for one, conversation_id in zip(reporting, reported, strict=True)
        ]

        async def in_the_middle() -> bool:
            return all(len(each.answered) >= 3 for each in (*broken, *steady)) and traffic.acknowledged.count >= 60

        await until("everybody is in the middle", in_the_middle)
        assert not all(task.done() for task in telling)
        traffic.door.closes()
        await _bury(first, look)
        traffic.door.opens(second.url)
        if lapse:
            await _let_leases_lapse(look)
        await asyncio.gather(*talking[:EACH])
        came = {id(each): len(each.answered) for each in steady}
        # The last one never comes back.
        there = [await _at(each.dreamer, second, sign_in) for each in broken]
        await asyncio.gather(*(each.resume(who, stack) for each, who in zip(broken[:-1], there, strict=False)))
        await asyncio.gather(*telling)

        async def went_on() -> bool:
            return all(len(each.answered) > came[id(each)] for each in steady)

        await until("calls of the other replica go on", went_on)
        for task in talking[EACH:]:
            task.cancel()
        await asyncio.gather(*talking[EACH:], return_exceptions=True)
        broken[-1].dreamer = there[-1]
        for each in (*broken, *steady):
            # What got no reply may have been stored all the same; it stands in its place then.
            kept = await each.kept()
            assert [words for words in kept if words in each.answered] == each.answered
            assert len(kept) <= len(each.answered) + 1
    for one, conversation_id in zip(reporting, reported, strict=True):
        await one.post(f"/conversations/{conversation_id}/end")


async def _at(dreamer: Dreamer, process: Process, sign_in: SignIn) -> Dreamer:
    """The same dreamer at another replica."""
    moved = await sign_in(at=process.url)
    moved.headers = dreamer.headers
    return moved


async def _is_well(
    later: Later, look: Look, receiver: Receiver, settle: Settle, traffic: Traffic, *, within: float
) -> None:
    parts = await later(minutes=60)
    await parts.sweeper.sweep()
    ended = await look("SELECT end_reason, count(*) AS n FROM conversations GROUP BY 1")
    assert {row["end_reason"]: row["n"] for row in ended} == {"user_ended": 3 * EACH - 1, "timeout": 1}
    await settle(traffic.acknowledged, within=within)
    await _all_delivered(look, receiver)


async def test_everybody_goes_on_at_the_other(
    oneiro: House,
    traffic: Traffic,
    sign_in: SignIn,
    later: Later,
    settle: Settle,
    look: Look,
    receiver: Receiver,
) -> None:
    await oneiro.engine()
    await _meet(oneiro, traffic, sign_in, look, receiver, lapse=True)
    await _is_well(later, look, receiver, settle, traffic, within=45)


@pytest.mark.soak
@pytest.mark.timeout(300)
async def test_leases_of_a_dead_replica_lapse_by_themselves(
    oneiro: House,
    traffic: Traffic,
    sign_in: SignIn,
    later: Later,
    settle: Settle,
    look: Look,
    receiver: Receiver,
) -> None:
    await oneiro.engine()
    await _meet(oneiro, traffic, sign_in, look, receiver, lapse=False)
    await _is_well(later, look, receiver, settle, traffic, within=120)


async def _start_with_key(dreamer: Dreamer, url: str, key: str) -> httpx.Response:
    body = {"interpreter_id": "carl", "text_only": True, "transport": "direct"}
    headers = dreamer.headers | {"Idempotency-Key": key}
    async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
        return await http.post(f"{url}/v1/conversations", json=body, headers=headers)


async def test_a_start_that_a_kill_cut_off_is_cleared_away(
    oneiro: House, sign_in: SignIn, settle: Settle, look: Look
) -> None:
    engine = await oneiro.engine()
    first = await oneiro.serve()
    second = await oneiro.serve()
    dreamer = await sign_in(at=second.url)
    # The agent is there already: who makes the first one holds it for himself for a while.
    await dreamer.post(f"/conversations/{(await dreamer.start(transport='direct'))['conversation_id']}/end")
    fault = {"kind": "latency", "seconds": 5, "path": "*get-signed-url", "times": 1}
    async with httpx.AsyncClient(base_url=engine.url, headers={"xi-api-key": "k"}, trust_env=False) as switchboard:
        await switchboard.put("/engine/faults", json={"faults": [fault]})
        starting = asyncio.create_task(_start_with_key(dreamer, first.url, "one start"))

        async def asked() -> bool:
            return bool((await switchboard.get("/engine/faults")).json()["faults"][0]["struck"])

        await until("the start waits for the platform", asked)
        await _bury(first, look)
    with pytest.raises(httpx.TransportError):
        await starting
    busy = await _start_with_key(dreamer, second.url, "one start")
    assert (busy.status_code, busy.json()["code"], busy.json()["retryable"]) == (409, "request_in_progress", True)
    await look("UPDATE idempotency_keys SET created_at = created_at - interval '1 minute'")
    again = await _start_with_key(dreamer, second.url, "one start")
    assert again.status_code == 201, again.text
    assert (await _start_with_key(dreamer, second.url, "one start")).json() == again.json()
    await dreamer.post(f"/conversations/{again.json()['conversation_id']}/end")
    await _let_leases_lapse(look)
    await settle()
    ended = await look("SELECT end_reason FROM conversations ORDER BY created_at")
    assert [row["end_reason"] for row in ended] == ["user_ended", "never_connected", "user_ended"]


@pytest.mark.soak  # It waits as long as a start has patience, for twenty seconds.
async def test_an_interpreter_whose_maker_was_killed_is_made_by_another_when_the_lease_lapses(
    oneiro: House, sign_in: SignIn, settle: Settle, look: Look
) -> None:
    engine = await oneiro.engine()
    first = await oneiro.serve()
    second = await oneiro.serve()
    dreamer = await sign_in(at=second.url)
    fault = {"kind": "latency", "seconds": 30, "method": "POST", "path": "*/agents/create", "times": 1}
    async with httpx.AsyncClient(base_url=engine.url, headers={"xi-api-key": "k"}, trust_env=False) as switchboard:
        await switchboard.put("/engine/faults", json={"faults": [fault]})
        starting = asyncio.create_task(_start_with_key(dreamer, first.url, "the first start"))

        async def asked() -> bool:
            return bool((await switchboard.get("/engine/faults")).json()["faults"][0]["struck"])

        await until("the platform makes the agent", asked)
        await _bury(first, look)
    with pytest.raises(httpx.TransportError):
        await starting
    busy = await _start_with_key(dreamer, second.url, "the second start")
    assert (busy.status_code, busy.json()["code"], busy.json()["retryable"]) == (503, "platform_unavailable", True)
    assert 1 <= int(busy.headers["Retry-After"]) <= 30
    (left,) = await look("SELECT extract(epoch FROM lease_until - now())::float AS s FROM platform_agents")
    assert 0 < left["s"] <= 120
    await look("UPDATE platform_agents SET lease_until = now()")
    started = await _start_with_key(dreamer, second.url, "the third start")
    assert started.status_code == 201, started.text
    await dreamer.post(f"/conversations/{started.json()['conversation_id']}/end")
    await _let_leases_lapse(look)
    await settle()
    ended = await look("SELECT end_reason FROM conversations ORDER BY created_at")
    assert [row["end_reason"] for row in ended][-1] == "user_ended"
