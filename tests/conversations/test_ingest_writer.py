"""The writer by itself: what it writes into is a list here, so that each commit can be held and looked at."""

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest

from oneiro.conversations.ingest.models import Line, Outcome
from oneiro.conversations.ingest.writer import IngestBusy, Writer
from oneiro.safety.crisis import Tier

WRITTEN = Outcome(status="active", paused=False, transport="direct", region=None, stored=True, corrected=False)


def line(content: str = "A heron.", *, tier: Tier = Tier.none, conversation: UUID | None = None) -> Line:
    return Line(
        conversation_id=conversation or uuid4(),
        user_id=uuid4(),
        event_id=uuid4().hex,
        sender="user",
        content=content,
        occurred_at=datetime(2026, 11, 23, tzinfo=UTC),
        metadata="{}",
        tier=tier,
    )


class Commits:
    """Keeps each batch; a commit lasts until `open` is set."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.open = asyncio.Event()
        self.began = asyncio.Event()

    async def write(self, lines: list[Line]) -> list[Outcome]:
        self.batches.append([line.content for line in lines])
        self.began.set()
        await self.open.wait()
        if any(line.content == "poison" for line in lines):
            raise psycopg.DataError("a row that could not be")
        return [WRITTEN for _ in lines]


async def test_what_arrives_during_a_commit_goes_into_the_next_one_together() -> None:
    commits = Commits()
    writer = Writer(commits.write)
    first = asyncio.create_task(writer.submit([line("first")]))
    await commits.began.wait()
    later = [asyncio.create_task(writer.submit([line(f"later {place}")])) for place in range(5)]
    await asyncio.sleep(0)
    commits.open.set()

    await asyncio.gather(first, *later)

    assert commits.batches == [["first"], [f"later {place}" for place in range(5)]]


async def test_nothing_is_acknowledged_before_the_commit() -> None:
    commits = Commits()
    report = asyncio.create_task(Writer(commits.write).submit([line()]))
    await commits.began.wait()
    await asyncio.sleep(0)

    assert not report.done()
    commits.open.set()
    assert await report == [WRITTEN]


async def test_a_full_queue_turns_lines_away_and_takes_them_again_when_there_is_room() -> None:
    commits = Commits()
    writer = Writer(commits.write, room=2_000)
    first = asyncio.create_task(writer.submit([line("x" * 1500)]))
    await commits.began.wait()

    with pytest.raises(IngestBusy) as refused:
        await writer.submit([line("x" * 500)])

    assert (refused.value.status, refused.value.code, refused.value.retryable) == (503, "ingest_busy", True)
    assert refused.value.retry_after
    commits.open.set()
    await first
    await asyncio.sleep(0)
    assert await writer.submit([line("x" * 500)]) == [WRITTEN]


async def test_a_line_that_tells_of_danger_finds_room_in_a_full_queue() -> None:
    commits = Commits()
    writer = Writer(commits.write, room=2_000)
    first = asyncio.create_task(writer.submit([line("x" * 1500)]))
    await commits.began.wait()

    grave = asyncio.create_task(writer.submit([line("x" * 500, tier=Tier.active_danger)]))
    await asyncio.sleep(0)
    commits.open.set()

    assert list(await asyncio.gather(first, grave)) == [[WRITTEN], [WRITTEN]]


async def test_a_line_that_the_database_refuses_fails_alone() -> None:
    commits = Commits()
    writer = Writer(commits.write)
    first = asyncio.create_task(writer.submit([line("first")]))
    await commits.began.wait()
    good, bad = (asyncio.create_task(writer.submit([line(content)])) for content in ("good", "poison"))
    await asyncio.sleep(0)
    commits.open.set()

    found = list(await asyncio.gather(first, good, bad, return_exceptions=True))

    assert found[:2] == [[WRITTEN], [WRITTEN]]
    assert isinstance(found[2], psycopg.DataError)


async def test_a_caller_who_went_away_holds_nobody_up() -> None:
    commits = Commits()
    writer = Writer(commits.write)
    gone, stays = (asyncio.create_task(writer.submit([line(content)])) for content in ("gone", "stays"))
    await commits.began.wait()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    commits.open.set()

    assert await stays == [WRITTEN]
    assert gone.cancelled()


async def test_a_batch_is_bounded() -> None:
    commits = Commits()
    writer = Writer(commits.write)
    commits.open.set()

    await asyncio.gather(*(writer.submit([line() for _ in range(90)]) for _ in range(12)))

    assert sum(map(len, commits.batches)) == 12 * 90
    assert max(map(len, commits.batches)) <= 500
