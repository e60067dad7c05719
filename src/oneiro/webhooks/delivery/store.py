"""The rows of `webhook_deliveries`; what is due and whose lease has lapsed is told by the database's clock."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from oneiro.database.pool import Connection
from oneiro.events.models import Event
from oneiro.http import Cursor
from oneiro.webhooks.delivery.breaker import Breaker
from oneiro.webhooks.endpoints.models import Delivery, DeliveryState


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that this process holds, with all that it needs to be made; `event` as it was recorded."""

    id: UUID
    endpoint_id: UUID
    attempts: int
    created_at: datetime
    url: str
    secret: str
    previous_secret: str | None
    event: Event

    @property
    def signers(self) -> list[str]:
        """The secrets that sign."""
        return [self.secret, *([self.previous_secret] if self.previous_secret else [])]


async def fan_out(conn: Connection, event: Event) -> int:
    """Make a delivery for each endpoint that wants an event and was there when it happened; returns how many."""
    result = await conn.execute(
        """
        INSERT INTO webhook_deliveries (endpoint_id, event_id, position, conversation_id)
        SELECT id, %(event_id)s, %(position)s, %(conversation_id)s FROM webhook_endpoints
        WHERE is_active AND created_at <= %(time)s
          AND (event_types = '{}' OR %(type)s = ANY (event_types))
        ON CONFLICT (endpoint_id, event_id) DO NOTHING
        """,
        {
            "event_id": event.id,
            "position": event.position,
            "conversation_id": event.conversation_id,
            "type": event.type,
            "time": event.time,
        },
    )
    return result.rowcount


async def wanted(conn: Connection, events: Sequence[Event]) -> set[UUID]:
    """Ids of the events that an endpoint may want: nearly always there is none, or it wants a few types."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT DISTINCT v.id FROM unnest(%s::uuid[], %s::text[]) AS v (id, type)
            JOIN webhook_endpoints AS e ON e.is_active AND (e.event_types = '{}' OR v.type = ANY (e.event_types))
            """,
            ([event.id for event in events], [event.type for event in events]),
        )
        return set(await cursor.fetchall())


async def _rested(conn: Connection) -> list[UUID]:
    """Endpoints that failed and may be tried again; held, so that only one process tries them at a time."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT id FROM webhook_endpoints AS e
            WHERE is_active AND rests_until <= clock_timestamp() AND EXISTS (
                SELECT FROM webhook_deliveries
                WHERE endpoint_id = e.id AND state = 'pending' AND next_attempt_at <= clock_timestamp())
            FOR NO KEY UPDATE SKIP LOCKED
            """
        )
        return await cursor.fetchall()


async def claim(conn: Connection, owner: str, limit: int, per_endpoint: int, seconds: float) -> list[Due]:
    """Take what is due, so much for each endpoint that a slow one cannot hold up the others.

    Nothing is taken for an endpoint that rests, and one delivery at a time for one that did. An event waits for an
    earlier one of its conversation at the same endpoint until that was tried once.
    """
    rested = await _rested(conn)
    cursor = await conn.execute(
        """
        WITH due AS (
            SELECT d.id
            FROM webhook_endpoints AS e
            CROSS JOIN LATERAL (
                SELECT count(*) AS held FROM webhook_deliveries
                WHERE endpoint_id = e.id AND state = 'pending' AND lease_until > clock_timestamp()
            ) AS busy
            CROSS JOIN LATERAL (
                SELECT d.id FROM webhook_deliveries AS d
                WHERE d.endpoint_id = e.id AND d.state = 'pending' AND d.next_attempt_at <= clock_timestamp()
                  AND (d.lease_until IS NULL OR d.lease_until < clock_timestamp())
                  AND NOT EXISTS (
                      SELECT FROM webhook_deliveries AS before
                      WHERE before.endpoint_id = d.endpoint_id AND before.conversation_id = d.conversation_id
                        AND before.state = 'pending' AND before.position < d.position AND before.attempts = 0
                  )
                ORDER BY d.next_attempt_at, d.position
                LIMIT greatest(CASE WHEN e.rests_until IS NULL THEN %(per_endpoint)s ELSE 1 END - busy.held, 0)
            ) AS d
            WHERE e.is_active AND (e.rests_until IS NULL OR e.id = ANY (%(rested)s))
        ), free AS (
            SELECT id FROM webhook_deliveries
            WHERE id IN (SELECT id FROM due) AND state = 'pending'
              AND (lease_until IS NULL OR lease_until < clock_timestamp())
            ORDER BY next_attempt_at, position LIMIT %(limit)s
            FOR UPDATE SKIP LOCKED
        ), taken AS (
            UPDATE webhook_deliveries AS d
            SET lease_owner = %(owner)s, lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
            FROM free WHERE d.id = free.id
            RETURNING d.*
        )
        SELECT t.id, t.endpoint_id, t.attempts, t.created_at, e.url, e.secret,
               CASE WHEN e.previous_secret_until > clock_timestamp() THEN e.previous_secret END,
               t.position, v.id, v.event_type, v.entity_type, v.entity_id, v.conversation_id, NULL, v.event_data,
               v.user_id, v.created_at
        FROM taken AS t
        JOIN webhook_endpoints AS e ON e.id = t.endpoint_id
        JOIN system_events AS v ON v.id = t.event_id
        ORDER BY t.position
        """,
        {"owner": owner, "limit": limit, "per_endpoint": per_endpoint, "seconds": seconds, "rested": rested},
    )
    names = ("id", "endpoint_id", "attempts", "created_at", "url", "secret", "previous_secret")
    return [Due(**dict(zip(names, row, strict=False)), event=Event(*row[len(names) :])) async for row in cursor]


