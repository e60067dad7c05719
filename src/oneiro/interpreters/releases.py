"""Releases: a document is checked, frozen under a number, and made the default in one transaction."""

import asyncio
from typing import Any

from oneiro.database.pool import Connection
from oneiro.errors import Conflict, NotFound, ValidationError
from oneiro.events.models import EventType
from oneiro.events.outbox import record
from oneiro.interpreters import documents, store
from oneiro.interpreters.models import InterpreterDocument, Release
from oneiro.interpreters.prompts import render_system, validate


async def publish(
    conn: Connection, document: InterpreterDocument, *, created_by: str, note: str = "", based_on: int | None = None
) -> Release:
    """Freeze a document as the interpreter's next release; it is not the default yet.

    `based_on` is the number of the default release the author saw. Raises `ValidationError` when a prompt breaks a
    rule, and `Conflict` with the differences when `based_on` is no longer the default. Checking runs in a thread, since
    a large document takes a while.
    """
    await asyncio.to_thread(validate, document)
    await store.insert_interpreter(conn, document)
    default = await store.lock(conn, document.id) or 0
    if based_on is not None and based_on != default:
        raise await _stale(conn, document.id, based_on, default)
    number = await store.newest_number(conn, document.id) + 1
    made = await store.insert_release(
        conn, document, number=number, note=note, created_by=created_by, based_on=based_on or default or None
    )
    await _tell(conn, "interpreter.released", document.id, number)
    return made


async def publish_changes(
    conn: Connection,
    interpreter_id: str,
    changes: Any,
    *,
    created_by: str,
    note: str = "",
    based_on: int | None = None,
) -> Release:
    """Publish the default release (the newest one, when none is active) with an RFC 7396 merge patch applied."""
    default = await _locked(conn, interpreter_id)
    number = default or await store.newest_number(conn, interpreter_id)
    base = await _found(conn, interpreter_id, number)
    document = await asyncio.to_thread(documents.merge, base.document, changes)
    return await publish(conn, document, created_by=created_by, note=note, based_on=based_on)


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
    render_system(chosen.document, "")
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
