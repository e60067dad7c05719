"""Rows of `platform_agents`.

A row under a lease is work in progress; whoever finds the lease lapsed may take the row over.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from psycopg.rows import class_row, scalar_row
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from oneiro.database.pool import Connection
from oneiro.interpreters.agents.marks import tag
from oneiro.interpreters.agents.models import AgentVoice, Draft, VoiceSource


@dataclass(frozen=True, slots=True)
class AgentRow:
    """The live row of a release, language and model; `agent_id` is set when it is ready."""

    id: UUID
    agent_id: str | None
    config_sha256: str | None
    prompt_sha256: str | None
    created_at: datetime
    drift: list[str]
    error_code: str | None
    last_used_at: datetime | None
    free: bool
    expires: bool
    expired: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """A row that is ours to work on; `taken_over`: somebody began and did not finish."""

    id: UUID
    taken_over: bool
    installation: str

    @property
    def tag(self) -> str:
        """Names the row's agent on the platform."""
        return tag(self.installation, self.id)


@dataclass(frozen=True, slots=True)
class InUse:
    """An agent of a release that conversations use; `wanted`: its release is a default or an experiment's arm."""

    id: UUID
    agent_id: str
    interpreter_id: str
    release: int
    language: str
    model: str
    config_sha256: str
    voice_id: str
    voice_source: VoiceSource | None
    voice_error: str | None
    drift: list[str]
    wanted: bool
    installation: str

    @property
    def tag(self) -> str:
        """Names the row's agent on the platform."""
        return tag(self.installation, self.id)


LIVE: Final = SQL(
    """
    SELECT id, agent_id, config_sha256, prompt_sha256, created_at, drift, error_code, last_used_at,
           state = 'provisioning' AND coalesce(lease_until <= %(now)s, true) AS free,
           scope = 'session' AS expires,
           scope = 'session' AND coalesce(expires_at <= %(now)s, false) AS expired
    FROM platform_agents
    WHERE release_id = {release} AND language = {language} AND model = %(model)s
      AND session_key = %(session_key)s AND state IN ('provisioning', 'ready', 'drifted')
    """
)
"""The live row of a release in a language, by one read of its unique index."""
_LIVE: Final = LIVE.format(release=SQL("%(release_id)s"), language=SQL("%(language)s")).as_bytes()


async def live(conn: Connection, draft: Draft, now: datetime) -> AgentRow | None:
    """The live row for the draft, if there is one."""
    async with conn.cursor(row_factory=class_row(AgentRow)) as cursor:
        await cursor.execute(_LIVE, {**_identity(draft), "now": now})
        return await cursor.fetchone()


async def claim(conn: Connection, draft: Draft, owner: str, now: datetime, until: datetime) -> Claim | None:
    """Take the row of the draft under our lease: a new one, or one whose lease has lapsed; else None."""
    async with conn.cursor(row_factory=class_row(Claim)) as cursor:
        # PostgreSQL gives a row that was inserted no xmax, and one that the conflict updated its own.
        await cursor.execute(
            """
            INSERT INTO platform_agents AS mine (
                interpreter_id, release_id, language, model, scope, session_key, expires_at,
                config_sha256, prompt_sha256, lease_owner, lease_until, created_at
            ) VALUES (
                %(interpreter_id)s, %(release_id)s, %(language)s, %(model)s, %(scope)s, %(session_key)s,
                %(expires_at)s, %(config_sha256)s, %(prompt_sha256)s, %(owner)s, %(until)s, %(now)s
            )
            ON CONFLICT (release_id, language, model, session_key) WHERE state IN ('provisioning', 'ready', 'drifted')
            DO UPDATE SET lease_owner = excluded.lease_owner, lease_until = excluded.lease_until, error_code = NULL,
                config_sha256 = excluded.config_sha256, prompt_sha256 = excluded.prompt_sha256,
                created_at = excluded.created_at,
                expires_at = excluded.expires_at
            WHERE mine.state = 'provisioning' AND coalesce(mine.lease_until <= %(now)s, true)
            RETURNING mine.id, mine.xmax <> 0 AS taken_over, oneiro.installation() AS installation
            """,
            {
                **_identity(draft),
                "interpreter_id": draft.interpreter_id,
                "scope": "session" if draft.session_key else "release",
                "expires_at": draft.expires_at,
                "config_sha256": draft.config_sha256,
                "prompt_sha256": draft.prompt_sha256,
                "owner": owner,
                "until": until,
                "now": now,
            },
        )
        return await cursor.fetchone()


