"""The rows of `parked_events`."""

from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.sql import SQL

from oneiro.database.pool import Connection
from oneiro.events.models import Event, ParkedEvent
from oneiro.events.store import EVENT


async def insert(conn: Connection, consumer: str, event: Event, error: str | None, retry_in: float | None) -> None:
    """Park an event: after a fault with its name and a pause in seconds, or behind another one, without error."""
    await conn.execute(
        """
        INSERT INTO parked_events (consumer, position, event_id, conversation_id, attempts, error, retry_at)
        VALUES (%s, %s, %s, %s, %s, %s, clock_timestamp() + make_interval(secs => %s))
        ON CONFLICT (consumer, position) DO NOTHING
        """,
        (consumer, event.position, event.id, event.conversation_id, 1 if error else 0, error, retry_in),
    )


async def blocked(conn: Connection, consumer: str) -> set[UUID]:
    """Conversations whose later events must wait."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            "SELECT DISTINCT conversation_id FROM parked_events WHERE consumer = %s AND conversation_id IS NOT NULL",
            (consumer,),
        )
        return set(await cursor.fetchall())


async def due(conn: Connection, consumer: str, limit: int) -> list[tuple[int, Event]]:
    """The first parked event of each conversation, if its time has come; each with its attempts so far."""
    async with conn.cursor(row_factory=class_row(Event)) as cursor:
        await cursor.execute(
            SQL(
                """
                SELECT {event} FROM parked_events AS p
                JOIN system_events AS e ON e.id = p.event_id
                WHERE p.consumer = %(consumer)s AND (p.attempts = 0 OR p.retry_at <= clock_timestamp())
                  AND NOT EXISTS (
                      SELECT FROM parked_events AS earlier
                      WHERE earlier.consumer = p.consumer AND earlier.conversation_id = p.conversation_id
                        AND earlier.position < p.position
                  )
                ORDER BY p.position
                LIMIT %(limit)s
                """
            ).format(event=EVENT),
            {"consumer": consumer, "limit": limit},
        )
        events = await cursor.fetchall()
    attempts = await _attempts(conn, consumer, [event.position for event in events])
    return [(attempts[event.position], event) for event in events]


async def _attempts(conn: Connection, consumer: str, positions: list[int]) -> dict[int, int]:
    cursor = await conn.execute(
        "SELECT position, attempts FROM parked_events WHERE consumer = %s AND position = ANY(%s)", (consumer, positions)
    )
    return dict(await cursor.fetchall())


async def fail(conn: Connection, consumer: str, position: int, error: str, retry_in: float | None) -> None:
    """Note another failed attempt; without a pause the event waits for an operator."""
    await conn.execute(
        """
        UPDATE parked_events
        SET attempts = attempts + 1, error = %s, retry_at = clock_timestamp() + make_interval(secs => %s)
        WHERE consumer = %s AND position = %s
        """,
        (error, retry_in, consumer, position),
    )


async def delete(conn: Connection, consumer: str, position: int) -> bool:
    """Take an event out of the parking place; false when it was not there."""
    result = await conn.execute("DELETE FROM parked_events WHERE consumer = %s AND position = %s", (consumer, position))
    return result.rowcount == 1


async def delete_after(conn: Connection, consumer: str, position: int) -> None:
    """Forget what is parked after a position: a replay brings it again."""
    await conn.execute("DELETE FROM parked_events WHERE consumer = %s AND position > %s", (consumer, position))


async def retry(conn: Connection, consumer: str, position: int) -> bool:
    """Let the consumer try a parked event again now; false when it is not parked."""
    result = await conn.execute(
        """
        UPDATE parked_events SET retry_at = clock_timestamp() WHERE consumer = %s AND position = %s
        """,
        (consumer, position),
    )
    return result.rowcount == 1


async def select(
    conn: Connection, consumer: str | None, after: tuple[str, int] | None, limit: int
) -> list[ParkedEvent]:
    """Parked events by consumer and position, after a place in that order."""
    async with conn.cursor(row_factory=class_row(ParkedEvent)) as cursor:
        await cursor.execute(
            """
            SELECT p.consumer, p.position, p.event_id, e.event_type, p.conversation_id, p.attempts, p.error,
                   p.parked_at, p.retry_at
            FROM parked_events AS p JOIN system_events AS e ON e.id = p.event_id
            WHERE (%(consumer)s::text IS NULL OR p.consumer = %(consumer)s)
              AND (%(name)s::text IS NULL OR (p.consumer, p.position) > (%(name)s, %(position)s::bigint))
            ORDER BY p.consumer, p.position
            LIMIT %(limit)s
            """,
            {
                "consumer": consumer,
                "name": after and after[0],
                "position": after and after[1],
                "limit": limit,
            },
        )
        return await cursor.fetchall()
