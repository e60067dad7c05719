"""The rows of `system_events` and `event_cursors`.

Leases go by the database's clock, the one clock that all replicas share; safety does not rest on it, since every
statement that moves a cursor names the owner of the lease.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from oneiro.database.pool import Connection
from oneiro.events.models import ConsumerState, Event, Filter

SEQUENCER = "sequencer"

EVENT = SQL(
    """
    e.position, e.id, e.event_type AS type, e.entity_type, e.entity_id, e.conversation_id,
    coalesce(
        e.event_data ->> 'interpreter_id',
        CASE e.entity_type WHEN 'interpreter' THEN e.entity_id END,
        (SELECT c.interpreter_id FROM conversations AS c WHERE c.id = e.conversation_id)
    ) AS interpreter_id,
    e.event_data AS data, e.user_id, e.created_at AS time, e.traceparent
    """
)


INSERT: Final = SQL(
    """
    INSERT INTO system_events (event_type, entity_type, entity_id, event_data, user_id, conversation_id)
    SELECT h.event_type, %(entity_type)s, %(entity_id)s, h.event_data, %(event_user_id)s, %(event_conversation_id)s
    FROM unnest(%(event_types)s::text[], %(event_data)s::jsonb[]) WITH ORDINALITY AS h (event_type, event_data, place)
    ORDER BY h.place
    """
)
"""Inserts what happened to one entity, in this order; positions are stamped after the commit."""


def values(
    happened: Sequence[tuple[str, Mapping[str, object]]],
    entity_type: str,
    entity_id: str,
    user_id: UUID | None,
    conversation_id: UUID | None,
) -> dict[str, object]:
    """The values of `INSERT` for such events, types with data."""
    return {
        "event_types": [event_type for event_type, _ in happened],
        "event_data": [Jsonb(dict(data)) for _, data in happened],
        "entity_type": entity_type,
        "entity_id": entity_id,
        "event_user_id": user_id,
        "event_conversation_id": conversation_id,
    }


async def insert(conn: Connection, values: Mapping[str, object]) -> None:
    """Insert the events of such values."""
    await conn.execute(INSERT, values)


async def forget_flushes(conn: Connection) -> None:
    """Let this connection's commits return before they are on disk: a notification need not survive a crash."""
    await conn.execute("SET synchronous_commit = off")


async def notify(conn: Connection, channels: Collection[str], sender: str) -> None:
    """Tell the other processes, with the name of the one that tells."""
    await conn.execute("SELECT pg_notify(channel, %s) FROM unnest(%s::text[]) AS channel", (sender, list(channels)))


async def listen(conn: Connection, channels: Collection[str]) -> None:
    """Receive what other processes tell."""
    for channel in channels:
        await conn.execute(SQL("LISTEN {}").format(Identifier(channel)))


async def register(conn: Connection, consumer: str, *, from_now: bool = False) -> None:
    """Make the cursor of a consumer that has none, before the first event or after the last one."""
    await conn.execute(
        """
        INSERT INTO event_cursors (consumer, position)
        VALUES (%(consumer)s, CASE WHEN %(from_now)s THEN
            coalesce((SELECT position FROM event_cursors WHERE consumer = 'sequencer'), 0) ELSE 0 END)
        ON CONFLICT (consumer) DO NOTHING
        """,
        {"consumer": consumer, "from_now": from_now},
    )


async def take_lease(conn: Connection, consumer: str, owner: str, seconds: float) -> int | None:
    """Take or renew a lease; returns the cursor's position, or None while another process holds it.

    A row that is locked just now belongs to someone at work, lapsed or not.
    """
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            UPDATE event_cursors
            SET lease_owner = %(owner)s, lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
            WHERE consumer = (
                SELECT consumer FROM event_cursors
                WHERE consumer = %(consumer)s
                  AND (lease_owner IS NULL OR lease_owner = %(owner)s OR lease_until < clock_timestamp())
                FOR UPDATE SKIP LOCKED
            )
            RETURNING position
            """,
            {"consumer": consumer, "owner": owner, "seconds": seconds},
        )
        return await cursor.fetchone()


async def release_lease(conn: Connection, consumer: str, owner: str) -> None:
    """Give a lease back, so that another process need not wait for it to lapse."""
    await conn.execute(
        """
        UPDATE event_cursors SET lease_owner = NULL, lease_until = NULL
        WHERE consumer = %s AND lease_owner = %s
        """,
        (consumer, owner),
    )


async def never_behind(conn: Connection) -> None:
    """Lift the sequencer's cursor to the highest position there is: they differ after a partial restore."""
    await conn.execute(
        """
        UPDATE event_cursors SET position = highest.position
        FROM (SELECT max(position) AS position FROM system_events) AS highest
        WHERE consumer = 'sequencer' AND highest.position > event_cursors.position
        """
    )


