"""Lets operators look at dreamers and permit them interpreters, and notes each in the transaction that does it."""

from uuid import UUID

from oneiro.auth import Identity
from oneiro.database.pool import Connection, Database
from oneiro.errors import NotFound, ValidationError
from oneiro.events import outbox
from oneiro.http import Cursor, ListOf, Page
from oneiro.privacy.events import record
from oneiro.privacy.operators import store
from oneiro.privacy.operators.models import DreamerDetail, DreamerItem, DreamerPermissions


class DreamersForOperators:
    """Dreamers as operators see them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def list(self, caller: Identity, page: Page) -> ListOf[DreamerItem]:
        """A page of dreamers, the newest first."""
        async with self._db.as_service() as conn:
            found = await store.select(conn, page.limit + 1, page.cursor)
            data = {"what": "dreamers", "by": caller.actor, "count": len(found[: page.limit])}
            await outbox.record(conn, "operator.viewed", entity_type="dreamer", entity_id="", data=data)
        items = found[: page.limit]
        more = Cursor(items[-1].created_at, str(items[-1].user_id)).encode() if len(found) > page.limit else None
        return ListOf(items=items, next_cursor=more)

    async def read(self, caller: Identity, user_id: UUID) -> DreamerDetail:
        """One dreamer; raises `NotFound`."""
        async with self._db.as_service() as conn:
            return await _seen(conn, caller, user_id)

    async def permit(self, caller: Identity, user_id: UUID, change: DreamerPermissions) -> DreamerDetail:
        """Say whom she may talk to; a repeat changes nothing, and the answer is a look at her.

        Raises `ValidationError` for an interpreter that does not exist, and `NotFound`.
        """
        async with self._db.as_service() as conn:
            allowed = change.allowed_interpreters
            if lacking := await store.unknown(conn, allowed or []):
                raise ValidationError(
                    "There are no such interpreters.",
                    errors=[{"field": "allowed_interpreters", "message": f"{len(lacking)} of these do not exist"}],
                )
            if await store.permit(conn, user_id, allowed):
                await record(conn, "dreamer.permitted", user_id, {"allowed": allowed, "by": caller.actor})
            return await _seen(conn, caller, user_id)


async def _seen(conn: Connection, caller: Identity, user_id: UUID) -> DreamerDetail:
    found = await store.find(conn, user_id)
    if found is None:
        raise NotFound("There is no such dreamer.", code="dreamer_not_found")
    await record(conn, "operator.viewed", user_id, {"what": "dreamer", "by": caller.actor})
    return found
