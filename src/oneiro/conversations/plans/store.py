"""What a start needs to know, in one read of the tables of others."""

from datetime import datetime
from typing import Any, Final

from psycopg.rows import dict_row
from psycopg.sql import SQL

from oneiro.conversations.plans.models import Asked, Found
from oneiro.database.pool import Connection
from oneiro.dreamers.models import Dreamer
from oneiro.dreamers.store import SPOKEN
from oneiro.interpreters import store as interpreters
from oneiro.interpreters.agents.store import LIVE, AgentRow
from oneiro.interpreters.models import Release
from oneiro.interpreters.variables import DreamMaterial

_FOUND: Final = (
    SQL(
        """
        SELECT p.user_id, p.name, p.language, p.region, p.birth_year, p.consents, p.allowed_interpreters,
               coalesce(spoken.minutes, 0) AS minutes_today, said.language AS spoken_language,
               r.id AS release_id, r.interpreter_id AS release_interpreter_id, r.number AS release_number,
               r.content_hash AS release_content_hash, r.note AS release_note, r.created_by AS release_created_by,
               r.created_at AS release_created_at, r.based_on AS release_based_on,
               r.activated_at AS release_activated_at,
               arm.id AS arm_id, arm.name AS arm, e.id IS NOT NULL AND arm.id IS NULL AS undrawn,
               d.content AS dream_text, d.title AS dream_title, d.symbols AS dream_symbols,
               d.interpretation AS dream_interpretation, d.interpretation_date AS dream_interpretation_date,
               a.id AS agent_id, a.agent_id AS agent_agent_id, a.config_sha256 AS agent_config_sha256,
               a.prompt_sha256 AS agent_prompt_sha256, a.created_at AS agent_created_at, a.drift AS agent_drift,
               a.error_code AS agent_error_code, a.last_used_at AS agent_last_used_at, a.free AS agent_free,
               a.expires AS agent_expires, a.expired AS agent_expired
        FROM profiles AS p
        LEFT JOIN LATERAL ({spoken}) AS spoken ON true
        CROSS JOIN LATERAL (
            SELECT CASE WHEN %(wanted)s::text IS NOT NULL THEN %(wanted)s::text
                        WHEN p.language = ANY (%(offered)s::text[]) THEN p.language
                        ELSE (%(offered)s::text[])[1] END AS language
        ) AS said
        LEFT JOIN interpreter_configs AS c ON c.id = %(interpreter_id)s AND c.is_active
        LEFT JOIN experiments AS e
               ON e.interpreter_id = c.id AND e.status = 'running'
              AND (coalesce(jsonb_typeof(e.eligibility -> 'languages'), 'null') = 'null'
                   OR e.eligibility -> 'languages' ? said.language)
        LEFT JOIN experiment_assignments AS s ON s.experiment_id = e.id AND s.user_id = p.user_id
        LEFT JOIN experiment_arms AS arm ON arm.id = s.arm_id
        LEFT JOIN interpreter_releases AS r
               ON r.id = coalesce(arm.release_id, (SELECT usual.id FROM interpreter_releases AS usual
                                                   WHERE usual.interpreter_id = c.id AND usual.number = c.version))
        LEFT JOIN dreams AS d ON d.id = %(dream_id)s AND d.user_id = p.user_id
        LEFT JOIN LATERAL ({live}) AS a ON true
        WHERE p.user_id = %(user_id)s
        FOR KEY SHARE OF p
        """
    )
    .format(spoken=SPOKEN, live=LIVE.format(release=SQL("r.id"), language=SQL("said.language")))
    .as_bytes()
)


async def find(conn: Connection, asked: Asked, now: datetime) -> Found | None:
    """What the rows say, or None while the dreamer has none; hers is kept until the transaction ends.

    Who erases her meanwhile waits for that, so that nothing written beside it is left behind.
    """
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(
            _FOUND,
            {
                "user_id": asked.user_id,
                "now": now,
                "interpreter_id": asked.interpreter_id,
                "dream_id": asked.dream_id,
                "wanted": asked.wanted,
                "offered": list(asked.offered),
                "model": asked.model,
                "session_key": "",
            },
        )
        row = await cursor.fetchone()
    return None if row is None else await _found(conn, row)


async def _found(conn: Connection, row: dict[str, Any]) -> Found:
    agent = _part(row, "agent_")
    return Found(
        dreamer=Dreamer.model_validate(row),
        language=row["spoken_language"],
        release=await _release(conn, _part(row, "release_")),
        arm_id=row["arm_id"],
        arm=row["arm"],
        undrawn=row["undrawn"],
        dream=None if row["dream_text"] is None else DreamMaterial(**_part(row, "dream_")),
        agent=None if agent["id"] is None else AgentRow(**agent),
    )


async def _release(conn: Connection, row: dict[str, Any]) -> Release | None:
    if row["id"] is None:
        return None
    known = interpreters.DOCUMENTS.get(row["id"])
    if known is None:
        return await interpreters.release(conn, row["interpreter_id"], row["number"])
    return Release(**row, document=known)


def _part(row: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in row.items() if name.startswith(prefix)}