async def ready(
    conn: Connection,
    row_id: UUID,
    owner: str,
    *,
    agent_id: str,
    voice: AgentVoice,
    drift: tuple[str, ...],
    now: datetime,
) -> bool:
    """Mark our row as an agent that can be talked to; False when the lease is no longer ours."""
    done = await conn.execute(
        """
        UPDATE platform_agents
        SET state = CASE WHEN %(drift)s::jsonb = '[]' THEN 'ready' ELSE 'drifted' END,
            agent_id = %(agent_id)s, voice_id = %(voice_id)s, voice_source = %(source)s,
            voice_error = %(voice_error)s, drift = %(drift)s, error_code = NULL,
            lease_owner = NULL, lease_until = NULL, verified_at = %(now)s, last_used_at = %(now)s
        WHERE id = %(id)s AND state = 'provisioning' AND lease_owner = %(owner)s
        """,
        {
            "id": row_id,
            "owner": owner,
            "agent_id": agent_id,
            "voice_id": voice.voice_id,
            "source": voice.source,
            "voice_error": voice.error_code,
            "drift": Jsonb(list(drift)),
            "now": now,
        },
    )
    return done.rowcount == 1


async def free(conn: Connection, row_id: UUID, owner: str, error_code: str | None) -> None:
    """Give our row back unfinished; it stays, so that the next one looks for what the platform may have made."""
    await conn.execute(
        """
        UPDATE platform_agents SET lease_owner = NULL, lease_until = NULL, error_code = %s
        WHERE id = %s AND state = 'provisioning' AND lease_owner = %s
        """,
        (error_code, row_id, owner),
    )


async def forget(conn: Connection, agent_id: str, now: datetime) -> str | None:
    """Retire an agent that is no longer on the platform; its interpreter, or None when that was done already."""
    async with conn.cursor(row_factory=scalar_row) as cursor:
        await cursor.execute(
            """
            UPDATE platform_agents
            SET state = 'retired', retired_at = %s, session_key = CASE scope WHEN 'session' THEN id::text ELSE '' END
            WHERE agent_id = %s AND state IN ('ready', 'drifted', 'retiring')
            RETURNING interpreter_id
            """,
            (now, agent_id),
        )
        return await cursor.fetchone()


async def replace(conn: Connection, row_id: UUID, now: datetime) -> bool:
    """Take an outdated agent out of use, to be deleted later; False when somebody else did."""
    done = await conn.execute(
        """
        UPDATE platform_agents SET state = 'retiring', retired_at = %s
        WHERE id = %s AND state IN ('ready', 'drifted')
        """,
        (now, row_id),
    )
    return done.rowcount == 1


async def take(conn: Connection, row_id: UUID, now: datetime) -> bool:
    """Note that a conversation is about to use an agent; False when it was taken out of use just before.

    A sweep that runs at the same time waits for this row and then sees that it was used.
    """
    done = await conn.execute(
        "UPDATE platform_agents SET last_used_at = %s WHERE id = %s AND state IN ('ready', 'drifted')", (now, row_id)
    )
    return done.rowcount == 1


async def unread(conn: Connection, before: datetime, voiceless: datetime, limit: int) -> list[InUse]:
    """Agents of releases that were last read back before `before`, those first that waited longest.

    Those that speak with the default voice because theirs was refused are due earlier, before `voiceless`.
    """
    async with conn.cursor(row_factory=class_row(InUse)) as cursor:
        await cursor.execute(
            """
            SELECT a.id, a.agent_id, a.interpreter_id, r.number AS release, a.language, a.model, a.config_sha256,
                   a.voice_id, a.voice_source, a.voice_error, a.drift, a.expires_at IS NULL AS wanted,
                   oneiro.installation() AS installation
            FROM platform_agents AS a JOIN interpreter_releases AS r ON r.id = a.release_id
            WHERE a.scope = 'release' AND a.state IN ('ready', 'drifted')
              AND (a.verified_at <= %s OR (a.voice_error IS NOT NULL AND a.verified_at <= %s))
            ORDER BY a.verified_at LIMIT %s
            """,
            (before, voiceless, limit),
        )
        return await cursor.fetchall()


async def inspected(
    conn: Connection, row_id: UUID, drift: tuple[str, ...], *, unprotected: bool, now: datetime
) -> bool:
    """Note how an agent in use was found, and take it out of use if it lacks a protection; False when it left before.

    `error_code` says why it left, so that it is deleted as soon as no conversation has it.
    """
    done = await conn.execute(
        """
        UPDATE platform_agents
        SET drift = %(drift)s, verified_at = CASE WHEN %(unprotected)s THEN verified_at ELSE %(now)s END,
            state = CASE WHEN %(unprotected)s THEN 'retiring' WHEN %(drift)s::jsonb = '[]' THEN 'ready'
                         ELSE 'drifted' END,
            error_code = CASE WHEN %(unprotected)s THEN 'unprotected' END,
            retired_at = CASE WHEN %(unprotected)s THEN %(now)s END
        WHERE id = %(id)s AND state IN ('ready', 'drifted')
        """,
        {"id": row_id, "drift": Jsonb(list(drift)), "unprotected": unprotected, "now": now},
    )
    return done.rowcount == 1


def _identity(draft: Draft) -> dict[str, object]:
    return {
        "release_id": draft.release_id,
        "language": draft.language,
        "model": draft.model,
        "session_key": draft.session_key,
    }
