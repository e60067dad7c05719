"""One writer for a process: while a commit runs, lines gather; then all of them go into the next transaction."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import psycopg

from oneiro.conversations.ingest.models import Line, Outcome
from oneiro.errors import OneiroError
from oneiro.safety.crisis import Tier

# Bounds of a transaction and of what waits for one. A process that cannot write keeps at most so much in memory.
MOST_LINES: Final = 500
ROOM: Final = 8_000_000  # characters

Write = Callable[[list[Line]], Awaitable[list[Outcome]]]


class IngestBusy(OneiroError):
    """More lines arrive than can be written; nothing of the request was kept."""

    status = 503
    title = "Too many lines are waiting to be written"
    code = "ingest_busy"
    retryable = True


class _Report:
    """Lines that are acknowledged together."""

    __slots__ = ("done", "lines")

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines
        self.done: asyncio.Future[list[Outcome]] = asyncio.get_running_loop().create_future()


class Writer:
    """Gathers what arrives and writes it in order of arrival; `write` must write all lines or none.

    There is a task only while there is something to write, so a process that stops has nothing to close: every line
    has its request, which waits.
    """

    def __init__(self, write: Write, *, room: int = ROOM) -> None:
        self._write = write
        self._room = room
        self._waiting: deque[_Report] = deque()
        self._weight = 0
        self._task: asyncio.Task[None] | None = None

    async def submit(self, lines: list[Line]) -> list[Outcome]:
        """Write lines and return what came of each once they are committed.

        Raises `IngestBusy` when the room is full; lines that tell of danger find room even then.
        """
        weight = sum(line.weight for line in lines)
        grave = any(line.tier.rank >= Tier.passive_ideation.rank for line in lines)
        if self._weight + weight > self._room * (2 if grave else 1):
            raise IngestBusy("The line could not be kept just now. Please send it again.", retry_after=1.0)
        report = _Report(lines)
        self._waiting.append(report)
        self._weight += weight
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name="ingest")
        return await report.done

    async def _drain(self) -> None:
        while self._waiting:
            batch = self._next()
            await self._commit(batch)
            self._weight -= sum(line.weight for report in batch for line in report.lines)

    def _next(self) -> list[_Report]:
        batch = [self._waiting.popleft()]
        lines = len(batch[0].lines)
        while self._waiting and lines + len(self._waiting[0].lines) <= MOST_LINES:
            batch.append(self._waiting.popleft())
            lines += len(batch[-1].lines)
        return batch

    async def _commit(self, batch: list[_Report]) -> None:
        try:
            outcomes = await self._write([line for report in batch for line in report.lines])
        except (psycopg.DataError, psycopg.IntegrityError) as error:
            # Lines are checked before, so this is a fault of ours; it must not cost the others theirs.
            if len(batch) > 1:
                for report in batch:
                    await self._commit([report])
            else:
                _fail(batch, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, each caller has to hear of it.
            _fail(batch, error)
        else:
            for report in batch:
                found, outcomes = outcomes[: len(report.lines)], outcomes[len(report.lines) :]
                if not report.done.done():
                    report.done.set_result(found)


def _fail(batch: list[_Report], error: Exception) -> None:
    for report in batch:
        if not report.done.done():
            report.done.set_exception(error)
