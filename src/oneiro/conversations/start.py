"""The start of a conversation: one transaction, then the platform, then one transaction."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from oneiro.auth import Identity
from oneiro.conversations import store
from oneiro.conversations.address import Address, Wish, scoped_key
from oneiro.conversations.events import record
from oneiro.conversations.models import Started, StartRequest, Transport
from oneiro.conversations.relayed.degrading import planned
from oneiro.conversations.slots.service import DIRECT, RESERVED, reserve
from oneiro.conversations.slots.store import lease, release
from oneiro.conversations.transitions import store as transitions
from oneiro.conversations.wiring import Known, Wiring, opened
from oneiro.database.pool import Connection
from oneiro.dreamers import store as dreamers
from oneiro.dreamers.models import Dreamer
from oneiro.dreams import store as dreams
from oneiro.dreams.models import Dream
from oneiro.errors import Conflict, NotFound, OneiroError, SecurityError, TooMany, ValidationError
from oneiro.idempotency.service import Once
from oneiro.interpreters import store as interpreters
from oneiro.interpreters.experiments.models import Chosen
from oneiro.interpreters.experiments.service import choose
from oneiro.interpreters.models import Release
from oneiro.interpreters.prompts import with_opening
from oneiro.interpreters.variables import DreamMaterial, conversation_values
from oneiro.interpreters.words.recall import Memory, remember
from oneiro.safety.disclosure import Disclosure
from oneiro.tracing import note, traced

# A signed URL opens a conversation for this long; one that nobody opened by then never began.
CONNECT_WITHIN = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the first transaction settled."""

    conversation_id: UUID
    request: StartRequest
    dreamer: Dreamer
    release: Release
    arm_id: UUID | None
    arm: str | None
    dream: Dream | None
    memory: Memory | None
    language: str
    model: str
    transport: Transport
    text_only: bool
    began: float


