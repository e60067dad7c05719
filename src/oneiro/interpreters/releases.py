"""Releases: a document is checked, frozen under a number, and made the default in one transaction."""

import asyncio

from oneiro.database.pool import Connection
from oneiro.errors import Conflict, NotFound, ValidationError
from oneiro.events.models import EventType
from oneiro.events.outbox import record
from oneiro.interpreters import documents, store
from oneiro.interpreters.models import InterpreterDocument, Release
from oneiro.interpreters.prompts import system_prompt, validate


async def publish(
    conn: Connection, document: InterpreterDocument, *, created_by: str, note: str = "", based_on: int | None = None
) -> Release:
    """Check a document and freeze it as the interpreter's next release, in one; see `freeze`.

    Raises `ValidationError` when a prompt breaks a rule. Checking takes a while for a large document: a service does it
    before its transaction.
    """
    await asyncio.to_thread(validate, document)
    return await freeze(conn, document, created_by=created_by, note=note, based_on=based_on)


async def freeze(
    conn: Connection,
    document: InterpreterDocument,
    *,
    created_by: str,
    note: str = "",
    based_on: int | None = None,
    onto: Release | None = None,
) -> Release:
    """Freeze a checked document as the interpreter's next release; it is not the default yet.

    `based_on` is the number of the default release the author saw; raises `Conflict` with the differences when another
    is the default. `onto` is the release that changes were merged onto; raises `Moved` when they belong onto another.
    """
    await store.insert_interpreter(conn, document)
    default = await store.lock(conn, document.id) or 0
    if based_on is not None and based_on != default:
        raise await _stale(conn, document.id, based_on, default)
    newest = await store.newest_number(conn, document.id)
    if onto is not None and onto.number != (default or newest):
        raise Moved
    made = await store.insert_release(
        conn, document, number=newest + 1, note=note, created_by=created_by, based_on=based_on or default or None
    )
    await _tell(conn, "interpreter.released", document.id, made.number)
    return made


class Moved(Exception):
    """Changes were merged onto a release that no longer is the one to change: merge them again."""


async def create(conn: Connection, document: InterpreterDocument, *, created_by: str, note: str = "") -> Release:
    """Freeze a checked document as the first release of a new interpreter.

    Raises `Conflict` when there is one of this id; of several at the same moment one succeeds.
    """
    await store.insert_interpreter(conn, document)
    await store.lock(conn, document.id)
    if await store.newest_number(conn, document.id):
        raise Conflict(f"There is an interpreter {document.id} already.", code="interpreter_exists")
    return await freeze(conn, document, created_by=created_by, note=note)


async def base(conn: Connection, interpreter_id: str) -> Release:
    """What changes are merged onto: the default release, or the newest one when none is active."""
    active = await store.active_release(conn, interpreter_id)
    return active or await _found(conn, interpreter_id, await store.newest_number(conn, interpreter_id))


async def activate(conn: Connection, interpreter_id: str, number: int, *, based_on: int | None = None) -> Release:
    """Make a release the default; repeating it changes nothing.

    Raises `NotFound`, `ValidationError` when the release has no system prompt, and `Conflict` when `based_on` is given
    and no longer the default.
    """
    default = await _locked(conn, interpreter_id)
    if based_on is not None and based_on != default != number:
        raise await _stale(conn, interpreter_id, based_on, default)
    chosen = await _found(conn, interpreter_id, number)
    if number == default:
        return chosen
    # Its prompts were rendered when it was published, and a release never changes.
    system_prompt(chosen.document)
    await store.activate(conn, chosen)
    await _tell(
        conn, "interpreter.rolled_back" if number < default else "interpreter.activated", interpreter_id, number
    )
    return await _found(conn, interpreter_id, number)


async def retire(conn: Connection, interpreter_id: str) -> None:
    """Take an interpreter out of service; activating a release brings it back."""
    default = await _locked(conn, interpreter_id)
    if default:
        await store.deactivate(conn, interpreter_id)
        await _tell(conn, "interpreter.retired", interpreter_id, default)


async def _locked(conn: Connection, interpreter_id: str) -> int:
    default = await store.lock(conn, interpreter_id)
    if default is None:
        raise NotFound(f"There is no interpreter {interpreter_id}.", code="interpreter_not_found")
    return default


async def _found(conn: Connection, interpreter_id: str, number: int) -> Release:
    release = await store.release(conn, interpreter_id, number)
    if release is None:
        raise NotFound(f"{interpreter_id} has no release {number}.", code="release_not_found")
    return release


async def _stale(conn: Connection, interpreter_id: str, based_on: int, default: int) -> Conflict | ValidationError:
    seen = await store.release(conn, interpreter_id, based_on)
    if seen is None:
        message = f"{interpreter_id} has no release {based_on}"
        return ValidationError(f"based_on: {message}.", errors=[{"field": "based_on", "message": message}])
    current = await store.release(conn, interpreter_id, default)
    changed = documents.differences(seen.document.data(), current.document.data()) if current else []
    return Conflict(
        f"Release {based_on} of {interpreter_id} is no longer the default: {default or 'none'} is.",
        code="stale_release",
        errors=changed,
    )


async def _tell(conn: Connection, event_type: EventType, interpreter_id: str, number: int) -> None:
    data = {"interpreter_id": interpreter_id, "number": number}
    await record(conn, event_type, entity_type="interpreter", entity_id=interpreter_id, data=data)
