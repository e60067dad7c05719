"""Two replicas, one of which is killed in mid-conversation."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response
from tests.chaos.clients import MARKER, Answer, Call, Dreamer, Traffic, dialled, hook, switchboard
from tests.chaos.processes import WITHIN, House, Process, until

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

    async def take(self, request: Request) -> Response:
        body = await request.body()
        Webhook(self.secret).verify(body, dict(request.headers))
        self.got.append(json.loads(body)["id"])
        return Response()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with hook(receiver.take) as receiver.url:
        yield receiver


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

    async def resume(self, stack: AsyncExitStack) -> None:
        """Go on elsewhere; what got no reply is said again unless the transcript has it."""
        resumed = await self.dreamer.post(f"/conversations/{self.id}/resume")
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


async def _report(dreamer: Dreamer, traffic: Traffic, conversation_id: str, enough: asyncio.Event) -> None:
    """One line after the other, so that somebody is telling whenever a replica is killed."""
    for number in itertools.takewhile(lambda _: not enough.is_set(), itertools.count()):
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
    enough = asyncio.Event()
    async with (
        _calls(sign_in, first) as (_, broken),
        _calls(sign_in, second) as (stack, steady),
        asyncio.TaskGroup() as tasks,
    ):
        # Those of the other replica take their time: each line is delivered, and how long this lasts nobody knows.
        breaking = [tasks.create_task(each.talk_on()) for each in broken]
        going_on = [tasks.create_task(each.talk_on(PAUSE)) for each in steady]
        for one, conversation_id in zip(reporting, reported, strict=True):
            tasks.create_task(_report(one, traffic, conversation_id, enough))

        async def in_the_middle() -> bool:
            return all(len(each.answered) >= 3 for each in (*broken, *steady)) and traffic.acknowledged.count >= 60

        await until("everybody is in the middle", in_the_middle)
        traffic.door.closes()
        await _bury(first, look)
        traffic.door.opens(second.url)
        if lapse:
            await _let_leases_lapse(look)
        await asyncio.wait(breaking)
        came = {id(each): len(each.answered) for each in steady}
        for each in broken:
            each.dreamer = each.dreamer.at(second.url)
        # The last one never comes back.
        await asyncio.gather(*(each.resume(stack) for each in broken[:-1]))
        enough.set()

        async def went_on() -> bool:
            return all(len(each.answered) > came[id(each)] for each in steady)

        await until("calls of the other replica go on", went_on)
        for task in going_on:
            task.cancel()
        await asyncio.wait(going_on)
        for each in (*broken, *steady):
            # What got no reply may have been stored all the same; it stands in its place then.
            kept = await each.kept()
            assert [words for words in kept if words in each.answered] == each.answered
            assert len(kept) <= len(each.answered) + 1
    for one, conversation_id in zip(reporting, reported, strict=True):
        await one.post(f"/conversations/{conversation_id}/end")


async def _is_well(
    later: Later, look: Look, receiver: Receiver, settle: Settle, traffic: Traffic, *, within: float
) -> None:
    async def left() -> bool:
        (row,) = await look("SELECT count(*) AS n FROM conversations WHERE status = 'completed'")
        return bool(row["n"] == 3 * EACH - 1)

    # A socket is closed before its conversation is ended, and an hour later it would be too late for that.
    await until("who left has ended it", left)
    await (await later(minutes=60)).sweeper.sweep()
    ended = await look("SELECT end_reason, count(*) AS n FROM conversations GROUP BY 1")
    assert {row["end_reason"]: row["n"] for row in ended} == {"user_ended": 3 * EACH - 1, "timeout": 1}
    await settle(traffic.acknowledged, within=within)
    await _all_delivered(look, receiver)


@pytest.mark.parametrize(
    "lapse",
    [
        pytest.param(True, id="leases of the dead one lapse at once"),
        pytest.param(False, id="by themselves", marks=[pytest.mark.soak, pytest.mark.timeout(600)]),
    ],
)
async def test_everybody_goes_on_at_the_other(
    oneiro: House,
    traffic: Traffic,
    sign_in: SignIn,
    later: Later,
    settle: Settle,
    look: Look,
    receiver: Receiver,
    lapse: bool,  # noqa: FBT001 - a parameter of the test.
) -> None:
    await oneiro.engine()
    await _meet(oneiro, traffic, sign_in, look, receiver, lapse=lapse)
    await _is_well(later, look, receiver, settle, traffic, within=90 if lapse else 120)


async def _start_with_key(dreamer: Dreamer, url: str, key: str) -> httpx.Response:
    body = {"interpreter_id": "carl", "text_only": True, "transport": "direct"}
    headers = dreamer.headers | {"Idempotency-Key": key}
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN) as http:
        return await http.post(f"{url}/v1/conversations", json=body, headers=headers)


async def _kill_while_starting(
    engine: Process, service: Process, dreamer: Dreamer, look: Look, *, key: str, **fault: Any
) -> None:
    """Kill a replica while the platform lets it wait in the middle of a start."""
    async with switchboard(engine) as faults:
        await faults.put({"kind": "latency", "seconds": 15, "times": 1, **fault})
        starting = asyncio.create_task(_start_with_key(dreamer, service.url, key))
        await faults.struck()
    await _bury(service, look)
    with pytest.raises(httpx.TransportError):
        await starting


def _refused(answer: httpx.Response) -> tuple[int, str, bool]:
    return answer.status_code, answer.json()["code"], answer.json()["retryable"]


async def test_a_start_that_a_kill_cut_off_is_cleared_away(
    oneiro: House, sign_in: SignIn, settle: Settle, look: Look
) -> None:
    engine = await oneiro.engine()
    first = await oneiro.serve()
    second = await oneiro.serve()
    dreamer = await sign_in(at=second.url)
    # The agent is there already: who makes the first one holds it for himself for a while.
    await dreamer.post(f"/conversations/{(await dreamer.start(transport='direct'))['conversation_id']}/end")
    await _kill_while_starting(engine, first, dreamer, look, key="one start", path="*get-signed-url")
    busy = await _start_with_key(dreamer, second.url, "one start")
    assert _refused(busy) == (409, "request_in_progress", True)
    await look("UPDATE idempotency_keys SET created_at = created_at - interval '1 minute'")
    again = await _start_with_key(dreamer, second.url, "one start")
    assert again.status_code == 201, again.text
    assert (await _start_with_key(dreamer, second.url, "one start")).json() == again.json()
    await _end_and_settle(engine, dreamer, again, settle, look)
    ended = await look("SELECT end_reason FROM conversations ORDER BY created_at")
    assert [row["end_reason"] for row in ended] == ["user_ended", "never_connected", "user_ended"]


async def _end_and_settle(
    engine: Process, dreamer: Dreamer, started: httpx.Response, settle: Settle, look: Look
) -> None:
    await dreamer.post(f"/conversations/{started.json()['conversation_id']}/end")
    await _let_leases_lapse(look)
    await settle()
    # It lets the start of the dead one wait still, and would complain of being stopped meanwhile.
    engine.kill()


@pytest.mark.soak  # It waits as long as a start has patience, for twenty seconds.
async def test_an_interpreter_whose_maker_was_killed_is_made_by_another_when_the_lease_lapses(
    oneiro: House, sign_in: SignIn, settle: Settle, look: Look
) -> None:
    engine = await oneiro.engine()
    first = await oneiro.serve()
    second = await oneiro.serve()
    dreamer = await sign_in(at=second.url)
    await _kill_while_starting(
        engine, first, dreamer, look, key="the first start", method="POST", path="*/agents/create"
    )
    busy = await _start_with_key(dreamer, second.url, "the second start")
    assert _refused(busy) == (503, "platform_unavailable", True)
    assert 1 <= int(busy.headers["Retry-After"]) <= 30
    (left,) = await look("SELECT extract(epoch FROM lease_until - now())::float AS s FROM platform_agents")
    assert 0 < left["s"] <= 120
    await look("UPDATE platform_agents SET lease_until = now()")
    started = await _start_with_key(dreamer, second.url, "the third start")
    assert started.status_code == 201, started.text
    await _end_and_settle(engine, dreamer, started, settle, look)
    ended = await look("SELECT end_reason FROM conversations ORDER BY created_at")
    assert [row["end_reason"] for row in ended][-1] == "user_ended"
