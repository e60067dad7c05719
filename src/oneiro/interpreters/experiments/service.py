"""Experiments: which release a dreamer gets, and how experiments begin and end."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

import psycopg

from oneiro.auth import Identity
from oneiro.database.pool import Connection, Database
from oneiro.errors import Conflict, NotFound, ValidationError
from oneiro.events.models import EventType
from oneiro.events.outbox import record
from oneiro.http import Cursor
from oneiro.interpreters import store as interpreters
from oneiro.interpreters.experiments import store
from oneiro.interpreters.experiments.draw import drawn
from oneiro.interpreters.experiments.models import Arm, Chosen, Experiment, ExperimentPlan, Status
from oneiro.interpreters.experiments.results import EARLY_SECONDS, Results, evaluate
from oneiro.interpreters.models import Release


async def choose(conn: Connection, default: Release, user_id: UUID, language: str) -> Chosen:
    """The release that this dreamer's conversation starts with in place of the default, in the caller's transaction.

    While an experiment runs, a dreamer who takes part is given an arm once and keeps it; `experiment.assigned` tells
    of it. Her row in `profiles` must exist.
    """
    interpreter_id = default.interpreter_id
    arms = await store.running_arms(conn, interpreter_id, user_id)
    if not arms or language not in (arms[0].languages or [language]):
        return Chosen(default)
    arm = next((arm for arm in arms if arm.mine), None) or await _assigned(conn, arms, interpreter_id, user_id)
    if arm is None:
        return Chosen(default)
    release = await interpreters.release(conn, interpreter_id, arm.release)
    assert release is not None, "an arm's release cannot be deleted"
    return Chosen(release, arm.arm_id, arm.name)


async def stop_running(conn: Connection, interpreter_id: str, now: datetime) -> None:
    """Stop the interpreter's running experiment, if there is one, in the caller's transaction."""
    running = await store.running(conn, interpreter_id)
    experiment = await store.find(conn, running, lock=True) if running else None
    if experiment is not None and experiment.status == "running":
        await store.end(conn, experiment.id, "stopped", now)
        await _tell(conn, "experiment.stopped", experiment)


async def _assigned(
    conn: Connection, arms: list[store.RunningArm], interpreter_id: str, user_id: UUID
) -> store.RunningArm | None:
    experiment_id = arms[0].experiment_id
    place = drawn(arms[0].salt, user_id, share=arms[0].share, weights=[arm.weight for arm in arms])
    if place is None:
        return None
    # The draw is the same everywhere, so a start that came first gave her this very arm.
    if await store.assign(conn, experiment_id, user_id, arms[place].arm_id):
        data = {
            "experiment_id": str(experiment_id),
            "interpreter_id": interpreter_id,
            "arm": arms[place].name,
            "release": arms[place].release,
        }
        await record(
            conn,
            "experiment.assigned",
            entity_type="experiment",
            entity_id=str(experiment_id),
            data=data,
            user_id=user_id,
        )
    return arms[place]


class Releases(Protocol):
    """What an experiment needs of publishing: agents that are there, and a default that changes."""

    async def prepare(self, release: Release) -> list[str]:
        """Provision the agents of a release; returns the fields that drifted."""

    async def activate(self, interpreter_id: str, number: int, *, based_on: int | None = None) -> object:
        """Make a release the default; raises `Conflict` when `based_on` no longer is."""


class Experiments:
    """Experiments as operators lead them."""

    def __init__(
        self, db: Database, releases: Releases, *, languages: list[str], clock: Callable[[], datetime]
    ) -> None:
        self._db = db
        self._releases = releases
        self._languages = languages
        self._clock = clock

    async def create(self, caller: Identity, plan: ExperimentPlan) -> Experiment:
        """Write an experiment down as a draft; raises `NotFound` and `ValidationError` naming the field."""
        for language in plan.eligibility.languages or ():
            if language not in self._languages:
                raise _invalid("eligibility.languages", f"{language} is not offered here")
        async with self._db.as_service() as conn:
            arms = [
                await self._release(conn, plan.interpreter_id, place, arm.release)
                for place, arm in enumerate(plan.arms)
            ]
            experiment_id = await store.insert(conn, plan, _author(caller))
            for arm, release in zip(plan.arms, arms, strict=True):
                await store.insert_arm(conn, experiment_id, arm, release.id)
            return await _found(conn, experiment_id)

    async def _release(self, conn: Connection, interpreter_id: str, place: int, number: int) -> Release:
        if await interpreters.newest_number(conn, interpreter_id) == 0:
            raise NotFound(f"There is no interpreter {interpreter_id}.", code="interpreter_not_found")
        release = await interpreters.release(conn, interpreter_id, number)
        if release is None:
            raise _invalid(f"arms[{place}].release", f"{interpreter_id} has no release {number}")
        if release.document.prompt("system") is None:
            raise _invalid(f"arms[{place}].release", f"release {number} has no system prompt")
        return release

    async def list(self, interpreter_id: str | None, limit: int, after: Cursor | None) -> list[Experiment]:
        """Experiments, the newest first."""
        async with self._db.as_service() as conn:
            return await store.select(conn, interpreter_id, limit, after)

    async def read(self, experiment_id: UUID) -> Experiment:
        """One experiment; raises `NotFound`."""
        async with self._db.as_service() as conn:
            return await _found(conn, experiment_id)

    async def start(self, experiment_id: UUID) -> Experiment:
        """Provision every arm's agents and begin; raises `Conflict`, and what the platform says.

        An interpreter that is not active has nobody to assign. A failure leaves the experiment as it was. Repeating it
        changes nothing.
        """
        async with self._db.as_service() as conn:
            experiment = await _found(conn, experiment_id)
            if experiment.status == "running":
                return experiment
            _expect(experiment, "draft")
            _in_service(experiment, await interpreters.active_release(conn, experiment.interpreter_id))
            arms = [await interpreters.release(conn, experiment.interpreter_id, arm.release) for arm in experiment.arms]
        for release in arms:
            assert release is not None, "an arm's release cannot be deleted"
            await self._releases.prepare(release)
        try:
            return await self._begun(experiment_id)
        except psycopg.errors.UniqueViolation:
            raise Conflict(
                f"Another experiment of {experiment.interpreter_id} is running; stop it first.",
                code="experiment_running",
            ) from None

    async def stop(self, experiment_id: UUID) -> Experiment:
        """End it: everybody gets the default release again; repeating it changes nothing."""
        experiment = await self.read(experiment_id)
        return experiment if experiment.status == "stopped" else await self._ended(experiment_id, "running", "stopped")

    async def promote(self, experiment_id: UUID, name: str) -> Experiment:
        """Make an arm's release the default and end the experiment; raises what activating raises.

        Repeating it changes nothing. Raises `Conflict` when another release took charge since the experiment began (or,
        once it is promoted, at all): promoting would undo that unseen. So it does for a retired interpreter.
        """
        async with self._db.as_service() as conn:
            experiment = await _found(conn, experiment_id)
            default = await interpreters.active_release(conn, experiment.interpreter_id)
        arm = experiment.arm(name)
        if arm is None:
            raise _invalid("arm", f"there is no such arm; there are {', '.join(arm.name for arm in experiment.arms)}")
        if experiment.status == "draft":
            raise Conflict("An experiment that has not begun has no winner.", code="experiment_not_running")
        charge = _in_service(experiment, default)
        _undoes_nothing(experiment, arm, charge)
        await self._releases.activate(experiment.interpreter_id, arm.release, based_on=charge.number)
        if experiment.status == "promoted":
            return experiment
        return await self._ended(experiment_id, experiment.status, "promoted", arm)

    async def results(self, experiment_id: UUID) -> Results:
        """What came of it so far, per dreamer and arm; raises `NotFound` and `StatisticsMissing`."""
        async with self._db.as_service() as conn:
            experiment = await _found(conn, experiment_id)
            arms = [arm.id for arm in experiment.arms]
            assigned = await store.assigned(conn, experiment_id)
            failed = await store.failed(conn, arms)
            figures = await store.figures(conn, arms, early_seconds=EARLY_SECONDS)
        return await asyncio.to_thread(evaluate, experiment, assigned, figures, failed)

    async def _begun(self, experiment_id: UUID) -> Experiment:
        async with self._db.as_service() as conn:
            # The interpreter is locked before its experiment, as retiring does: one of the two comes first.
            default = await self._held(conn, experiment_id)
            experiment = await _found(conn, experiment_id, lock=True)
            if experiment.status == "running":
                return experiment
            _expect(experiment, "draft")
            await store.begin(conn, experiment_id, default.number, self._clock())
            await _tell(conn, "experiment.started", experiment)
            return await _found(conn, experiment_id)

    async def _held(self, conn: Connection, experiment_id: UUID) -> Release:
        experiment = await _found(conn, experiment_id)
        await interpreters.lock(conn, experiment.interpreter_id)
        return _in_service(experiment, await interpreters.active_release(conn, experiment.interpreter_id))

    async def _ended(
        self, experiment_id: UUID, before: Status, after: Literal["stopped", "promoted"], promoted: Arm | None = None
    ) -> Experiment:
        async with self._db.as_service() as conn:
            experiment = await _found(conn, experiment_id, lock=True)
            if experiment.status == after:
                return experiment
            _expect(experiment, before)
            await store.end(conn, experiment_id, after, self._clock())
            if before == "running":
                await _tell(conn, "experiment.stopped", experiment, promoted)
            return await _found(conn, experiment_id)


async def _tell(conn: Connection, event: EventType, experiment: Experiment, promoted: Arm | None = None) -> None:
    arms = [{"name": arm.name, "release": arm.release, "weight": arm.weight} for arm in experiment.arms]
    data = {
        "experiment_id": str(experiment.id),
        "interpreter_id": experiment.interpreter_id,
        "arms": arms,
        **({"promoted": promoted.name} if promoted else {}),
    }
    await record(conn, event, entity_type="experiment", entity_id=str(experiment.id), data=data)


def _in_service(experiment: Experiment, default: Release | None) -> Release:
    if default is None:
        raise Conflict(
            f"{experiment.interpreter_id} is not in service; activate one of its releases first.",
            code="interpreter_not_active",
        )
    return default


def _undoes_nothing(experiment: Experiment, arm: Arm, default: Release) -> None:
    """Raise `Conflict` when promoting would put a release out of charge that took it after the experiment began."""
    expected = {arm.release} if experiment.status == "promoted" else {arm.release, experiment.default_at_start}
    if default.number not in expected:
        raise Conflict(
            f"Release {default.number} of {experiment.interpreter_id} is in charge by a later decision; promoting "
            f"{arm.name} would undo that. Nothing was changed. If you mean to, activate release {arm.release}.",
            code="later_release",
        )


def _author(caller: Identity) -> str:
    return str(caller.user_id or caller.role)


def _expect(experiment: Experiment, status: Status) -> None:
    if experiment.status != status:
        raise Conflict(f"The experiment is {experiment.status}, not {status}.", code=f"experiment_not_{status}")


async def _found(conn: Connection, experiment_id: UUID, *, lock: bool = False) -> Experiment:
    experiment = await store.find(conn, experiment_id, lock=lock)
    if experiment is None:
        raise NotFound("There is no such experiment.", code="experiment_not_found")
    return experiment


def _invalid(field: str, message: str) -> ValidationError:
    return ValidationError(f"{field}: {message}.", errors=[{"field": field, "message": message}])