async def finish(
    conn: Connection, owner: str, due: Due, state: DeliveryState, retry_in: float | None, attempt: Mapping[str, object]
) -> bool:
    """Note an attempt and what follows from it; false when this process does not hold the delivery any more."""
    result = await conn.execute(
        """
        UPDATE webhook_deliveries
        SET state = %(state)s, attempts = attempts + 1, lease_owner = NULL, lease_until = NULL,
            next_attempt_at = clock_timestamp() + make_interval(secs => %(retry_in)s::float8),
            delivered_at = CASE WHEN %(state)s = 'delivered' THEN clock_timestamp() END,
            attempt_log = CASE WHEN jsonb_array_length(attempt_log) >= 30 THEN attempt_log - 0
                               ELSE attempt_log END || %(attempt)s
        WHERE id = %(id)s AND state = 'pending' AND lease_owner = %(owner)s
        """,
        {"id": due.id, "owner": owner, "state": state, "retry_in": retry_in, "attempt": Jsonb(dict(attempt))},
    )
    return result.rowcount == 1


async def lock_endpoint(conn: Connection, endpoint_id: UUID) -> tuple[Breaker, datetime] | None:
    """Hold an endpoint's row: whoever changes it and its deliveries takes it first; None when it was deleted.

    Gives its breaker, and the database's time, which all processes measure its rest with.
    """
    cursor = await conn.execute(
        """
        SELECT breaker_faults, breaker_probes, rests_until, clock_timestamp() FROM webhook_endpoints WHERE id = %s
        FOR NO KEY UPDATE
        """,
        (endpoint_id,),
    )
    row = await cursor.fetchone()
    return row and (Breaker(*row[:3]), row[3])


async def note_breaker(conn: Connection, endpoint_id: UUID, breaker: Breaker) -> None:
    """Write an endpoint's breaker down."""
    await conn.execute(
        "UPDATE webhook_endpoints SET breaker_faults = %s, breaker_probes = %s, rests_until = %s WHERE id = %s",
        (breaker.faults, breaker.probes, breaker.rests_until, endpoint_id),
    )


async def succeeded(conn: Connection, endpoint_id: UUID) -> None:
    """Note that something got through, at most once a second."""
    await conn.execute(
        """
        UPDATE webhook_endpoints SET consecutive_failures = 0, last_success_at = clock_timestamp()
        WHERE id = %s
          AND (consecutive_failures > 0 OR last_success_at IS NULL
               OR last_success_at < clock_timestamp() - interval '1 second')
        """,
        (endpoint_id,),
    )


async def failed(conn: Connection, endpoint_id: UUID) -> None:
    """Count an attempt that failed."""
    await conn.execute(
        "UPDATE webhook_endpoints SET consecutive_failures = consecutive_failures + 1 WHERE id = %s", (endpoint_id,)
    )


