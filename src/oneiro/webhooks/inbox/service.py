"""Takes the platform's webhooks in: checked, kept once, handled by a job."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from oneiro.database.pool import Database
from oneiro.errors import NotFound, TooLarge
from oneiro.events import outbox
from oneiro.jobs.queue import enqueue
from oneiro.webhooks.inbox import letter, store
from oneiro.webhooks.inbox.signature import verify

PATH: Final = "/webhooks/elevenlabs"
MAX_BODY: Final = 32 * 1024 * 1024
"""The platform sends sound, too, as base64."""
HANDLE: Final = "webhook.handle"
"""The job; its payload is `{"inbox_id": …}`."""
GIVEN_UP: Final = timedelta(days=2)
"""After which a webhook that nobody could handle is forgotten; the reconciler has asked for it long before."""
KEPT: Final = timedelta(days=30)
"""How long we remember that a webhook came, so that it is not taken twice."""
_BATCH: Final = 1000


class Inbox:
    """What the voice platform sends us; without a secret there is no such address."""

    def __init__(self, db: Database, *, secret: str | None, clock: Callable[[], datetime]) -> None:
        self._db, self._secret, self._clock = db, secret, clock

    async def receive(self, signature: str | None, raw: bytes) -> bool:
        """Keep a webhook; false when it came before.

        Raises `NotFound` without a secret, `TooLarge`, `Unauthenticated` for a signature that does not hold,
        `ValidationError` for a body that is no JSON object.
        """
        if not self._secret:
            raise NotFound("There is no such page.")
        if len(raw) > MAX_BODY:
            raise TooLarge(f"The body may have at most {MAX_BODY} bytes.")
        now = self._clock()
        # A large body takes tenths of a second: not in the event loop.
        await asyncio.to_thread(verify, self._secret, signature, raw, now)
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
