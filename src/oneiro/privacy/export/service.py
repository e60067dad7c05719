"""Writes an export beside the request, then hands it out: no transaction waits for who reads slowly."""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from tempfile import SpooledTemporaryFile
from typing import Any, Final
from uuid import UUID

from psycopg.sql import SQL

from oneiro.auth import Identity
from oneiro.database.pool import Connection, Database
from oneiro.dreamers import store as dreamers
from oneiro.errors import NotFound, TooMany
from oneiro.privacy.events import record
from oneiro.privacy.export import store
from oneiro.privacy.export.models import VERSION

IN_MEMORY: Final = 1024 * 1024
"""Larger exports go to a file without a name, which is gone with the request."""
AT_ONCE: Final = 2
"""Exports that a process writes at a time: each holds a connection of the pool."""
_CHUNK: Final = 64 * 1024

File = SpooledTemporaryFile[bytes]


@dataclass(frozen=True, slots=True)
class Written:
    """An export that is complete."""

    file: File
    size: int
    exported_at: datetime

    def chunks(self) -> Iterator[bytes]:
        """Its bytes from the beginning; whoever takes them closes the file."""
        self.file.seek(0)
        while chunk := self.file.read(_CHUNK):
            yield chunk


class Exports:
    """Exports of dreamers, `AT_ONCE` at a time."""

    def __init__(self, db: Database, *, clock: Callable[[], datetime]) -> None:
        self._db, self._clock = db, clock
        self._room = asyncio.Semaphore(AT_ONCE)

    async def own(self, caller: Identity) -> Written:
        """Everything we have of the caller; raises `TooMany` while others are being written."""
        async with self._db.as_service() as conn:
            await dreamers.insert(conn, caller.dreamer())
        return await self._export(caller.dreamer(), caller.claims, None)

    async def of(self, user_id: UUID, *, by: str) -> Written:
        """The same of anybody, for the operator `by`; that it was seen is noted before it is handed out."""
        return await self._export(user_id, {"role": "authenticated", "sub": str(user_id)}, by)

    async def _export(self, user_id: UUID, claims: Mapping[str, Any], by: str | None) -> Written:
        if self._room.locked():
            raise TooMany("Others are being exported just now. Please try again.", code="rate_limited", retry_after=5.0)
        async with self._room:
            file: File = SpooledTemporaryFile(max_size=IN_MEMORY)  # noqa: SIM115 - whoever hands it out closes it.
            try:
                now = self._clock()
                await self._write(file, user_id, claims, now)
                await self._note(user_id, by)
            except BaseException:
                file.close()
                raise
            return Written(file, file.tell(), now)

    async def _write(self, file: File, user_id: UUID, claims: Mapping[str, Any], now: datetime) -> None:
        head = {"format": "oneiro.export", "version": VERSION, "exported_at": now.isoformat()}
        file.write(json.dumps(head)[:-1].encode())
        async with self._db.as_dreamer(claims, snapshot=True) as conn:
            profile = await _first(conn, user_id)
            if profile is None:
                raise _missing()
            file.write(b',\n"profile": ' + profile.encode())
            for name, section in store.HERS.items():
                await _list(file, conn, name, section, user_id)
        async with self._db.as_service(snapshot=True) as conn:
            for name, section in store.OF_HER.items():
                await _list(file, conn, name, section, user_id)
        file.write(b"}\n")

    async def _note(self, user_id: UUID, by: str | None) -> None:
        async with self._db.as_service() as conn:
            if not await dreamers.hold(conn, user_id):
                raise _missing()
            if by is not None:
                await record(conn, "operator.viewed", user_id, {"what": "export", "by": by})
            await record(conn, "dreamer.exported", user_id, {"by": by or "dreamer"})


async def _first(conn: Connection, user_id: UUID) -> str | None:
    async with aclosing(store.rows(conn, store.PROFILE, user_id)) as rows:
        return await anext(rows, None)


async def _list(file: File, conn: Connection, name: str, section: SQL, user_id: UUID) -> None:
    file.write(f',\n"{name}": ['.encode())
    between = b"\n"
    async with aclosing(store.rows(conn, section, user_id)) as rows:
        async for row in rows:
            file.write(between + row.encode())
            between = b",\n"
    file.write(b"]")


def _missing() -> NotFound:
    return NotFound("There is no such dreamer.", code="dreamer_not_found")
