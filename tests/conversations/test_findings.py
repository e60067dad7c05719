"""Findings that could not be written with their lines."""

import asyncio
from uuid import UUID, uuid4

from oneiro.conversations.relayed.findings import MOST, Finding, Findings
from oneiro.database.pool import DatabaseUnavailable
from oneiro.safety.crisis import Tier

CONVERSATION, DREAMER = uuid4(), UUID(int=7)


def finding(number: int) -> Finding:
    return Finding(CONVERSATION, DREAMER, f"1:user:{number}", Tier.active_danger)


class Log:
    """Keeps what it is told, once the database is there."""

    def __init__(self, away: int = 0, *, refused: int | None = None) -> None:
        self.away, self.refused = away, refused
        self.told: list[str] = []

    async def tell(self, one: Finding) -> None:
        if self.away > 0:
            self.away -= 1
            raise DatabaseUnavailable
        if one.event_id == f"1:user:{self.refused}":
            raise ValueError("this one cannot be written")
        self.told.append(one.event_id)


async def all_told(findings: Findings) -> None:
    async with asyncio.timeout(10):
        while findings.owed:  # noqa: ASYNC110 - a count sets no event.
            await asyncio.sleep(0.005)


async def test_what_is_owed_is_told_once_when_the_database_is_back() -> None:
    log = Log(away=3)
    findings = Findings(log.tell, pause=0.001)
    findings.owe([finding(1), finding(2)])
    findings.owe([finding(2)])
    await all_told(findings)
    findings.owe([finding(1)])
    await all_told(findings)
    assert log.told == ["1:user:1", "1:user:2"]
    assert findings.told(finding(1).key)


async def test_what_was_written_with_its_line_is_not_told_again() -> None:
    log = Log()
    findings = Findings(log.tell, pause=0.01)
    findings.owe([finding(1), finding(2)])
    findings.settle([finding(1).key])
    await all_told(findings)
    assert log.told == ["1:user:2"]


async def test_one_that_cannot_be_written_keeps_no_other_waiting() -> None:
    log = Log(refused=1)
    findings = Findings(log.tell, pause=0.001)
    findings.owe([finding(1), finding(2)])
    await all_told(findings)
    assert log.told == ["1:user:2"]


async def test_no_more_are_kept_than_there_is_room_for() -> None:
    log = Log()
    findings = Findings(log.tell, pause=0.001)
    findings.owe(finding(number) for number in range(MOST + 5))
    assert findings.owed == MOST
    await all_told(findings)
    assert log.told[0] == "1:user:5", "the oldest are let go"
