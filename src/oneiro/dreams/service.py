"""The journal: write a dream down, read, change and delete it."""

from uuid import UUID

from oneiro.auth import Identity
from oneiro.database.pool import Database
from oneiro.dreamers import store as dreamers
from oneiro.dreams import store
from oneiro.dreams.models import Dream, DreamChange, NewDream
from oneiro.errors import NotFound
from oneiro.http import Cursor, ListOf, Page
from oneiro.idempotency.service import Once


class Dreams:
    """Dreams of a dreamer; another dreamer's are not found."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def write(self, caller: Identity, new: NewDream, request: Once) -> Dream:
        """Write a dream down, once for each idempotency key."""
        async with self._db.as_service() as conn:
            await dreamers.insert(conn, caller.dreamer())
            earlier = await request.claim(conn)
            if earlier is not None:
                return Dream.model_validate(earlier)
            dream = await store.insert(conn, caller.dreamer(), new)
            await request.keep(conn, dream.model_dump(mode="json"))
        return dream

    async def read(self, caller: Identity, dream_id: UUID) -> Dream:
        """One dream; raises `NotFound` unless it is the caller's."""
        async with self._db.as_dreamer(caller.claims) as conn:
            dream = await store.find(conn, caller.dreamer(), dream_id)
        if dream is None:
            raise _missing()
        return dream

    async def list(self, caller: Identity, page: Page) -> ListOf[Dream]:
        """A page of the journal, newest first."""
        async with self._db.as_dreamer(caller.claims) as conn:
            found = await store.select(conn, caller.dreamer(), page.limit + 1, page.cursor)
        items = found[: page.limit]
        more = Cursor(items[-1].created_at, str(items[-1].id)).encode() if len(found) > page.limit else None
        return ListOf(items=items, next_cursor=more)

    async def change(self, caller: Identity, dream_id: UUID, change: DreamChange) -> Dream:
        """Change the fields that were sent."""
        async with self._db.as_dreamer(caller.claims) as conn:
            await store.lock(conn, caller.dreamer(), dream_id)
            dream = await store.find(conn, caller.dreamer(), dream_id)
            if dream is None:
                raise _missing()
            changed = dream.model_copy(update=_sent(change))
            updated_at = await store.update(conn, caller.dreamer(), changed)
        if updated_at is None:
            raise _missing()
        return changed.model_copy(update={"updated_at": updated_at})

    async def delete(self, caller: Identity, dream_id: UUID) -> None:
        """Delete a dream; conversations about it stay, without it."""
        async with self._db.as_dreamer(caller.claims) as conn:
            if not await store.delete(conn, caller.dreamer(), dream_id):
                raise _missing()


def _sent(change: DreamChange) -> dict[str, object]:
    # These are never null in a dream: leaving them out and sending null are the same.
    never_null = {"content", "symbols", "status"}
    sent = change.model_dump(exclude_unset=True)
    return {name: value for name, value in sent.items() if value is not None or name not in never_null}


def _missing() -> NotFound:
    return NotFound("There is no such dream in your journal.", code="dream_not_found")