@dataclass(frozen=True, slots=True)
class Stamped:
    """What one stamping did: committed events found without position (up to a limit), and whether it held the lease."""

    found: int
    held: bool


async def stamp(conn: Connection, owner: str, limit: int) -> Stamped:
    """Give committed events their position in the order of `seq`, if this owner holds the lease.

    One statement: whoever took the lease meanwhile has changed the cursor's row, which is locked here first; then
    nothing is written. Rows of one conversation have their `seq` in the order of their commits, since a writer locks
    the conversation before it writes.
    """
    async with conn.cursor(row_factory=class_row(Stamped)) as cursor:
        await cursor.execute(
            """
            WITH fresh AS MATERIALIZED (
                SELECT oldest.id, row_number() OVER (ORDER BY oldest.seq) AS place
                FROM (SELECT id, seq FROM system_events WHERE position IS NULL ORDER BY seq LIMIT %(limit)s) AS oldest
            ), lease AS MATERIALIZED (
                SELECT position FROM event_cursors
                WHERE consumer = 'sequencer' AND lease_owner = %(owner)s AND EXISTS (SELECT FROM fresh)
                FOR UPDATE
            ), stamped AS (
                UPDATE system_events AS e SET position = lease.position + fresh.place
                FROM fresh, lease
                WHERE e.id = fresh.id AND e.position IS NULL
                RETURNING e.position
            ), moved AS (
                UPDATE event_cursors
                SET position = (SELECT max(position) FROM stamped), updated_at = clock_timestamp()
                WHERE consumer = 'sequencer' AND EXISTS (SELECT FROM stamped)
            )
            SELECT (SELECT count(*) FROM fresh) AS found,
                   (SELECT count(*) FROM lease) > 0 OR NOT EXISTS (SELECT FROM fresh) AS held
            """,
            {"owner": owner, "limit": limit},
        )
        done = await cursor.fetchone()
    assert done is not None
    return done


async def head(conn: Connection) -> int:
    """The last position that was stamped; 0 before the first."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute("SELECT position FROM event_cursors WHERE consumer = 'sequencer'")
        return await cursor.fetchone() or 0


async def span(conn: Connection, consumer: str, owner: str) -> tuple[int, int] | None:
    """A consumer's position and the head; None when this owner does not hold its lease."""
    cursor = await conn.execute(
        """
        SELECT c.position, coalesce(s.position, 0)
        FROM event_cursors AS c LEFT JOIN event_cursors AS s ON s.consumer = 'sequencer'
        WHERE c.consumer = %s AND c.lease_owner = %s
        """,
        (consumer, owner),
    )
    return await cursor.fetchone()


async def move(conn: Connection, consumer: str, owner: str, seconds: float, step: tuple[int, int]) -> bool:
    """Move a cursor from one position to another and renew its lease; false when lease or position are not as held."""
    result = await conn.execute(
        """
        UPDATE event_cursors
        SET position = %(end)s, updated_at = clock_timestamp(),
            lease_until = clock_timestamp() + make_interval(secs => %(seconds)s)
        WHERE consumer = %(consumer)s AND lease_owner = %(owner)s AND position = %(start)s
        """,
        {"consumer": consumer, "owner": owner, "seconds": seconds, "start": step[0], "end": step[1]},
    )
    return result.rowcount == 1


async def select(conn: Connection, span: tuple[int, int | None], wanted: Filter, limit: int) -> list[Event]:
    """Stamped events after the first and up to the second position, oldest first."""
    return await _select(conn, SQL("ASC"), span, wanted, limit)


async def select_latest(conn: Connection, before: int | None, wanted: Filter, limit: int) -> list[Event]:
    """Stamped events before a position, newest first."""
    return await _select(conn, SQL("DESC"), (0, None if before is None else before - 1), wanted, limit)