async def postpone(conn: Connection, endpoint_id: UUID, seconds: float) -> None:
    """Leave an endpoint alone for a time: what was due to it before then and is not under way is due then."""
    await conn.execute(
        """
        UPDATE webhook_deliveries SET next_attempt_at = clock_timestamp() + make_interval(secs => %(seconds)s)
        WHERE endpoint_id = %(id)s AND state = 'pending' AND coalesce(lease_until < clock_timestamp(), true)
          AND next_attempt_at < clock_timestamp() + make_interval(secs => %(seconds)s)
        """,
        {"id": endpoint_id, "seconds": seconds},
    )


async def silent_since(conn: Connection, endpoint_id: UUID, since: datetime) -> bool:
    """Whether nothing got through to an endpoint since a time."""
    cursor = await conn.execute(
        "SELECT coalesce(last_success_at < %s, true) FROM webhook_endpoints WHERE id = %s", (since, endpoint_id)
    )
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def give_back(conn: Connection, owner: str) -> None:
    """Let others have what this process holds and will not finish."""
    await conn.execute(
        """
        UPDATE webhook_deliveries SET lease_owner = NULL, lease_until = NULL
        WHERE lease_owner = %s AND state = 'pending'
        """,
        (owner,),
    )


async def select(
    conn: Connection, endpoint_id: UUID, state: DeliveryState | None, limit: int, after: Cursor | None
) -> list[Delivery]:
    """Deliveries of an endpoint, newest first, after a cursor."""
    async with conn.cursor(row_factory=class_row(Delivery)) as cursor:
        await cursor.execute(
            """
            SELECT d.id, d.event_id, v.event_type, d.position, d.state, d.attempts, d.next_attempt_at, d.attempt_log,
                   d.created_at, d.delivered_at
            FROM webhook_deliveries AS d JOIN system_events AS v ON v.id = d.event_id
            WHERE d.endpoint_id = %(endpoint_id)s AND (%(state)s::text IS NULL OR d.state = %(state)s)
              AND (%(at)s::timestamptz IS NULL OR (d.created_at, d.id) < (%(at)s, %(id)s::uuid))
            ORDER BY d.created_at DESC, d.id DESC LIMIT %(limit)s
            """,
            {
                "endpoint_id": endpoint_id,
                "state": state,
                "at": after and after.at,
                "id": after and after.uuid,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def find(conn: Connection, endpoint_id: UUID, delivery_id: UUID) -> Delivery | None:
    """One delivery of an endpoint."""
    async with conn.cursor(row_factory=class_row(Delivery)) as cursor:
        await cursor.execute(
            """
            SELECT d.id, d.event_id, v.event_type, d.position, d.state, d.attempts, d.next_attempt_at, d.attempt_log,
                   d.created_at, d.delivered_at
            FROM webhook_deliveries AS d JOIN system_events AS v ON v.id = d.event_id
            WHERE d.endpoint_id = %s AND d.id = %s
            """,
            (endpoint_id, delivery_id),
        )
        return await cursor.fetchone()


async def requeue(conn: Connection, endpoint_id: UUID, delivery_id: UUID) -> None:
    """Make a delivery due again with all its attempts, whatever came of it; one that is under way stays so."""
    await conn.execute(
        """
        UPDATE webhook_deliveries
        SET state = 'pending', attempts = 0, next_attempt_at = clock_timestamp(), delivered_at = NULL
        WHERE endpoint_id = %s AND id = %s AND coalesce(lease_until < clock_timestamp(), true)
        """,
        (endpoint_id, delivery_id),
    )


async def requeue_dead(conn: Connection, endpoint_id: UUID, since: datetime) -> int:
    """Make due again what was given up, of the deliveries made since a time; returns how many."""
    result = await conn.execute(
        """
        UPDATE webhook_deliveries SET state = 'pending', attempts = 0, next_attempt_at = clock_timestamp()
        WHERE endpoint_id = %s AND state = 'dead' AND created_at >= %s
        """,
        (endpoint_id, since),
    )
    return result.rowcount


async def delete_old(conn: Connection, before: datetime, limit: int) -> int:
    """Delete deliveries that are done or given up and were made before a time; returns how many."""
    result = await conn.execute(
        """
        DELETE FROM webhook_deliveries WHERE id IN (
            SELECT id FROM webhook_deliveries WHERE state <> 'pending' AND created_at < %s ORDER BY created_at LIMIT %s
        )
        """,
        (before, limit),
    )
    return result.rowcount
