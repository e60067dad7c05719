"""The rows of interpreters and their releases."""

from typing import Final, LiteralString
from uuid import UUID

from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb

from oneiro.database.pool import Connection
from oneiro.interpreters.document_cache import DocumentCache
from oneiro.interpreters.models import InterpreterDocument, Release, Voice

# Room for a thousand and more of the usual size, and for some twenty as large as may be.
DOCUMENTS: Final = DocumentCache(most_bytes=16 * 1024 * 1024)


async def active_release(conn: Connection, interpreter_id: str) -> Release | None:
    """The default release of an active interpreter."""
    found = await _rows(
        conn,
        """
        SELECT r.id, r.interpreter_id, r.number, r.content_hash, r.note, r.created_by, r.created_at, r.based_on,
               r.activated_at
        FROM interpreter_configs AS c
        JOIN interpreter_releases AS r ON r.interpreter_id = c.id AND r.number = c.version
        WHERE c.is_active AND c.id = %s
        """,
        interpreter_id,
    )
    return await _release(conn, found[0]) if found else None


async def active_releases(conn: Connection) -> list[Release]:
    """The default releases of all active interpreters."""
    found = await _rows(
        conn,
        """
        SELECT r.id, r.interpreter_id, r.number, r.content_hash, r.note, r.created_by, r.created_at, r.based_on,
               r.activated_at
        FROM interpreter_configs AS c
        JOIN interpreter_releases AS r ON r.interpreter_id = c.id AND r.number = c.version
        WHERE c.is_active
        ORDER BY c.id
        """,
    )
    return [await _release(conn, row) for row in found]


async def active_ids(conn: Connection) -> list[str]:
    """Ids of the interpreters that conversations can be started with."""
    result = await conn.execute("SELECT id FROM interpreter_configs WHERE is_active ORDER BY id")
    return [row[0] for row in await result.fetchall()]


async def cards_version(conn: Connection) -> str:
    """Differs whenever an interpreter was added, activated or retired: which are active with which release."""
    result = await conn.execute(
        """
        SELECT coalesce(string_agg(id || ':' || version, ',' ORDER BY id), '') FROM interpreter_configs WHERE is_active
        """
    )
    row = await result.fetchone()
    return str(row[0]) if row else ""


async def name(conn: Connection, interpreter_id: str) -> str:
    """The interpreter's name, active or not; its id when there is no such row."""
    result = await conn.execute("SELECT name FROM interpreter_configs WHERE id = %s", (interpreter_id,))
    row = await result.fetchone()
    return row[0] if row else interpreter_id


async def release(conn: Connection, interpreter_id: str, number: int) -> Release | None:
    """One release by its number."""
    found = await _rows(
        conn,
        """
        SELECT id, interpreter_id, number, content_hash, note, created_by, created_at, based_on, activated_at
        FROM interpreter_releases WHERE interpreter_id = %s AND number = %s
        """,
        interpreter_id,
        number,
    )
    return await _release(conn, found[0]) if found else None


async def previous(conn: Connection, interpreter_id: str) -> int | None:
    """The number of the release that rolling back leads to, None when there is none.

    It is the highest that was in charge, below the present one, and since then was not rolled back from: no lower one
    took charge after it. For an interpreter that is not active it is the one that was in charge last.
    """
    result = await conn.execute(
        """
        SELECT max(r.number)
        FROM interpreter_configs AS c JOIN interpreter_releases AS r ON r.interpreter_id = c.id
        WHERE c.id = %s AND r.activated_at IS NOT NULL AND (NOT c.is_active OR r.number < c.version)
          AND NOT EXISTS (SELECT 1 FROM interpreter_releases AS lower
                          WHERE lower.interpreter_id = c.id AND lower.number < r.number
                            AND lower.activated_at > r.activated_at)
        """,
        (interpreter_id,),
    )
    row = await result.fetchone()
    return row[0] if row else None


async def newest_number(conn: Connection, interpreter_id: str) -> int:
    """The number of the newest release; 0 when there is none."""
    result = await conn.execute(
        "SELECT coalesce(max(number), 0) FROM interpreter_releases WHERE interpreter_id = %s", (interpreter_id,)
    )
    row = await result.fetchone()
    return int(row[0]) if row else 0


async def knows_hash(conn: Connection, interpreter_id: str, content_hash: str) -> bool:
    """Whether a release with this content exists."""
    result = await conn.execute(
        "SELECT 1 FROM interpreter_releases WHERE interpreter_id = %s AND content_hash = %s LIMIT 1",
        (interpreter_id, content_hash),
    )
    return await result.fetchone() is not None


async def insert_interpreter(conn: Connection, document: InterpreterDocument) -> None:
    """Insert the row of an interpreter, not active and without a release, unless there is one."""
    await conn.execute(
        """
        INSERT INTO interpreter_configs (id, name, full_name, description, is_active, version)
        VALUES (%s, %s, %s, %s, false, 0)
        ON CONFLICT (id) DO NOTHING
        """,
        (document.id, document.name, document.full_name, document.description),
    )