class Starts:
    """Starts conversations; whatever goes wrong on the way leaves a `failed` row that says why."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._db, self._settings, self._clock = wiring.db, wiring.settings, wiring.clock

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
                await dreamers.insert(conn, caller.dreamer())
                earlier = await once.claim(conn)
                if earlier is not None:
                    return Started.model_validate(earlier)
                plan = await self._plan(conn, caller, request, began)
                await self._open(conn, plan)
            return await self._started(plan, once, at)
        except BaseException as error:
            outcome = _code(error)
            raise
        finally:
            # Without a plan the interpreter is whatever somebody wrote, and no name for a series of figures.
            if plan is not None:
                self._wiring.begun(plan.release.interpreter_id, outcome, time.perf_counter() - began)

    async def _started(self, plan: _Plan, once: Once, at: str) -> Started:
        try:
            address = await self._wiring.addresses.of(self._wish(plan, at))
            # Rendered here: nobody waits for a template while a connection is held.
            now = self._clock()
            values = self._values(plan, now)
            async with self._db.as_service() as conn:
                return await self._activate(conn, plan, once, address, values, now)
        except BaseException as error:
            # Also when this process is stopping: the row says why, and a second cancellation does not undo that.
            await asyncio.shield(self._fail(plan, once, _code(error)))
            raise

    def _wish(self, plan: _Plan, at: str) -> Wish:
        key = scoped_key(self._settings, plan.dreamer.user_id, plan.request.dream_id)
        return Wish(plan.transport, plan.release, plan.language, plan.model, key, at)

    async def _plan(self, conn: Connection, caller: Identity, request: StartRequest, began: float) -> _Plan:
        dreamer = await dreamers.find(conn, caller.dreamer(), self._clock())
        if dreamer is None:
            raise Conflict("The profile was deleted just now.", retryable=True)
        self._within_budget(dreamer)
        language = self._language(request, dreamer)
        chosen = await self._chosen(conn, dreamer, request.interpreter_id, language)
        dream = await dreams.find(conn, dreamer.user_id, request.dream_id) if request.dream_id else None
        if request.dream_id and dream is None:
            raise NotFound("There is no such dream in your journal.", code="dream_not_found")
        memory = None
        if dreamer.consents.memory:
            memory = await remember(conn, dreamer.user_id, request.interpreter_id)
        return _Plan(
            conversation_id=uuid4(),
            request=request,
            dreamer=dreamer,
            release=chosen.release,
            arm_id=chosen.arm_id,
            arm=chosen.arm,
            dream=dream,
            memory=memory,
            language=language,
            model=self._model(request, caller),
            transport=self._transport(request),
            text_only=self._text_only(request, dreamer),
            began=began,
        )

    def _text_only(self, request: StartRequest, dreamer: Dreamer) -> bool:
        if request.text_only or not self._settings.voice_enabled:
            return True
        if not dreamer.consents.voice:
            raise SecurityError(
                "Agree to your voice being sent to the voice platform first (PATCH /v1/me, consents.voice), or start "
                "with text_only.",
                code="voice_consent_missing",
            )
        return False

    def _within_budget(self, dreamer: Dreamer) -> None:
        budget, now = self._settings.daily_minutes_per_dreamer, self._clock().astimezone(UTC)
        if budget is not None and dreamer.minutes_today >= budget:
            midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
            raise TooMany(
                f"Today's {budget} minutes are used up. They begin anew at midnight UTC.",
                code="daily_minutes",
                retry_after=(midnight - now).total_seconds(),
            )

    async def _chosen(self, conn: Connection, dreamer: Dreamer, interpreter_id: str, language: str) -> Chosen:
        if dreamer.may_talk_to(interpreter_id):
            chosen = await choose(conn, interpreter_id, dreamer.user_id, language)
            if chosen is not None:
                return chosen
        active = await interpreters.active_ids(conn)
        open_to_her = [known for known in active if dreamer.may_talk_to(known)]
        offered = f"You can talk to: {', '.join(open_to_her)}." if open_to_her else "No interpreter is active."
        if interpreter_id not in active:
            raise NotFound(f"There is no such interpreter. {offered}", code="interpreter_not_found")
        raise SecurityError(f"This interpreter is not open to you. {offered}", code="interpreter_not_allowed")

    def _language(self, request: StartRequest, dreamer: Dreamer) -> str:
        offered = self._settings.languages
        wanted = request.options.language
        if wanted is not None and wanted not in offered:
            raise _invalid("options.language", f"is not offered; choose from: {', '.join(offered)}")
        return wanted or (dreamer.language if dreamer.language in offered else offered[0])

    def _model(self, request: StartRequest, caller: Identity) -> str:
        wanted, offered = request.options.model, self._settings.models
        if not caller.operator and (wanted is not None or request.options.priority == "high"):
            raise SecurityError("Choosing a model or a high priority is for operators.")
        if wanted is not None and wanted not in offered:
            raise _invalid("options.model", f"is not offered; choose from: {', '.join(offered)}")
        return wanted or offered[0]

    def _transport(self, request: StartRequest) -> Transport:
        wanted = request.transport or self._settings.transport
        if request.transport == "direct" and self._settings.transport != "direct" and not self._settings.allow_direct:
            raise SecurityError("The direct transport is closed here.")
        return wanted

    async def _open(self, conn: Connection, plan: _Plan) -> None:
        now = self._clock()
        await store.insert(
            conn,
            store.NewConversation(
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
            ),
        )
        data = {
            "interpreter_id": plan.release.interpreter_id,
            "release": plan.release.number,
            "transport": plan.transport,
            **({"arm": plan.arm} if plan.arm else {}),
        }
        note(conversation_id=plan.conversation_id, interpreter=plan.release.interpreter_id, release=plan.release.number)
        await record(conn, plan.conversation_id, plan.dreamer.user_id, "conversation.requested", data)
        slots = self._settings.max_concurrent_calls
        await reserve(conn, plan.conversation_id, plan.request.options.priority, slots, now)

    async def _activate(
        self, conn: Connection, plan: _Plan, once: Once, address: Address, values: dict[str, str], now: datetime
    ) -> Started:
        held = await store.lock(conn, plan.dreamer.user_id, plan.conversation_id)
        if held is None or held.state != "initializing":
            raise Conflict("The conversation was ended while it started.", code="conversation_ended")
        told = self._wiring.disclosed(plan.release, plan.language)
        begun, ms = opened(address, values), round((time.perf_counter() - plan.began) * 1000)
        await transitions.start(conn, plan.conversation_id, begun, now, ms=ms)
        await planned(conn, plan.conversation_id, plan.dreamer.user_id, 1, degraded=address.degraded)
        await lease(conn, plan.conversation_id, DIRECT, now + RESERVED)
        if plan.transport == "direct":
            # Of a relayed one the relay tells it, once the platform has answered.
            data = {
                "agent_id": address.agent.agent_id,
                "prompt_sha256": address.agent.prompt_sha256,
                "upstream_calls": address.upstream_calls,
                "agent_known": begun.agent_known,
                "ms": ms,
            }
            await record(conn, plan.conversation_id, plan.dreamer.user_id, "conversation.started", data)
        await record(conn, plan.conversation_id, plan.dreamer.user_id, "disclosure.given", {"disclosure": told.id})
        started = self._answer(plan, address, values, told)
        await once.keep(conn, started.model_dump(mode="json"))
        return started

    def _values(self, plan: _Plan, now: datetime) -> dict[str, str]:
        values = conversation_values(
            conversation_id=str(plan.conversation_id),
            now=now,
            user_name=plan.dreamer.name,
            dream=material(plan.dream) if plan.dream else None,
            remembered=plan.memory.summary if plan.memory else "",
            last_time=plan.memory.last_time if plan.memory else "",
        )
        return with_opening(plan.release.document, "follow_up" if plan.memory else "greeting", values)

    def _answer(self, plan: _Plan, address: Address, values: dict[str, str], told: Disclosure) -> Started:
        known = Known(
            conversation_id=plan.conversation_id,
            status="active" if plan.transport == "direct" else "initializing",
            transport=plan.transport,
            text_only=plan.text_only,
            release=plan.release,
            language=plan.language,
            region=plan.dreamer.region,
        )
        return self._wiring.started(known, address, values, told)

    async def _fail(self, plan: _Plan, once: Once, code: str) -> None:
        async with self._db.as_service() as conn:
            held = await store.lock(conn, plan.dreamer.user_id, plan.conversation_id)
            if held is not None and held.state == "initializing":
                await transitions.fail(conn, plan.conversation_id, code, self._clock())
                await release(conn, plan.conversation_id)
                await record(conn, plan.conversation_id, plan.dreamer.user_id, "conversation.failed", {"code": code})
                await once.release(conn)


def _code(error: BaseException) -> str:
    if isinstance(error, OneiroError):
        return error.code
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "internal_error"


def _invalid(field: str, message: str) -> ValidationError:
    return ValidationError(f"{field} {message}.", errors=[{"field": field, "message": message}])


def material(dream: Dream) -> DreamMaterial:
    """A dream of the journal as an interpreter is told of it."""
    return DreamMaterial(
        text=dream.content,
        title=dream.title,
        symbols=dream.symbols,
        interpretation=dream.interpretation,
        interpretation_date=dream.interpretation_date,
    )
