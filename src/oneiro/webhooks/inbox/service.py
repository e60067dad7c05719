"""Takes the platform's webhooks in: checked, kept once, handled by a job."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Final

from oneiro.database.pool import Database
from oneiro.errors import NotFound, OneiroError
from oneiro.events import outbox
from oneiro.http import MAX_BODY as SMALL
from oneiro.http import too_much
from oneiro.jobs.queue import enqueue
from oneiro.webhooks.inbox import letter, store
from oneiro.webhooks.inbox import signature as signatures

PATH: Final = "/webhooks/elevenlabs"
MAX_BODY: Final = 32 * 1024 * 1024
"""The platform sends sound, too, as base64."""
ROOM: Final = 2 * MAX_BODY
"""What the bodies over `SMALL` that are in memory at a time may declare together; anybody can make us read one."""
READ_SECONDS: Final = 60.0
"""How long a body may take to arrive."""
HANDLE: Final = "webhook.handle"
"""The job; its payload is `{"inbox_id": …}`."""
GIVEN_UP: Final = timedelta(days=2)
"""After which a webhook that nobody could handle is forgotten; the reconciler has asked for it long before."""
KEPT: Final = timedelta(days=30)
"""How long we remember that a webhook came, so that it is not taken twice."""
_BATCH: Final = 1000


class InboxFull(OneiroError):
    """Too many large bodies are being read; the platform sends it again, or the reconciler asks for it."""

    status = 503
    title = "Too many large webhooks at a time"
    code = "inbox_full"
    retryable = True


class Inbox:
    """What the voice platform sends us; without a secret there is no such address."""

    def __init__(self, db: Database, *, secret: str | None, clock: Callable[[], datetime], room: int = ROOM) -> None:
        self._db, self._secret, self._clock, self._room = db, secret, clock, room

    @contextmanager
    def admitted(self, signature: str | None, declared: str | None) -> Iterator[int]:
        """Look at the headers and hold room for the body; gives how many bytes may be read.

        Raises `NotFound` without a secret, `Unauthenticated` for a signature that cannot hold whatever the body is,
        `TooLarge`, and `InboxFull` while large ones take all the room.
        """
        if not self._secret:
            raise NotFound("There is no such page.")
        signatures.read(signature, self._clock())
        length = MAX_BODY if declared is None else int(declared) if declared.isdecimal() else MAX_BODY + 1
        if length > MAX_BODY:
            raise too_much(MAX_BODY)
        # Small ones are bounded as all requests are, so that large ones of a forger do not keep the transcripts out.
        held = length if length > SMALL else 0
        if held > self._room:
            raise InboxFull("Large webhooks take all the room just now. Please send it again.", retry_after=5.0)
        self._room -= held
        try:
            yield length
        finally:
            self._room += held

    async def receive(self, signature: str | None, raw: bytes) -> bool:
        """Keep a webhook; false when it came before.

        Raises `NotFound` without a secret, `Unauthenticated` for a signature that does not hold, `ValidationError`
        for a body that is no JSON object.
        """
        if not self._secret:
            raise NotFound("There is no such page.")
        now = self._clock()
        # A large body takes tenths of a second: not in the event loop.
        await asyncio.to_thread(signatures.verify, self._secret, signature, raw, now)
        received = await asyncio.to_thread(letter.read, raw)
        async with self._db.as_service() as conn:
            inbox_id = await store.insert(conn, received, now)
            if inbox_id is None:
                return False
            data = {"type": received.kind, "elevenlabs_conversation_id": received.conversation_id}
            await outbox.record(conn, "webhook.received", entity_type="webhook", entity_id=str(inbox_id), data=data)
            if received.body is not None:
                await enqueue(conn, HANDLE, {"inbox_id": str(inbox_id)})
        return True

    async def prune(self, now: datetime) -> int:
        """Forget what nobody could handle, and delete what is old; returns how many rows were deleted."""
        async with self._db.as_service() as conn:
            await store.give_up(conn, now - GIVEN_UP, now)
        deleted = 0
        while True:
            async with self._db.as_service() as conn:
                count = await store.delete_old(conn, now - KEPT, _BATCH)
            deleted += count
            if count < _BATCH:
                return deleted
