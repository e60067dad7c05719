"""What reports read; only reads, of anybody's tables."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row

from oneiro.analytics.reports.figures import Counts
from oneiro.database.pool import Connection

_HOUR: Final = timedelta(hours=1)
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

    Whole hours from their rollups; the hours at both ends, and those that wait to be counted anew, from the
    conversations themselves. One statement, so that no hour is counted twice or left out while it is being counted.
    """
    first, last = -(-(start - _epoch(start)) // _HOUR), (end - _epoch(end)) // _HOUR
    whole = (_epoch(start) + first * _HOUR, _epoch(end) + last * _HOUR) if first < last else (end, end)
    async with conn.cursor(row_factory=class_row(Part)) as cursor:
        await cursor.execute(
            """
            WITH waiting AS MATERIALIZED (
                SELECT DISTINCT hour FROM rollups_dirty WHERE hour >= %(first)s AND hour < %(last)s
            ), parts AS (
                SELECT r.interpreter_id, r.release_id, r.arm_id, r.counts
                FROM rollups_hourly AS r
                WHERE r.hour >= %(first)s AND r.hour < %(last)s AND NOT EXISTS (SELECT FROM waiting WHERE hour = r.hour)
                  AND (%(interpreter)s::text IS NULL OR r.interpreter_id = %(interpreter)s)
                UNION ALL
                SELECT a.interpreter_id, a.release_id, a.arm_id, a.counts || a.counts_of_words
                FROM (
                    SELECT %(start)s AS begin, %(first)s AS until
                    UNION ALL SELECT %(last)s, %(end)s
                    UNION ALL SELECT hour, hour + interval '1 hour' FROM waiting
                ) AS span
                JOIN conversation_analytics AS a ON a.ended_at >= span.begin AND a.ended_at < span.until
                WHERE a.interpreter_id IS NOT NULL
                  AND (%(interpreter)s::text IS NULL OR a.interpreter_id = %(interpreter)s)
            )
            SELECT s.interpreter_id, s.release_id, s.arm_id, jsonb_object_agg(s.name, s.total) AS counts
            FROM (
                SELECT p.interpreter_id, p.release_id, p.arm_id, n.key AS name, sum(n.value::numeric) AS total
                FROM parts AS p CROSS JOIN jsonb_each(p.counts) AS n
                GROUP BY 1, 2, 3, 4
            ) AS s
            GROUP BY 1, 2, 3
            """,
            {"start": start, "first": whole[0], "last": whole[1], "end": end, "interpreter": interpreter_id},
        )
        return await cursor.fetchall()


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
class MadeAgents:
    """Agents that were made, or were not."""

    created: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None
    errors: dict[str, Any]


async def creations(conn: Connection, interpreter_id: str, start: datetime, end: datetime) -> MadeAgents:
    """Creations of an interpreter's agents; percentiles are of those that succeeded."""
    async with conn.cursor(row_factory=class_row(MadeAgents)) as cursor:
        await cursor.execute(
            """
            WITH made AS (
                SELECT metric_value, metadata @> '{"success": true}' AS went_well,
                       coalesce(metadata ->> 'error', 'unknown') AS error
                FROM agent_metrics
                WHERE metric_type = 'agent_creation' AND interpreter_id = %s
                  AND recorded_at >= %s AND recorded_at < %s
            )
            SELECT count(*) FILTER (WHERE went_well)::int AS created,
                   count(*) FILTER (WHERE NOT went_well)::int AS failed,
                   percentile_disc(0.5) WITHIN GROUP (ORDER BY metric_value) FILTER (WHERE went_well)::float8 AS p50_ms,
                   percentile_disc(0.95) WITHIN GROUP (ORDER BY metric_value) FILTER (WHERE went_well)::float8
                       AS p95_ms,
                   coalesce((SELECT jsonb_object_agg(error, found)
                             FROM (SELECT error, count(*) AS found FROM made WHERE NOT went_well
                                   GROUP BY error ORDER BY found DESC LIMIT 20) AS codes), '{}') AS errors
            FROM made
            """,
            (interpreter_id, start, end),
        )
        found = await cursor.fetchone()
    assert found is not None
    return found


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


def _epoch(like: datetime) -> datetime:
    return datetime(1970, 1, 1, tzinfo=like.tzinfo)
