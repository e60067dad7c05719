"""kill -9 of PostgreSQL while it is written to; its owner brings it back."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from tests.chaos.clients import Dreamer, Traffic
from tests.chaos.processes import House, Postgres, Process, until

SignIn = Callable[..., Awaitable[Dreamer]]
Settle = Callable[..., Awaitable[None]]

CONVERSATIONS = 10


class Health:
    """Asks for both signs of life until it is told to stop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.alive: set[int] = set()
        self.ready: list[dict[str, Any]] = []

    async def watch(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, trust_env=False, timeout=30) as http:
            while True:
                self.alive.add((await http.get("/healthz")).status_code)
                answer = await http.get("/readyz")
                assert answer.status_code == (200 if answer.json()["ready"] else 503)
                self.ready.append(answer.json())
                await asyncio.sleep(0.02)

    @property
    def says_away(self) -> bool:
        away = {"ready": False, "database": False, "stopping": False}
        return bool(self.ready) and away.items() <= self.ready[-1].items()

    @property
    def says_ready(self) -> bool:
        return bool(self.ready) and self.ready[-1]["ready"] is True


async def _tell_without_end(dreamer: Dreamer, conversation_id: str, traffic: Traffic, enough: asyncio.Event) -> None:
    """One line after the other, each when the one before is acknowledged."""
    while not enough.is_set():
        said = traffic.acknowledged.said[conversation_id]
        said.append(f"line {len(said)}")
        await dreamer.say(conversation_id, len(said) - 1, datetime.now(UTC))


async def _more(traffic: Traffic, count: int) -> None:
    known = traffic.acknowledged.count

    async def told() -> bool:
        return traffic.acknowledged.count >= known + count

    await until(f"{count} more lines are acknowledged", told)


def _refused_well(answer: httpx.Response) -> bool:
    problem = answer.json()
    return (
        answer.headers["Content-Type"] == "application/problem+json"
        and int(answer.headers["Retry-After"]) > 0
        and problem["code"] == "database_unavailable"
        and problem["retryable"] is True
    )


async def _kill_while_written(
    server: Postgres, service: Process, traffic: Traffic, sign_in: SignIn, *, brief: int, long: int
) -> int:
    """Let ten dreamers tell without end through so many outages; returns how many lines there are in the end."""
    open_ones = []
    for _ in range(CONVERSATIONS):
        dreamer = await sign_in()
        open_ones.append((dreamer, str((await dreamer.start(transport="direct"))["conversation_id"])))
    health, enough = Health(service.url), asyncio.Event()
    # Whatever fails ends all of it: nobody tells on without end.
    async with asyncio.TaskGroup() as telling:
        watching = telling.create_task(health.watch())
        for each in open_ones:
            telling.create_task(_tell_without_end(*each, traffic, enough))
        for _ in range(brief):
            await _more(traffic, 60)
            server.kill()
        for _ in range(long):
            await _more(traffic, 60)
            server.hold()
            server.kill()
            await _refused_and_said_so(health, traffic)
            server.let_go()
        await _more(traffic, 60)
        enough.set()
        health.ready.clear()

        async def ready() -> bool:
            return health.says_ready

        await until("the service says that it is ready", ready)
        watching.cancel()
    assert health.alive == {200}, "the process itself was well all the time"
    for dreamer, conversation_id in open_ones:
        await dreamer.post(f"/conversations/{conversation_id}/end")
    return traffic.acknowledged.count


async def _refused_and_said_so(health: Health, traffic: Traffic) -> None:
    known = len(traffic.refusals)

    async def both() -> bool:
        return health.says_away and len(traffic.refusals) > known

    await until("readyz and callers hear that the database is away", both)


async def _is_killed(
    server: Postgres, oneiro: House, traffic: Traffic, sign_in: SignIn, settle: Settle, *, rounds: int, long: int
) -> None:
    await oneiro.engine()
    service = await oneiro.serve()
    traffic.door.opens(service.url)
    for _ in range(rounds):
        await _kill_while_written(server, service, traffic, sign_in, brief=1, long=long)
    assert set(traffic.answers) <= {200, 201, 202, 503}, "never a 500"
    assert all(map(_refused_well, traffic.refusals))
    assert traffic.broken == 0, "no connection of a caller broke"
    await settle(traffic.acknowledged)


async def test_writers_hear_of_it_and_lose_nothing(
    server: Postgres, oneiro: House, traffic: Traffic, sign_in: SignIn, settle: Settle
) -> None:
    await _is_killed(server, oneiro, traffic, sign_in, settle, rounds=1, long=1)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_a_postgresql_that_is_killed_all_the_time_loses_nothing(
    server: Postgres, oneiro: House, traffic: Traffic, sign_in: SignIn, settle: Settle
) -> None:
    await _is_killed(server, oneiro, traffic, sign_in, settle, rounds=6, long=2)
