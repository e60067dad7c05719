"""What reports read; only reads, of anybody's tables."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from psycopg.rows import class_row

from oneiro.analytics.reports.figures import Counts
from oneiro.database.pool import Connection

_HOUR: Final = timedelta(hours=1)
_DAY: Final = timedelta(days=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MOST: Final = 500
"""Releases with their arms that one report shows."""


@dataclass(frozen=True, slots=True)
class Part:
    """The counts of one release and arm of an interpreter."""

    interpreter_id: str
    release_id: UUID | None
    arm_id: UUID | None
    counts: Counts


async def counts(conn: Connection, start: datetime, end: datetime, interpreter_id: str | None = None) -> list[Part]:
    """Counts of the conversations that ended from `start` until before `end`, by interpreter, release and arm.

    Agents that were made meanwhile are counted with no release and no arm. Whole days and the whole hours beside them
    come from their rollups; the rest of the hours at both ends, and the hours that wait to be counted anew, from the
    rows themselves. One statement, so that no hour is counted twice or left out while it is being counted.
    """
    # The planner takes each jsonb for a hundred rows, and would compile a statement that is done before that.
    await conn.execute("SELECT set_config('jit', 'off', true)")
    first, last = _within(start, end, _HOUR)
    first_day, last_day = _within(first, last, _DAY)
    async with conn.cursor(row_factory=class_row(Part)) as cursor:
        await cursor.execute(
            _COUNTS,
            {
                "start": start,
                "first": first,
                "first_day": first_day,
                "last_day": last_day,
                "last": last,
                "end": end,
                "interpreter": interpreter_id,
            },
        )
        return await cursor.fetchall()


# Each span is read by the index, for which the OFFSET is there: a join over all spans reads the whole table.
_COUNTS: Final = """
    WITH waiting AS MATERIALIZED (
        SELECT DISTINCT hour FROM rollups_dirty WHERE hour >= %(first)s AND hour < %(last)s
    ), spoiled AS MATERIALIZED (
        SELECT DISTINCT date_bin('1 day', hour, 'epoch') AS day FROM waiting
        WHERE hour >= %(first_day)s AND hour < %(last_day)s
    ), parts AS (
        SELECT d.interpreter_id, d.release_id, d.arm_id, d.counts
        FROM rollups_daily AS d
        WHERE d.day >= %(first_day)s AND d.day < %(last_day)s AND NOT EXISTS (SELECT FROM spoiled WHERE day = d.day)
        UNION ALL
        SELECT h.interpreter_id, h.release_id, h.arm_id, h.counts
        FROM (
            SELECT %(first)s::timestamptz AS begin, %(first_day)s::timestamptz AS until
            UNION ALL SELECT %(last_day)s, %(last)s
            UNION ALL SELECT day, day + interval '24 hours' FROM spoiled
        ) AS span
        CROSS JOIN LATERAL (
            SELECT * FROM rollups_hourly WHERE hour >= span.begin AND hour < span.until OFFSET 0
        ) AS h
        WHERE NOT EXISTS (SELECT FROM waiting WHERE hour = h.hour)
        UNION ALL
        SELECT a.interpreter_id, a.release_id, a.arm_id, a.counts
        FROM (
            SELECT %(start)s::timestamptz AS begin, %(first)s::timestamptz AS until
            UNION ALL SELECT %(last)s, %(end)s
            UNION ALL SELECT hour, hour + interval '1 hour' FROM waiting
        ) AS span
        CROSS JOIN LATERAL (
            SELECT * FROM oneiro.counted WHERE at >= span.begin AND at < span.until OFFSET 0
        ) AS a
        WHERE a.interpreter_id IS NOT NULL
    )
    SELECT s.interpreter_id, s.release_id, s.arm_id, jsonb_object_agg(s.name, s.total) AS counts
    FROM (
        SELECT p.interpreter_id, p.release_id, p.arm_id, n.key AS name, sum(n.value::numeric) AS total
        FROM parts AS p CROSS JOIN jsonb_each(p.counts) AS n
        WHERE %(interpreter)s::text IS NULL OR p.interpreter_id = %(interpreter)s
        GROUP BY 1, 2, 3, 4
    ) AS s
    GROUP BY 1, 2, 3
    """


def _within(start: datetime, end: datetime, unit: timedelta) -> tuple[datetime, datetime]:
    """The whole hours or days between two times in UTC; where there is none, `end` twice."""
    first, last = -(-(start - _EPOCH) // unit), (end - _EPOCH) // unit
    return (_EPOCH + first * unit, _EPOCH + last * unit) if first < last else (end, end)


@dataclass(frozen=True, slots=True)
class Named:
    """A release and an arm as operators know them."""

    release_id: UUID | None
    arm_id: UUID | None
    release: int | None
    arm: str | None
    experiment: str | None


async def names(conn: Connection, keys: list[tuple[UUID | None, UUID | None]]) -> list[Named]:
    """Numbers and names of releases and arms, the newest release first."""
    async with conn.cursor(row_factory=class_row(Named)) as cursor:
        await cursor.execute(
            """
            SELECT k.release_id, k.arm_id, r.number AS release, a.name AS arm, e.name AS experiment
            FROM unnest(%s::uuid[], %s::uuid[]) AS k (release_id, arm_id)
            LEFT JOIN interpreter_releases AS r ON r.id = k.release_id
            LEFT JOIN experiment_arms AS a ON a.id = k.arm_id
            LEFT JOIN experiments AS e ON e.id = a.experiment_id
            ORDER BY r.number DESC NULLS LAST, e.created_at DESC NULLS FIRST, a.name
            LIMIT %s
            """,
            ([release for release, _ in keys], [arm for _, arm in keys], MOST),
        )
        return await cursor.fetchall()


async def exists(conn: Connection, interpreter_id: str) -> bool:
    """Whether there is such an interpreter, active or not."""
    cursor = await conn.execute("SELECT 1 FROM interpreter_configs WHERE id = %s", (interpreter_id,))
    return await cursor.fetchone() is not None


@dataclass(frozen=True, slots=True)
class Listed:
    """An interpreter of the dashboard."""

    interpreter_id: str
    name: str
    is_active: bool
    talking: int


async def interpreters(conn: Connection) -> list[Listed]:
    """Every interpreter with its open conversations, by name."""
    async with conn.cursor(row_factory=class_row(Listed)) as cursor:
        await cursor.execute(
            """
            SELECT i.id AS interpreter_id, i.name, coalesce(i.is_active, false) AS is_active,
                   coalesce(o.talking, 0)::int AS talking
            FROM interpreter_configs AS i
            LEFT JOIN (SELECT interpreter_id, count(*) AS talking FROM conversations
                       WHERE status = 'active' AND paused_at IS NULL AND release_id IS NOT NULL
                       GROUP BY interpreter_id) AS o ON o.interpreter_id = i.id
            ORDER BY i.name, i.id
            """
        )
        return await cursor.fetchall()
