"""Publishing: check → freeze → provision → read back → activate; a failure leaves the old default in charge.

The platform is asked between transactions. Documents are checked in a thread: a large one takes a while.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from oneiro.auth import Identity
from oneiro.database.pool import Connection, Database, DatabaseUnavailable
from oneiro.errors import Conflict, NotFound, OneiroError, ValidationError
from oneiro.http import Page
from oneiro.interpreters import documents, releases
from oneiro.interpreters import store as interpreters
from oneiro.interpreters.agents.models import Provisioned
from oneiro.interpreters.agents.service import GRACE, IDLE, Agents
from oneiro.interpreters.experiments.service import stop_running
from oneiro.interpreters.models import InterpreterDocument, Release
from oneiro.interpreters.prompts import render_system, validate
from oneiro.interpreters.publishing import store
from oneiro.interpreters.publishing.models import (
    Data,
    InterpreterDetail,
    InterpreterView,
    NewInterpreter,
    NewRelease,
    Preview,
    PreviewRequest,
    ReleaseDocument,
    ReleaseView,
    view,
)
from oneiro.interpreters.publishing.preview import preview

MADE_AT_ONCE: Final = 4
"""Agents of one release that are made side by side; the platform bounds how many requests it takes at a time."""


class Publishing:
    """Interpreters and their releases as operators change them."""

    def __init__(
        self, db: Database, agents: Agents, *, languages: list[str], models: list[str], clock: Callable[[], datetime]
    ) -> None:
        self._db = db
        self._agents = agents
        self._languages = languages
        self._models = models
        self._clock = clock

    async def interpreters(self, page: Page) -> list[InterpreterView]:
        """Interpreters, active or not, the newest first."""
        async with self._db.as_service() as conn:
            return await store.interpreters(conn, page.limit, page.cursor)

    async def interpreter(self, interpreter_id: str) -> InterpreterDetail:
        """One interpreter with its document (the newest one, when none is active) and agents; raises `NotFound`."""
        async with self._db.as_service() as conn:
            known = await _known(conn, interpreter_id)
            release = await _release(conn, interpreter_id, known.release or known.newest)
            previous = await interpreters.previous(conn, interpreter_id)
            agents = await store.agents(conn, interpreter_id, now=self._clock(), grace=GRACE, idle=IDLE)
        data = release.document.data()
        return InterpreterDetail(**known.model_dump(), document=data, previous=previous, agents=agents)

    async def releases(self, interpreter_id: str, page: Page) -> list[ReleaseView]:
        """Releases without their documents, the newest first; raises `NotFound`."""
        async with self._db.as_service() as conn:
            known = await _known(conn, interpreter_id)
            below = page.cursor and page.cursor.number
            return await store.releases(conn, interpreter_id, known.release or 0, page.limit, below)

    async def release(self, interpreter_id: str, number: int) -> ReleaseDocument:
        """One release, whole; raises `NotFound`."""
        async with self._db.as_service() as conn:
            known = await _known(conn, interpreter_id)
            release = await _release(conn, interpreter_id, number)
        shown = view(release, known.release or 0)
        return ReleaseDocument(**shown.model_dump(), document=release.document.data())

    async def create(self, caller: Identity, new: NewInterpreter) -> ReleaseView:
        """A whole new interpreter; raises `Conflict` when there is one of this id, and what `publish` raises."""
        document = await asyncio.to_thread(_checked, new.document, speaking=new.activate)
        async with self._db.as_service() as conn:
            made = await releases.create(conn, document, created_by=caller.actor, note=new.note)
        return await self._activated(made, 0, None) if new.activate else view(made, 0)

    async def publish(self, caller: Identity, interpreter_id: str, new: NewRelease) -> ReleaseView:
        """A release of an interpreter that there is.

        Raises `NotFound`, `ValidationError` with field and line, `Conflict` (with the differences, when `based_on` is
        no longer the default). Whatever fails once the release is stored says so, such as `PlatformUnavailable` or
        `AgentCreationError`: it is not the default then, and can be activated later.
        """
        made, default = await self._stored(caller.actor, interpreter_id, new)
        # Changes were merged onto the default of that moment: another one by now would be overwritten unseen.
        based_on = made.based_on if new.changes is not None else new.based_on
        return await self._activated(made, default, based_on) if new.activate else view(made, default)

    async def activate(self, interpreter_id: str, number: int, *, based_on: int | None = None) -> ReleaseView:
        """Provision a release's agents and make it the default; a lower number than the present one rolls back.

        Raises `NotFound`, what `prepare` raises, and `Conflict` when `based_on` is given and no longer the default; the
        error says which release is in charge.
        """
        async with self._db.as_service() as conn:
            default = (await _known(conn, interpreter_id)).release or 0
            release = await _release(conn, interpreter_id, number)
        try:
            return await self._turned(release, based_on)
        except (Conflict, ValidationError):
            raise  # They tell by themselves what is wrong with the request.
        except OneiroError as error:
            if number != default:
                _keep(error, release, default)
            raise

    async def retire(self, interpreter_id: str) -> InterpreterView:
        """Take an interpreter out of service, and stop its experiment.

        Talks that have begun go on, its agents leave the platform later.
        """
        async with self._db.as_service() as conn:
            await releases.retire(conn, interpreter_id)
            await stop_running(conn, interpreter_id, self._clock())
            return await _known(conn, interpreter_id)

    async def preview(self, interpreter_id: str, wanted: PreviewRequest) -> Preview:
        """What the platform and the dreamer would get; raises what publishing would."""
        async with self._db.as_service() as conn:
            known = await store.interpreter(conn, interpreter_id)
            base = await _release(conn, interpreter_id, known.release or known.newest) if known else None
        return await asyncio.to_thread(_tried, interpreter_id, base, wanted, self._clock())

    async def prepare(self, release: Release) -> list[str]:
        """Have the platform take the release for every language and model that is offered; the fields that drifted.

        Raises `ValidationError` without a system prompt, `PlatformUnavailable` and `AgentCreationError`.
        """
        # Without a system prompt nothing is asked of the platform.
        await asyncio.to_thread(render_system, release.document, "")
        pairs = [(language, model) for language in self._languages for model in self._models]
        # The first alone: a voice is designed once, and a refusal told once.
        made = [await self._agents.prepare(release, *pairs[0])]
        at_once = asyncio.Semaphore(MADE_AT_ONCE)

        async def prepare(language: str, model: str) -> Provisioned:
            async with at_once:
                return await self._agents.prepare(release, language, model)

        # All are waited for, so that none is at work when the operator hears of another's failure.
        for outcome in await asyncio.gather(*(prepare(*pair) for pair in pairs[1:]), return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
            made.append(outcome)
        return sorted({field for agent in made for field in agent.drift})

    async def _stored(self, by: str, interpreter_id: str, new: NewRelease) -> tuple[Release, int]:
        """The stored release, and the number of the default one; all checking is done between the transactions."""
        while True:
            async with self._db.as_service() as conn:
                await _known(conn, interpreter_id)
                onto = await releases.base(conn, interpreter_id) if new.document is None else None
            document = await asyncio.to_thread(_wanted, interpreter_id, onto, new)
            try:
                async with self._db.as_service() as conn:
                    made = await releases.freeze(
                        conn, document, created_by=by, note=new.note, based_on=new.based_on, onto=onto
                    )
                    return made, (await _known(conn, interpreter_id)).release or 0
            except releases.Moved:
                # Somebody was quicker; each time one of the waiting ones is through.
                continue

    async def _activated(self, made: Release, default: int, based_on: int | None) -> ReleaseView:
        """Activate what was just stored."""
        try:
            return await self._turned(made, based_on)
        except OneiroError as error:
            _keep(error, made, default)
            raise

    async def _turned(self, chosen: Release, based_on: int | None) -> ReleaseView:
        drift = await self.prepare(chosen)
        async with self._db.as_service() as conn:
            activated = await releases.activate(conn, chosen.interpreter_id, chosen.number, based_on=based_on)
        return view(activated, chosen.number, drift)


def _wanted(interpreter_id: str, onto: Release | None, new: NewRelease) -> InterpreterDocument:
    """The document that a request means; raises `ValidationError` for one that may not be stored."""
    if onto is None:
        return _checked(_own(interpreter_id, new.document), speaking=new.activate)
    return _checked(documents.merge(onto.document, new.changes), speaking=new.activate)


def _checked(wanted: InterpreterDocument | Data, *, speaking: bool) -> InterpreterDocument:
    """The document with its prompts tried, and with a system prompt if it shall be the default."""
    document = wanted if isinstance(wanted, InterpreterDocument) else documents.from_data(wanted)
    validate(document)
    if speaking:
        render_system(document, "")
    return document


def _own(interpreter_id: str, data: Any) -> InterpreterDocument:
    document = documents.from_data(data)
    if document.id != interpreter_id:
        raise documents.invalid("id", f"this is the document of {document.id}, not of {interpreter_id}")
    return document


def _tried(interpreter_id: str, base: Release | None, wanted: PreviewRequest, now: datetime) -> Preview:
    if wanted.document is not None:
        return preview(_own(interpreter_id, wanted.document), wanted.context, now)
    if base is None:
        raise _unknown(interpreter_id)
    return preview(documents.merge(base.document, wanted.changes or {}), wanted.context, now)


async def _known(conn: Connection, interpreter_id: str) -> InterpreterView:
    known = await store.interpreter(conn, interpreter_id)
    if known is None:
        raise _unknown(interpreter_id)
    return known


async def _release(conn: Connection, interpreter_id: str, number: int) -> Release:
    release = await interpreters.release(conn, interpreter_id, number)
    if release is None:
        raise NotFound(f"{interpreter_id} has no release {number}.", code="release_not_found")
    return release


def _unknown(interpreter_id: str) -> NotFound:
    return NotFound(f"There is no interpreter {interpreter_id}.", code="interpreter_not_found")


def _keep(error: OneiroError, made: Release, default: int) -> None:
    """Add to an error what became of the release that could not be activated."""
    if isinstance(error, DatabaseUnavailable):
        state = "stored; whether it is active is not known"
    else:
        state = "stored and not active"
    if isinstance(error, Conflict | DatabaseUnavailable):
        charge = ""  # Which release is in charge is what the conflict tells, and what nobody can be asked.
    else:
        charge = f"Release {default} stays in charge. " if default else "The interpreter is not active. "
    told = error.detail
    at = f"{made.interpreter_id}/releases/{made.number}/activate"
    error.detail = (
        f"Release {made.number} of {made.interpreter_id} is {state}. {charge}{told} "
        f"To activate it: POST /v1/admin/interpreters/{at}."
    )
    error.errors = [{"field": "activate", "message": told, "release": made.number}, *(error.errors or ())]
