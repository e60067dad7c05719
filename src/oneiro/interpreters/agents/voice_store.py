"""Rows of `platform_voices`, by the hash of the description that a voice was designed from.

A row under a lease is work in progress; whoever finds the lease lapsed may take the row over.
"""

from dataclasses import dataclass
from datetime import datetime
from math import isclose

from psycopg.rows import class_row

from oneiro.database.pool import Connection
from oneiro.platform.port import VoiceTuning


@dataclass(frozen=True, slots=True)
class VoiceRow:
    """A voice that was designed (`voice_id`), refused (`error_code`) or is being designed."""

    voice_id: str | None
    error_code: str | None
    style: float | None
    use_speaker_boost: bool | None
    free: bool

    def ignored(self, tuning: VoiceTuning) -> tuple[str, ...]:
        """The settings of this tuning that the voice does not have: it was tuned once, with the ones of that time."""
        style = self.style is not None and isclose(self.style, tuning.style, abs_tol=1e-6)
        kept = {"voice.style": style, "voice.use_speaker_boost": self.use_speaker_boost == tuning.use_speaker_boost}
        return tuple(name for name, same in kept.items() if not same)


@dataclass(frozen=True, slots=True)
class Claim:
    """A voice that is ours to make; `taken_over`: somebody began and did not finish."""

    description_sha256: str
    taken_over: bool
    installation: str


async def find(conn: Connection, description_sha256: str, now: datetime) -> VoiceRow | None:
    """What is known of the voice of a description."""
    async with conn.cursor(row_factory=class_row(VoiceRow)) as cursor:
        await cursor.execute(
            """
            SELECT voice_id, error_code, style, use_speaker_boost,
                   voice_id IS NULL AND coalesce(lease_until <= %s, true) AS free
            FROM platform_voices WHERE description_sha256 = %s
            """,
            (now, description_sha256),
        )
        return await cursor.fetchone()


async def claim(
    conn: Connection, description_sha256: str, interpreter_id: str, owner: str, now: datetime, until: datetime
) -> Claim | None:
    """Take the voice of a description under our lease, unless it exists or somebody works on it."""
    async with conn.cursor(row_factory=class_row(Claim)) as cursor:
        await cursor.execute(
            """
            INSERT INTO platform_voices AS mine (
                description_sha256, interpreter_id, lease_owner, lease_until, created_at
            ) VALUES (%(sha)s, %(interpreter_id)s, %(owner)s, %(until)s, %(now)s)
            ON CONFLICT (description_sha256)
            DO UPDATE SET lease_owner = excluded.lease_owner, lease_until = excluded.lease_until, error_code = NULL
            WHERE mine.voice_id IS NULL AND coalesce(mine.lease_until <= %(now)s, true)
            RETURNING mine.description_sha256, mine.xmax <> 0 AS taken_over, oneiro.installation() AS installation
            """,
            {"sha": description_sha256, "interpreter_id": interpreter_id, "owner": owner, "until": until, "now": now},
        )
        return await cursor.fetchone()


async def ready(
    conn: Connection, description_sha256: str, owner: str, voice_id: str, tuned: VoiceTuning | None
) -> bool:
    """Keep the voice that we designed, and what it was tuned with; False when the lease is no longer ours."""
    done = await conn.execute(
        """
        UPDATE platform_voices
        SET voice_id = %s, style = %s, use_speaker_boost = %s, error_code = NULL, lease_owner = NULL, lease_until = NULL
        WHERE description_sha256 = %s AND lease_owner = %s
        """,
        (voice_id, tuned and tuned.style, tuned and tuned.use_speaker_boost, description_sha256, owner),
    )
    return done.rowcount == 1


async def free(
    conn: Connection, description_sha256: str, owner: str, error_code: str | None, until: datetime | None
) -> None:
    """Give the voice back undesigned; it is not tried again before `until`."""
    await conn.execute(
        """
        UPDATE platform_voices SET error_code = %s, lease_owner = NULL, lease_until = %s
        WHERE description_sha256 = %s AND lease_owner = %s
        """,
        (error_code, until, description_sha256, owner),
    )


async def forget(conn: Connection, voice_id: str) -> None:
    """Forget a voice that the platform has no more: whoever needs one of its description designs it again."""
    await conn.execute("DELETE FROM platform_voices WHERE voice_id = %s", (voice_id,))
