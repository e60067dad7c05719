"""The start of a conversation: the plan, then the rows, then the answer.

Where the address needs nobody's answer, all of it is one transaction. Else the row stands before the platform is asked,
and is finished in another transaction after.
"""

import asyncio
import time
from datetime import datetime, timedelta

from oneiro.auth import Identity
from oneiro.conversations import store
from oneiro.conversations.address import Address, Wish, scoped_key
from oneiro.conversations.events import Happened, record, record_all, recorded
from oneiro.conversations.models import Started, StartRequest
from oneiro.conversations.plans.models import Plan
from oneiro.conversations.plans.service import Plans
from oneiro.conversations.relayed.degrading import planned
from oneiro.conversations.slots.service import DIRECT, RESERVED, check, reservation, reserve
from oneiro.conversations.slots.store import lease, release
from oneiro.conversations.transitions import store as transitions
from oneiro.conversations.wiring import Known, Wiring, opened
from oneiro.database.pool import Connection
from oneiro.dreams.models import Dream
from oneiro.errors import Conflict, OneiroError
from oneiro.idempotency.service import Once
from oneiro.interpreters.prompts import with_opening
from oneiro.interpreters.variables import DreamMaterial, conversation_values
from oneiro.tracing import note, traced

# A signed URL opens a conversation for this long; one that nobody opened by then never began.
CONNECT_WITHIN = timedelta(minutes=15)


