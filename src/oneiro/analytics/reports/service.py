"""An interpreter's performance, and the dashboard."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from oneiro.analytics.reports import store
from oneiro.analytics.reports.figures import creations, figures, has_talks, together
from oneiro.analytics.reports.models import (
    Dashboard,
    Health,
    InterpreterFigures,
    Performance,
    ReleaseFigures,
)
from oneiro.analytics.reports.store import Listed, Named, Part
from oneiro.analytics.rollups import store as rollups
from oneiro.database.pool import Database
from oneiro.errors import NotFound, ValidationError
from oneiro.events.service import Events
from oneiro.interpreters.overview.service import PlatformOverview
from oneiro.monitoring import store as monitoring

DAY: Final = timedelta(days=1)
USUAL: Final = timedelta(days=30)
"""The range of a report that names no start."""
LONGEST: Final = timedelta(days=3653)
"""Ten years."""


class Reports:
    """Reads what operators see; each report takes a handful of statements, however many conversations there were."""

    def __init__(
        self, db: Database, overview: PlatformOverview, events: Events, *, slots: int, clock: Callable[[], datetime]
    ) -> None:
        self._db, self._overview, self._events, self._slots, self._clock = db, overview, events, slots, clock

    async def performance(self, interpreter_id: str, start: datetime | None, end: datetime | None) -> Performance:
        """An interpreter's figures over the conversations that ended from `start` until before `end`.

        Raises `NotFound` for an interpreter that there never was, `ValidationError` for a range that is none.
        """
        begin, until = _range(start, end, self._clock())
        async with self._db.as_service() as conn:
            if not await store.exists(conn, interpreter_id):
                raise NotFound("There is no such interpreter.", code="interpreter_not_found")
            parts = await store.counts(conn, begin, until, interpreter_id)
            names = await store.names(
                conn, [(part.release_id, part.arm_id) for part in parts if has_talks(part.counts)]
            )
        total = together(part.counts for part in parts)
        return Performance(
            interpreter_id=interpreter_id,
            start=begin,
            end=until,
            total=figures(total),
            releases=[_release(named, parts) for named in names],
            agents=creations(total),
        )

    async def dashboard(self) -> Dashboard:
        """The last day beside the one before, by interpreter, and how the system is."""
        now = self._clock()
        async with self._db.as_service() as conn:
            last = await store.counts(conn, now - DAY, now)
            previous = await store.counts(conn, now - 2 * DAY, now - DAY)
            listed = await store.interpreters(conn)
            moment = await monitoring.snapshot(conn, self._slots, now)
            waiting = await rollups.dirty(conn)
        platform = await self._overview.read()
        return Dashboard(
            time=now,
            active_conversations=moment.active,
            last_24_hours=figures(together(part.counts for part in last)),
            previous_24_hours=figures(together(part.counts for part in previous)),
            interpreters=[_interpreter(each, last, previous) for each in listed if _shown(each, (*last, *previous))],
            system_health=Health(
                breakers=platform.breakers,
                slots=platform.slots,
                consumers=await self._events.consumers(),
                jobs=dict(moment.jobs),
                unreconciled=moment.unreconciled,
                hours_to_count=waiting,
            ),
        )


def _range(start: datetime | None, end: datetime | None, now: datetime) -> tuple[datetime, datetime]:
    try:
        until = (end or now).astimezone(UTC)
        begin = start.astimezone(UTC) if start else until - USUAL
    except (OverflowError, ValueError):
        raise _no_range("start", "and end must lie between the years 1 and 9999") from None
    if begin >= until:
        raise _no_range("start", "must lie before end")
    if until - begin > LONGEST:
        raise _no_range("start", "may lie at most ten years before end")
    return begin, until


def _no_range(field: str, message: str) -> ValidationError:
    return ValidationError(f"The range is not valid: {field} {message}.", errors=[{"field": field, "message": message}])


def _release(named: Named, parts: Sequence[Part]) -> ReleaseFigures:
    key = (named.release_id, named.arm_id)
    counted = together(part.counts for part in parts if (part.release_id, part.arm_id) == key)
    return ReleaseFigures(
        **figures(counted).model_dump(), release=named.release, arm=named.arm, experiment=named.experiment
    )


def _interpreter(listed: Listed, last: Sequence[Part], previous: Sequence[Part]) -> InterpreterFigures:
    def of(parts: Sequence[Part]) -> dict[str, float]:
        return dict(together(part.counts for part in parts if part.interpreter_id == listed.interpreter_id))

    return InterpreterFigures(
        interpreter_id=listed.interpreter_id,
        name=listed.name,
        active_conversations=listed.talking,
        last_24_hours=figures(of(last)),
        previous_24_hours=figures(of(previous)),
    )


def _shown(listed: Listed, parts: Sequence[Part]) -> bool:
    """Whether there is anything to say of an interpreter: one that was retired and rests is left out."""
    return (
        listed.is_active
        or listed.talking > 0
        or any(part.interpreter_id == listed.interpreter_id and has_talks(part.counts) for part in parts)
    )
