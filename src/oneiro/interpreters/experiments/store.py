"""The rows of experiments, their arms, and which dreamer is in which."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from oneiro.database.pool import Connection
from oneiro.http import Cursor
from oneiro.interpreters.experiments.models import ArmPlan, Experiment, ExperimentPlan

_EXPERIMENT: Final = """
    SELECT e.id, e.interpreter_id, e.name, e.note, e.status, e.eligibility, e.created_by, e.created_at, e.started_at,
           e.default_at_start, e.stopped_at, arms.arms
    FROM experiments AS e
    CROSS JOIN LATERAL (
        SELECT jsonb_agg(
            jsonb_build_object('id', a.id, 'name', a.name, 'release', r.number, 'weight', a.weight,
                               'control', a.is_control)
            ORDER BY a.is_control DESC, a.name
        ) AS arms
        FROM experiment_arms AS a JOIN interpreter_releases AS r ON r.id = a.release_id
        WHERE a.experiment_id = e.id
    ) AS arms
"""


async def insert(conn: Connection, plan: ExperimentPlan, created_by: str) -> UUID:
    """Insert an experiment as a draft, without arms."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            INSERT INTO experiments (interpreter_id, name, note, eligibility, created_by)
            VALUES (%s, %s, %s, %s, %s) RETURNING id
            """,
            (plan.interpreter_id, plan.name, plan.note, Jsonb(plan.eligibility.model_dump()), created_by),
        )
        made: UUID | None = await cursor.fetchone()
    assert made is not None
    return made


async def insert_arm(conn: Connection, experiment_id: UUID, arm: ArmPlan, release_id: UUID) -> None:
    """Insert an arm."""
    await conn.execute(
        """
        INSERT INTO experiment_arms (experiment_id, name, release_id, weight, is_control) VALUES (%s, %s, %s, %s, %s)
        """,
        (experiment_id, arm.name, release_id, str(arm.weight), arm.control),
    )


async def find(conn: Connection, experiment_id: UUID, *, lock: bool = False) -> Experiment | None:
    """One experiment; with `lock` nobody else changes it until the transaction ends."""
    async with conn.cursor(row_factory=class_row(Experiment)) as cursor:
        if lock:
            await cursor.execute("SELECT 1 FROM experiments WHERE id = %s FOR UPDATE", (experiment_id,))
        await cursor.execute(_EXPERIMENT + "WHERE e.id = %s", (experiment_id,))
        return await cursor.fetchone()


async def select(conn: Connection, interpreter_id: str | None, limit: int, after: Cursor | None) -> list[Experiment]:
    """Experiments, of one interpreter or of all, the newest first."""
    async with conn.cursor(row_factory=class_row(Experiment)) as cursor:
        await cursor.execute(
            _EXPERIMENT
            + """
            WHERE (%(interpreter)s::text IS NULL OR e.interpreter_id = %(interpreter)s)
              AND (%(at)s::timestamptz IS NULL OR (e.created_at, e.id) < (%(at)s, %(id)s::uuid))
            ORDER BY e.created_at DESC, e.id DESC LIMIT %(limit)s
            """,
            {
                "interpreter": interpreter_id,
                "at": after and after.at,
                "id": after and after.uuid,
                "limit": limit,
            },
        )
        return await cursor.fetchall()


async def running(conn: Connection, interpreter_id: str) -> UUID | None:
    """The id of the interpreter's running experiment."""
    cursor = await conn.execute(
        "SELECT id FROM experiments WHERE interpreter_id = %s AND status = 'running'", (interpreter_id,)
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def begin(conn: Connection, experiment_id: UUID, default: int, now: datetime) -> None:
    """Note that it runs from now on, beside this number of the default release."""
    await conn.execute(
        """
        UPDATE experiments SET status = 'running', started_at = %s, default_at_start = %s, stopped_at = NULL
        WHERE id = %s
        """,
        (now, default, experiment_id),
    )


async def end(conn: Connection, experiment_id: UUID, status: Literal["stopped", "promoted"], now: datetime) -> None:
    """Note that it ended, or that an arm of one that had ended was promoted."""
    await conn.execute(
        "UPDATE experiments SET status = %s, stopped_at = %s WHERE id = %s", (status, now, experiment_id)
    )


@dataclass(frozen=True, slots=True)
class RunningArm:
    """An arm of the running experiment; `mine`: the dreamer was given it before."""

    experiment_id: UUID
    arm_id: UUID
    name: str
    release: int
    weight: float
    salt: str
    languages: list[str] | None
    share: float
    mine: bool


async def running_arms(conn: Connection, interpreter_id: str, user_id: UUID) -> list[RunningArm]:
    """The arms of the interpreter's running experiment in a fixed order, and which is the dreamer's; mostly none."""
    async with conn.cursor(row_factory=class_row(RunningArm)) as cursor:
        await cursor.execute(
            """
            SELECT e.id AS experiment_id, a.id AS arm_id, a.name, r.number AS release, a.weight::float8 AS weight,
                   e.salt, e.eligibility -> 'languages' AS languages,
                   coalesce((e.eligibility ->> 'share')::float8, 1) AS share, s.arm_id IS NOT NULL AS mine
            FROM experiments AS e
            JOIN experiment_arms AS a ON a.experiment_id = e.id
            JOIN interpreter_releases AS r ON r.id = a.release_id
            LEFT JOIN experiment_assignments AS s
                   ON s.experiment_id = e.id AND s.user_id = %s AND s.arm_id = a.id
            WHERE e.interpreter_id = %s AND e.status = 'running'
            ORDER BY a.is_control DESC, a.name
            """,
            (user_id, interpreter_id),
        )
        return await cursor.fetchall()


async def assign(conn: Connection, experiment_id: UUID, user_id: UUID, arm_id: UUID) -> bool:
    """Give the dreamer this arm for good; False when she has one already, by another start at the same moment."""
    done = await conn.execute(
        """
        INSERT INTO experiment_assignments (experiment_id, user_id, arm_id) VALUES (%s, %s, %s)
        ON CONFLICT (experiment_id, user_id) DO NOTHING
        """,
        (experiment_id, user_id, arm_id),
    )
    return done.rowcount == 1


async def assigned(conn: Connection, experiment_id: UUID) -> dict[UUID, int]:
    """How many dreamers have each arm."""
    cursor = await conn.execute(
        "SELECT arm_id, count(*) FROM experiment_assignments WHERE experiment_id = %s GROUP BY arm_id",
        (experiment_id,),
    )
    return {row[0]: row[1] async for row in cursor}


async def failed(conn: Connection, arm_ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many dreamers of each arm had a start that failed: refused, broken off, or never connected."""
    cursor = await conn.execute(
        """
        SELECT arm_id, count(DISTINCT user_id) FROM conversations
        WHERE arm_id = ANY (%s) AND status = 'failed' GROUP BY arm_id
        """,
        (list(arm_ids),),
    )
    return {row[0]: row[1] async for row in cursor}


@dataclass(frozen=True, slots=True)
class DreamerFigures:
    """One dreamer's conversations in an arm: shares and means over them, None where she has none to judge by."""

    arm_id: UUID
    conversations: int
    completion: float | None
    rating: float | None
    minutes: float | None
    early_hang_ups: float | None
    safety_flags: float | None


async def figures(conn: Connection, arm_ids: Sequence[UUID], *, early_seconds: int) -> list[DreamerFigures]:
    """The figures of each dreamer who agreed to be counted, from her connected conversations that are over."""
    async with conn.cursor(row_factory=class_row(DreamerFigures)) as cursor:
        await cursor.execute(
            """
            SELECT c.arm_id, count(*)::int AS conversations,
                   avg((c.end_reason IN ('user_ended', 'agent_ended'))::int)::float8 AS completion,
                   avg(c.rating)::float8 AS rating,
                   avg(extract(epoch FROM c.ended_at - c.started_at) / 60)::float8 AS minutes,
                   avg((c.end_reason = 'user_ended'
                        AND c.ended_at - c.started_at < make_interval(secs => %(early)s))::int)::float8
                       AS early_hang_ups,
                   avg((c.safety_tier IN ('passive_ideation', 'active_danger'))::int)::float8 AS safety_flags
            FROM conversations AS c
            JOIN profiles AS p ON p.user_id = c.user_id AND p.consents @> '{"analytics": true}'
            WHERE c.arm_id = ANY (%(arms)s) AND c.status = 'completed'
              AND (c.connection_count > 0 OR c.message_count > 0)
            GROUP BY c.arm_id, c.user_id
            """,
            {"arms": list(arm_ids), "early": early_seconds},
        )
        return await cursor.fetchall()