class Starts:
    """Starts conversations; what goes wrong once the row stands leaves a `failed` row that says why."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._db, self._settings, self._clock = wiring.db, wiring.settings, wiring.clock
        self._plans = Plans(wiring.settings, wiring.clock)

    @traced("conversation.start")
    async def start(self, caller: Identity, request: StartRequest, once: Once, *, at: str) -> Started:
        """Start a conversation with the interpreter's default release, or with that of the dreamer's arm.

        `at` is where this service was asked.

        Raises `NotFound` (interpreter, dream), `SecurityError` (not hers to talk to), `ValidationError`, `TooMany`
        (`no_slot`, `daily_minutes`), `PlatformUnavailable` and `AgentCreationError`.
        """
        began, outcome, plan = time.perf_counter(), "ok", None
        try:
            async with self._db.as_service() as conn:
                found = await self._plans.look(conn, caller, request)
                earlier = await once.claim(conn)
                if earlier is not None:
                    return Started.model_validate(earlier)
                plan = await self._plans.settle(conn, caller, request, found, began)
                note(
                    conversation_id=plan.conversation_id,
                    interpreter=plan.release.interpreter_id,
                    release=plan.release.number,
                )
                address = self._wiring.addresses.at_once(self._wish(plan, at), plan.agent)
                if address is not None:
                    return await self._begin(conn, plan, once, address)
                await self._request(conn, plan)
            return await self._started(plan, once, at)
        except BaseException as error:
            outcome = _code(error)
            raise
        finally:
            # Without a plan the interpreter is whatever somebody wrote, and no name for a series of figures.
            if plan is not None:
                self._wiring.begun(plan.release.interpreter_id, outcome, time.perf_counter() - began)

    async def _begin(self, conn: Connection, plan: Plan, once: Once, address: Address) -> Started:
        """Write everything at once."""
        now = self._clock()
        values = self._values(plan, now)
        started, disclosed = self._answer(plan, address, values)
        if once.key is not None:
            await once.keep(conn, started.model_dump(mode="json"))
        told = recorded(conn, plan.conversation_id, plan.dreamer.user_id, [_requested(plan), disclosed])
        slot = reservation(plan.request.options.priority, self._settings.max_concurrent_calls, now)
        begun, ms = opened(address, values), _ms(plan)
        check(slot, *await store.insert_opened(conn, _row(plan, now), begun, ms=ms, told=told, slot=slot))
        return started

    async def _request(self, conn: Connection, plan: Plan) -> None:
        """Write that somebody wants to begin, before it is known where."""
        now = self._clock()
        await store.insert(conn, _row(plan, now))
        await record(conn, plan.conversation_id, plan.dreamer.user_id, *_requested(plan))
        slots = self._settings.max_concurrent_calls
        await reserve(conn, plan.conversation_id, plan.request.options.priority, slots, now)

    async def _started(self, plan: Plan, once: Once, at: str) -> Started:
        try:
            address = await self._wiring.addresses.of(self._wish(plan, at))
            # Rendered before a connection is taken again. `_begin` renders while it holds one, since that costs a tenth
            # of a millisecond, and a second transaction several of them.
            now = self._clock()
            values = self._values(plan, now)
            async with self._db.as_service() as conn:
                return await self._activate(conn, plan, once, address, values, now)
        except BaseException as error:
            # Also when this process is stopping: the row says why, and a second cancellation does not undo that.
            await asyncio.shield(self._fail(plan, once, _code(error)))
            raise

    async def _activate(
        self, conn: Connection, plan: Plan, once: Once, address: Address, values: dict[str, str], now: datetime
    ) -> Started:
        held = await store.lock(conn, plan.dreamer.user_id, plan.conversation_id)
        if held is None or held.state != "initializing":
            raise Conflict("The conversation was ended while it started.", code="conversation_ended")
        begun, ms = opened(address, values), _ms(plan)
        started, disclosed = self._answer(plan, address, values)
        await transitions.start(conn, plan.conversation_id, begun, now, ms=ms)
        await planned(conn, plan.conversation_id, plan.dreamer.user_id, 1, degraded=address.degraded)
        await lease(conn, plan.conversation_id, DIRECT, now + RESERVED)
        happened = [disclosed]
        if plan.transport == "direct":
            # Of a relayed one the relay tells it, once the platform has answered.
            data = {
                "agent_id": address.agent.agent_id,
                "prompt_sha256": address.agent.prompt_sha256,
                "upstream_calls": address.upstream_calls,
                "agent_known": begun.agent_known,
                "ms": ms,
            }
            happened.insert(0, ("conversation.started", data))
        await record_all(conn, plan.conversation_id, plan.dreamer.user_id, happened)
        await once.keep(conn, started.model_dump(mode="json"))
        return started

    def _wish(self, plan: Plan, at: str) -> Wish:
        key = scoped_key(self._settings, plan.dreamer.user_id, plan.request.dream_id)
        return Wish(plan.transport, plan.release, plan.language, plan.model, key, at)

    def _values(self, plan: Plan, now: datetime) -> dict[str, str]:
        values = conversation_values(
            conversation_id=str(plan.conversation_id),
            now=now,
            user_name=plan.dreamer.name,
            dream=plan.dream,
            remembered=plan.memory.summary if plan.memory else "",
            last_time=plan.memory.last_time if plan.memory else "",
        )
        return with_opening(plan.release.document, "follow_up" if plan.memory else "greeting", values)

    def _answer(self, plan: Plan, address: Address, values: dict[str, str]) -> tuple[Started, Happened]:
        """The answer, and the event of what it discloses."""
        told = self._wiring.disclosed(plan.release, plan.language)
        known = Known(
            conversation_id=plan.conversation_id,
            status="active" if plan.transport == "direct" else "initializing",
            transport=plan.transport,
            text_only=plan.text_only,
            release=plan.release,
            language=plan.language,
            region=plan.dreamer.region,
        )
        return self._wiring.started(known, address, values, told), ("disclosure.given", {"disclosure": told.id})

    async def _fail(self, plan: Plan, once: Once, code: str) -> None:
        async with self._db.as_service() as conn:
            held = await store.lock(conn, plan.dreamer.user_id, plan.conversation_id)
            if held is not None and held.state == "initializing":
                await transitions.fail(conn, plan.conversation_id, code, self._clock())
                await release(conn, plan.conversation_id)
                await record(conn, plan.conversation_id, plan.dreamer.user_id, "conversation.failed", {"code": code})
                await once.release(conn)


def _row(plan: Plan, now: datetime) -> store.NewConversation:
    return store.NewConversation(
        id=plan.conversation_id,
        user_id=plan.dreamer.user_id,
        interpreter_id=plan.release.interpreter_id,
        dream_id=plan.request.dream_id,
        transport=plan.transport,
        text_only=plan.text_only,
        language=plan.language,
        model=plan.model,
        priority=plan.request.options.priority,
        release_id=plan.release.id,
        arm_id=plan.arm_id,
        created_at=now,
        expires_at=now + CONNECT_WITHIN,
        metadata=plan.request.metadata,
    )


def _requested(plan: Plan) -> Happened:
    data = {
        "interpreter_id": plan.release.interpreter_id,
        "release": plan.release.number,
        "transport": plan.transport,
        **({"arm": plan.arm} if plan.arm else {}),
    }
    return "conversation.requested", data


def _ms(plan: Plan) -> int:
    return round((time.perf_counter() - plan.began) * 1000)


def _code(error: BaseException) -> str:
    if isinstance(error, OneiroError):
        return error.code
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "internal_error"


def material(dream: Dream) -> DreamMaterial:
    """A dream of the journal as an interpreter is told of it."""
    return DreamMaterial(
        text=dream.content,
        title=dream.title,
        symbols=dream.symbols,
        interpretation=dream.interpretation,
        interpretation_date=dream.interpretation_date,
    )