async def lock(conn: Connection, interpreter_id: str) -> int | None:
    """Lock an interpreter until the transaction ends.

    Returns the number of its default release, 0 when it has none or is not active, None when there is no such row.
    """
    # Not FOR UPDATE: conversations that refer to the row would have to wait.
    result = await conn.execute(
        "SELECT CASE WHEN is_active THEN version ELSE 0 END FROM interpreter_configs WHERE id = %s FOR NO KEY UPDATE",
        (interpreter_id,),
    )
    row = await result.fetchone()
    return int(row[0]) if row else None


async def insert_release(
    conn: Connection, document: InterpreterDocument, *, number: int, note: str, created_by: str, based_on: int | None
) -> Release:
    """Insert a release of the interpreter, which the caller has locked."""
    found = await _rows(
        conn,
        """
        INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, note, created_by, based_on)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        RETURNING id, interpreter_id, number, content_hash, note, created_by, created_at, based_on, activated_at
        """,
        document.id,
        number,
        Jsonb(document.data()),
        document.content_hash,
        note,
        created_by,
        based_on,
    )
    return Release(**found[0], document=document)


async def activate(conn: Connection, chosen: Release) -> None:
    """Make a release the default: write the guide's tables as its projection.

    Rows of an earlier activation of the same release are taken up again, as a release never changes.
    """
    document = chosen.document
    await conn.execute(
        """
        UPDATE interpreter_configs
        SET name = %s, full_name = %s, description = %s, version = %s, is_active = true, retired_at = NULL
        WHERE id = %s
        """,
        (document.name, document.full_name, document.description, chosen.number, document.id),
    )
    # Not the transaction's own time: it may have waited for the lock while another release took charge.
    await conn.execute("UPDATE interpreter_releases SET activated_at = clock_timestamp() WHERE id = %s", (chosen.id,))
    await _project_personality(conn, chosen)
    await _project_voice(conn, chosen)
    await _project_prompts(conn, chosen)


async def deactivate(conn: Connection, interpreter_id: str) -> None:
    """Retire an interpreter: nobody can start with it any more, its releases stay."""
    await conn.execute(
        "UPDATE interpreter_configs SET is_active = false, retired_at = now() WHERE id = %s", (interpreter_id,)
    )


async def _project_personality(conn: Connection, chosen: Release) -> None:
    key = (chosen.interpreter_id, chosen.number)
    await conn.execute(
        "UPDATE interpreter_personalities SET is_active = false WHERE interpreter_id = %s AND is_active", key[:1]
    )
    taken = await conn.execute(
        "UPDATE interpreter_personalities SET is_active = true WHERE interpreter_id = %s AND version = %s", key
    )
    if taken.rowcount:
        return
    data = chosen.document.data()["personality"]
    await conn.execute(
        """
        INSERT INTO interpreter_personalities
            (interpreter_id, version, approach, traits, conversation_style, expertise, response_patterns)
        VALUES (%s, %s, %s, %s, %s, %s, %s)
        """,
        (
            *key,
            data["approach"],
            Jsonb(data["traits"]),
            Jsonb(data["conversation_style"]),
            Jsonb(data["expertise"]),
            Jsonb(data["response_patterns"]),
        ),
    )


async def _project_voice(conn: Connection, chosen: Release) -> None:
    key = (chosen.interpreter_id, chosen.number)
    await conn.execute(
        "UPDATE interpreter_voices SET is_active = false WHERE interpreter_id = %s AND is_active", key[:1]
    )
    taken = await conn.execute(
        "UPDATE interpreter_voices SET is_active = true WHERE interpreter_id = %s AND version = %s", key
    )
    if taken.rowcount:
        return
    voice = chosen.document.voice or Voice()
    await conn.execute(
        """
        INSERT INTO interpreter_voices
            (interpreter_id, version, voice_id, voice_description, stability, similarity_boost, style, speaking_rate,
             use_speaker_boost)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        """,
        (
            *key,
            voice.voice_id,
            voice.voice_description,
            voice.stability,
            voice.similarity_boost,
            voice.style,
            voice.speaking_rate,
            voice.use_speaker_boost,
        ),
    )


async def _project_prompts(conn: Connection, chosen: Release) -> None:
    await conn.execute(
        "UPDATE interpreter_prompts SET is_active = false WHERE interpreter_id = %s AND is_active",
        (chosen.interpreter_id,),
    )
    for prompt in chosen.document.data()["prompts"]:
        await conn.execute(
            """
            INSERT INTO interpreter_prompts (interpreter_id, version, type, name, template, variables)
            VALUES (%s, %s, %s, %s, %s, %s)
            ON CONFLICT (interpreter_id, type, name, version) DO UPDATE SET is_active = true
            """,
            (
                chosen.interpreter_id,
                chosen.number,
                prompt["type"],
                prompt["name"],
                prompt["template"],
                Jsonb(prompt["variables"]),
            ),
        )


async def _rows(conn: Connection, query: LiteralString, *values: object) -> list[DictRow]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, values)
        return await cursor.fetchall()


async def _release(conn: Connection, row: DictRow) -> Release:
    return Release(**row, document=await _document(conn, row["id"]))


async def _document(conn: Connection, release_id: UUID) -> InterpreterDocument:
    known = DOCUMENTS.get(release_id)
    if known is not None:
        return known
    query = "SELECT document, octet_length(document::text) AS size FROM interpreter_releases WHERE id = %s"
    [found] = await _rows(conn, query, release_id)
    return DOCUMENTS.keep(release_id, InterpreterDocument.model_validate(found["document"]), found["size"])
