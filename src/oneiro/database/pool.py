"""Connections and transactions: as a dreamer (row-level security decides) or as the service."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import Escaping
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from oneiro import tracing
from oneiro.errors import OneiroError

Connection = AsyncConnection[TupleRow]

SERVICE_CLAIMS = json.dumps({"role": "service_role"})
_CHANGES: Final = b"BEGIN"
_SNAPSHOT: Final = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class DatabaseUnavailable(OneiroError):
    """PostgreSQL cannot be reached just now; whether a change that was being committed was kept is not known."""

    status = 503
    title = "The database is not available"
    code = "database_unavailable"
    retryable = True

    def __init__(self) -> None:
        super().__init__("The database is not available just now. Please try again.", retry_after=2.0)


class Database:
    """A pool for one database; every transaction takes a role of its own.

    The login role has no rights: each transaction sets `authenticated` with the dreamer's claims, or
    `service_role`, for itself alone (`SET LOCAL` by `set_config`), so that a forgotten role can read nothing.
    `committed` is told of each connection whose transaction was just committed.
    """

    def __init__(
        self,
        url: str,
        *,
        max_size: int = 16,
        timeout: float = 5.0,
        committed: Callable[[Connection], None] = lambda _conn: None,
    ) -> None:
        self._max_size = max_size
        self._committed = committed
        self._pool = AsyncConnectionPool(
            url,
            min_size=1,
            max_size=max_size,
            timeout=timeout,
            open=False,
            kwargs={"autocommit": True},
            name="oneiro",
        )

    async def open(self) -> None:
        """Open the pool; raises `DatabaseUnavailable` when no connection comes up in time."""
        try:
            await self._pool.open(wait=True, timeout=10.0)
        except PoolTimeout:
            await self._pool.close()
            raise DatabaseUnavailable from None

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    @asynccontextmanager
    async def as_dreamer(self, claims: Mapping[str, Any], *, snapshot: bool = False) -> AsyncIterator[Connection]:
        """Run one transaction as `authenticated` with these claims: RLS shows the dreamer her own rows.

        With `snapshot` it only reads, and all of it as it was at one moment.
        """
        async with self._transaction("authenticated", json.dumps(dict(claims)), snapshot=snapshot) as conn:
            yield conn

    @asynccontextmanager
    async def as_service(self, *, snapshot: bool = False) -> AsyncIterator[Connection]:
        """Run one transaction as `service_role`, which may see everything: statements must name the owner.

        With `snapshot` it only reads, and all of it as it was at one moment.
        """
        async with self._transaction("service_role", SERVICE_CLAIMS, snapshot=snapshot) as conn:
            yield conn

    @asynccontextmanager
    async def _transaction(self, role: str, claims: str, *, snapshot: bool) -> AsyncIterator[Connection]:
        conn = await self._begin(role, claims, _SNAPSHOT if snapshot else _CHANGES)
        try:
            yield conn
            await conn.execute("COMMIT")
            self._committed(conn)
        except psycopg.OperationalError:
            raise DatabaseUnavailable from None
        finally:
            # The pool rolls back what is still open, and drops a connection that is broken.
            await self._pool.putconn(conn)

    async def _begin(self, role: str, claims: str, begin: bytes) -> Connection:
        # After a restart of PostgreSQL every pooled connection is dead; each failed one is dropped by the pool, so
        # one try more than the pool is large reaches a new connection or shows that the server is away.
        for _ in range(self._max_size + 1):
            try:
                conn = await self._pool.getconn()
            except PoolTimeout:
                break
            if await self._take_role(conn, role, claims, begin):
                return conn
        raise DatabaseUnavailable

    async def _take_role(self, conn: Connection, role: str, claims: str, begin: bytes) -> bool:
        try:
            await conn.execute(_begun(conn, role, claims, begin))
        except psycopg.OperationalError:
            await self._pool.putconn(conn)
            return False
        except BaseException:
            await self._pool.putconn(conn)
            raise
        return True


def _begun(conn: Connection, role: str, claims: str, begin: bytes) -> bytes:
    """The beginning of a transaction as one message, a round trip less; libpq quotes the values of such a message."""
    settings = [(b"role", role), (b"request.jwt.claims", claims)]
    place = tracing.traceparent()
    if place is not None:
        settings.append((b"oneiro.traceparent", place))
    quoted = Escaping(conn.pgconn).escape_literal
    return (
        begin
        + b"; SELECT "
        + b", ".join(b"set_config('%s', %s, true)" % (name, quoted(value.encode())) for name, value in settings)
    )