async def _select(
    conn: Connection, direction: SQL, span: tuple[int, int | None], wanted: Filter, limit: int
) -> list[Event]:
    tests, values = _conditions(wanted)
    query = SQL(
        """
        SELECT * FROM (
            SELECT {event} FROM system_events AS e
            WHERE e.position > %(start)s AND e.position <= coalesce(%(end)s::bigint, 9223372036854775807) {tests}
        ) AS e
        WHERE %(interpreter_id)s::text IS NULL OR e.interpreter_id = %(interpreter_id)s
        ORDER BY e.position {direction} LIMIT %(limit)s
        """
    ).format(event=EVENT, direction=direction, tests=SQL(" ").join(tests))
    values |= {"start": span[0], "end": span[1], "interpreter_id": wanted.interpreter_id, "limit": limit}
    async with conn.cursor(row_factory=class_row(Event)) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()


def _conditions(wanted: Filter) -> tuple[list[SQL], dict[str, object]]:
    tests: list[SQL] = []
    values: dict[str, object] = {}
    if wanted.types:
        tests.append(SQL("AND e.event_type = ANY(%(types)s)"))
        values["types"] = sorted(wanted.types)
    if wanted.conversation_id is not None:
        tests.append(SQL("AND e.conversation_id = %(conversation_id)s"))
        values["conversation_id"] = wanted.conversation_id
    if wanted.user_id is not None:
        # The statement names the owner, as everything does that the service reads for a dreamer.
        tests.append(
            SQL(
                "AND EXISTS (SELECT FROM conversations AS o WHERE o.id = e.conversation_id AND o.user_id = %(user_id)s)"
            )
        )
        values["user_id"] = wanted.user_id
    return tests, values


async def owns_conversation(conn: Connection, user_id: UUID, conversation_id: UUID) -> bool:
    """Whether the conversation is hers, read as row-level security shows it to her."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "SELECT true FROM conversations WHERE id = %s AND user_id = %s AND release_id IS NOT NULL",
            (conversation_id, user_id),
        )
        return await cursor.fetchone() is not None


async def position_before(conn: Connection, time: datetime) -> int:
    """The position before the first event that was written at this time or later."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            SELECT coalesce(
                (SELECT min(position) - 1 FROM system_events WHERE created_at >= %s),
                (SELECT position FROM event_cursors WHERE consumer = 'sequencer'),
                0
            )
            """,
            (time,),
        )
        found: int | None = await cursor.fetchone()
    assert found is not None
    return found


async def rewind(conn: Connection, consumer: str, position: int) -> bool:
    """Set a cursor to a position, whoever holds its lease; false when there is no such consumer."""
    result = await conn.execute(
        """
        UPDATE event_cursors SET position = %s, updated_at = clock_timestamp()
        WHERE consumer = %s AND consumer <> 'sequencer'
        """,
        (position, consumer),
    )
    return result.rowcount == 1


async def states(conn: Connection) -> list[ConsumerState]:
    """Every durable consumer with its lag, by name."""
    async with conn.cursor(row_factory=class_row(ConsumerState)) as cursor:
        await cursor.execute(
            """
            SELECT c.consumer, c.position, greatest(coalesce(s.position, 0) - c.position, 0) AS lag,
                   (SELECT count(*) FROM parked_events AS p WHERE p.consumer = c.consumer) AS parked,
                   CASE WHEN c.lease_until > clock_timestamp() THEN c.lease_owner END AS lease_owner, c.updated_at
            FROM event_cursors AS c
            LEFT JOIN event_cursors AS s ON s.consumer = 'sequencer'
            WHERE c.consumer <> 'sequencer'
            ORDER BY c.consumer
            """
        )
        return await cursor.fetchall()


async def delete_old(conn: Connection, before: datetime, consumers: Sequence[str], limit: int) -> int:
    """Delete stamped events that were written before a time, that all these consumers are done with.

    Parked events stay, and those that a webhook still has to deliver. Returns how many were deleted.
    """
    result = await conn.execute(
        """
        DELETE FROM system_events WHERE id IN (
            SELECT e.id FROM system_events AS e
            WHERE e.created_at < %(before)s
              AND e.position <= (
                  SELECT coalesce(min(coalesce(c.position, 0)), 0)
                  FROM unnest(%(consumers)s::text[]) AS named (consumer)
                  LEFT JOIN event_cursors AS c USING (consumer)
              )
              AND NOT EXISTS (SELECT FROM parked_events AS p WHERE p.event_id = e.id)
              AND NOT EXISTS (SELECT FROM webhook_deliveries AS w WHERE w.event_id = e.id AND w.state = 'pending')
            ORDER BY e.created_at
            LIMIT %(limit)s
        )
        """,
        {"before": before, "consumers": [SEQUENCER, *consumers], "limit": limit},
    )
    return result.rowcount
