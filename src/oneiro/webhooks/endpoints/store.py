"""The rows of `webhook_endpoints`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row
from psycopg.sql import SQL

from oneiro.database.pool import Connection
from oneiro.http import Cursor
from oneiro.webhooks.endpoints.models import Endpoint

ENDPOINT = SQL(
    """
    id, url, description, event_types, is_active, consecutive_failures, last_success_at,
    CASE WHEN rests_until IS NULL THEN 'closed' WHEN breaker_probes > 0 THEN 'half-open' ELSE 'open' END AS breaker,
    rests_until, disabled_at, disabled_reason, previous_secret_until, created_by, created_at, updated_at
    """
)


@dataclass(frozen=True, slots=True)
class NewRow:
    """An endpoint's row at its beginning."""

    url: str
    description: str
    event_types: list[str]
    secret: str
    created_by: str


async def insert(conn: Connection, new: NewRow) -> Endpoint:
    """Insert an endpoint."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        await cursor.execute(
            SQL("""
            INSERT INTO webhook_endpoints (url, description, event_types, secret, created_by)
            VALUES (%s, %s, %s, %s, %s)
            RETURNING {endpoint}
            """).format(endpoint=ENDPOINT),
            (new.url, new.description, new.event_types, new.secret, new.created_by),
        )
        made = await cursor.fetchone()
    assert made is not None
    return made


async def count(conn: Connection) -> int:
    """How many endpoints there are; nobody adds one until this transaction ends."""
    await conn.execute("LOCK TABLE webhook_endpoints IN SHARE ROW EXCLUSIVE MODE")
    cursor = await conn.execute("SELECT count(*) FROM webhook_endpoints")
    row = await cursor.fetchone()
    assert row is not None
    found: int = row[0]
    return found


async def find(conn: Connection, endpoint_id: UUID) -> Endpoint | None:
    """One endpoint."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        await cursor.execute(
            SQL("""
            SELECT {endpoint} FROM webhook_endpoints WHERE id = %s
            """).format(endpoint=ENDPOINT),
            (endpoint_id,),
        )
        return await cursor.fetchone()


async def select(conn: Connection, limit: int, after: Cursor | None) -> list[Endpoint]:
    """Endpoints, newest first, after a cursor."""
    async with conn.cursor(row_factory=class_row(Endpoint)) as cursor:
        await cursor.execute(
            SQL("""
            SELECT {endpoint} FROM webhook_endpoints
            WHERE %(at)s::timestamptz IS NULL OR (created_at, id) < (%(at)s, %(id)s::uuid)
            ORDER BY created_at DESC, id DESC LIMIT %(limit)s
            """).format(endpoint=ENDPOINT),
            {"at": after and after.at, "id": after and after.uuid, "limit": limit},
        )
        return await cursor.fetchall()


async def update(
    conn: Connection, endpoint_id: UUID, url: str | None, description: str | None, event_types: Sequence[str] | None
) -> None:
    """Change what is given."""
    await conn.execute(
        """
        UPDATE webhook_endpoints
        SET url = coalesce(%s, url), description = coalesce(%s, description),
            event_types = coalesce(%s::text[], event_types)
        WHERE id = %s
        """,
        (url, description, None if event_types is None else list(event_types), endpoint_id),
    )


async def enable(conn: Connection, endpoint_id: UUID) -> None:
    """Send to an endpoint again, as if nothing had failed."""
    await conn.execute(
        """
        UPDATE webhook_endpoints
        SET is_active = true, consecutive_failures = 0, disabled_at = NULL, disabled_reason = NULL
        WHERE id = %s AND NOT is_active
        """,
        (endpoint_id,),
    )


async def wake(conn: Connection, endpoint_id: UUID) -> bool:
    """Close an endpoint's breaker and forget its faults; false when it was closed."""
    cursor = await conn.execute(
        """
        UPDATE webhook_endpoints AS e SET breaker_faults = 0, breaker_probes = 0, rests_until = NULL
        FROM (SELECT id, rests_until FROM webhook_endpoints WHERE id = %s FOR NO KEY UPDATE) AS was
        WHERE e.id = was.id AND (e.breaker_faults > 0 OR was.rests_until IS NOT NULL)
        RETURNING was.rests_until IS NOT NULL
        """,
        (endpoint_id,),
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def disable(conn: Connection, endpoint_id: UUID, reason: str | None, now: datetime) -> bool:
    """Send nothing more and give up what waits; false when that was so already."""
    result = await conn.execute(
        """
        UPDATE webhook_endpoints SET is_active = false, disabled_at = %s, disabled_reason = %s
        WHERE id = %s AND is_active
        """,
        (now, reason, endpoint_id),
    )
    await conn.execute(
        """
        UPDATE webhook_deliveries
        SET state = 'dead', next_attempt_at = NULL, lease_owner = NULL, lease_until = NULL
        WHERE endpoint_id = %s AND state = 'pending'
        """,
        (endpoint_id,),
    )
    return result.rowcount == 1


async def rotate(conn: Connection, endpoint_id: UUID, secret: str, both_until: datetime) -> bool:
    """Sign with another secret, and with the old one as well until then; false when there is no such endpoint."""
    result = await conn.execute(
        """
        UPDATE webhook_endpoints SET previous_secret = secret, previous_secret_until = %s, secret = %s WHERE id = %s
        """,
        (both_until, secret, endpoint_id),
    )
    return result.rowcount == 1


async def delete(conn: Connection, endpoint_id: UUID) -> bool:
    """Delete an endpoint with the log of its deliveries; false when there is none."""
    result = await conn.execute("DELETE FROM webhook_endpoints WHERE id = %s", (endpoint_id,))
    return result.rowcount == 1
