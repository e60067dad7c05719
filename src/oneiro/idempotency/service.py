"""Claim a key, keep the answer, or give the key back."""

import hashlib
import json
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import Header

from oneiro.database.pool import Connection
from oneiro.errors import Conflict, ValidationError
from oneiro.idempotency import store

LONGEST_KEY: Final = 200
IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=LONGEST_KEY, description="Same key and body: same answer, for 24 h.")
]


@dataclass(frozen=True, slots=True)
class Once:
    """One request that is to be done once; without a key every call does its work."""

    user_id: UUID
    route: str
    key: str | None
    body_sha256: str

    async def claim(self, conn: Connection) -> dict[str, Any] | None:
        """The answer of an earlier request with this key, or None when this one is the first.

        Raises `ValidationError` when the key came with another body, `Conflict` while the first one still runs.
        """
        if self.key is None or await store.insert(conn, self.user_id, self.key, self.route, self.body_sha256):
            return None
        known = await store.find(conn, self.user_id, self.key, self.route)
        if known is not None and known["body_sha256"] != self.body_sha256:
            raise ValidationError(
                "This Idempotency-Key was sent before with another body.",
                code="idempotency_key_reused",
                errors=[{"field": "Idempotency-Key", "message": "was used for another body"}],
            )
        if known is None or known["response"] is None:
            raise Conflict("The same request is still being worked on.", code="request_in_progress", retryable=True)
        response: dict[str, Any] = known["response"]
        return response

    async def keep(self, conn: Connection, response: dict[str, Any]) -> None:
        """Keep the answer for later requests with this key."""
        if self.key is not None:
            await store.update(conn, self.user_id, self.key, self.route, response)

    async def release(self, conn: Connection) -> None:
        """Give the key back after a failure."""
        if self.key is not None:
            await store.delete(conn, self.user_id, self.key, self.route)


def once(user_id: UUID, route: str, key: str | None, body: dict[str, Any]) -> Once:
    """The request as `Once` knows it: whose, where, which key, which body."""
    digest = hashlib.sha256(json.dumps(body, sort_keys=True, default=str).encode()).hexdigest()
    return Once(user_id, route, key, digest)
