"""What a dreamer can see and change of herself."""

from collections.abc import Callable
from datetime import datetime

from oneiro.auth import Identity
from oneiro.database.pool import Database
from oneiro.dreamers import store
from oneiro.dreamers.models import Dreamer, DreamerChange
from oneiro.errors import NotFound, ValidationError


class Dreamers:
    """Profiles: made on the first request, read and changed by the dreamer herself."""

    def __init__(self, db: Database, *, languages: list[str], clock: Callable[[], datetime]) -> None:
        self._db = db
        self._languages = languages
        self._clock = clock

    async def me(self, caller: Identity) -> Dreamer:
        """The caller's profile; her row is made when there is none."""
        user_id = caller.dreamer()
        async with self._db.as_dreamer(caller.claims) as conn:
            known = await store.find(conn, user_id, self._clock())
        if known is not None:
            return known
        async with self._db.as_service() as conn:
            await store.insert(conn, user_id)
            made = await store.find(conn, user_id, self._clock())
        if made is None:
            raise NotFound("The profile was deleted just now.", code="dreamer_not_found")
        return made

    async def change(self, caller: Identity, change: DreamerChange) -> Dreamer:
        """Change the fields that were sent; raises `ValidationError` for a language that is not offered."""
        if change.language is not None and change.language not in self._languages:
            raise ValidationError(
                f"The language is not offered here; choose from: {', '.join(self._languages)}.",
                errors=[{"field": "language", "message": "is not offered"}],
            )
        await self.me(caller)
        async with self._db.as_dreamer(caller.claims) as conn:
            await store.lock(conn, caller.dreamer())
            dreamer = await store.find(conn, caller.dreamer(), self._clock())
            if dreamer is None:
                raise NotFound("The profile was deleted just now.", code="dreamer_not_found")
            changed = _changed(dreamer, change)
            await store.update(conn, changed)
        return changed


def _changed(dreamer: Dreamer, change: DreamerChange) -> Dreamer:
    fields = change.model_dump(exclude_unset=True, exclude={"consents"})
    # A language is never null: leaving it out and sending null are the same.
    if fields.get("language", "") is None:
        del fields["language"]
    consents = change.consents.model_dump(exclude_none=True) if change.consents else {}
    return dreamer.model_copy(update={**fields, "consents": dreamer.consents.model_copy(update=consents)})
