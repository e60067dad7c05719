"""The start of a conversation: one transaction, then the platform, then one transaction."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from oneiro.auth import Identity
from oneiro.conversations import store
from oneiro.conversations.events import record
from oneiro.conversations.models import Started, StartRequest, Transport
from oneiro.conversations.state import after
from oneiro.database.pool import Connection, Database
from oneiro.dreamers import store as dreamers
from oneiro.dreamers.models import Dreamer
from oneiro.dreams import store as dreams
from oneiro.dreams.models import Dream
from oneiro.errors import Conflict, NotFound, OneiroError, SecurityError, ValidationError
from oneiro.idempotency.service import Once
from oneiro.interpreters import store as interpreters
from oneiro.interpreters.agents.models import Provisioned
from oneiro.interpreters.agents.service import Agents
from oneiro.interpreters.models import Release
from oneiro.interpreters.prompts import with_opening
from oneiro.interpreters.variables import DreamMaterial, conversation_values
from oneiro.platform.errors import PlatformLacks
from oneiro.platform.port import SignedUrl, VoicePlatform
from oneiro.safety.cards import card
from oneiro.safety.crisis import Tier, coverage
from oneiro.safety.disclosure import Disclosure, disclosure
from oneiro.settings import Settings

# A signed URL opens a conversation for this long; one that nobody opened by then never began.
CONNECT_WITHIN = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the first transaction settled."""

    conversation_id: UUID
    request: StartRequest
    dreamer: Dreamer
    release: Release
    dream: Dream | None
    last_summary: str | None
    language: str
    model: str
    transport: Transport
    text_only: bool


class Starts:
    """Starts conversations; whatever goes wrong on the way leaves a `failed` row that says why."""

    def __init__(
        self,
        db: Database,
        platform: VoicePlatform,
        agents: Agents,
        *,
        settings: Settings,
        simulated: bool,
        clock: Callable[[], datetime],
    ) -> None:
        self._db = db
        self._platform = platform
        self._agents = agents
        self._settings = settings
        self._simulated = simulated
        self._clock = clock

    async def start(self, caller: Identity, request: StartRequest, once: Once) -> Started:
        """Start a conversation with the interpreter's default release.

        Raises `NotFound` (interpreter, dream), `SecurityError` (not hers to talk to), `ValidationError`,
        `PlatformUnavailable` and `AgentCreationError`.
        """
        async with self._db.as_service() as conn:
            await dreamers.insert(conn, caller.dreamer())
            earlier = await once.claim(conn)
            if earlier is not None:
                return Started.model_validate(earlier)
            plan = await self._plan(conn, caller, request)
            await self._open(conn, plan)
        try:
            provisioned, url, calls = await self._reach(plan)
            async with self._db.as_service() as conn:
                return await self._activate(conn, plan, once, provisioned, url, calls)
        except Exception as error:
            await self._fail(plan, once, error)
            raise

    async def _plan(self, conn: Connection, caller: Identity, request: StartRequest) -> _Plan:
        dreamer = await dreamers.find(conn, caller.dreamer(), self._clock())
        if dreamer is None:
            raise Conflict("The profile was deleted just now.", retryable=True)
        release = await self._release(conn, dreamer, request.interpreter_id)
        dream = await dreams.find(conn, dreamer.user_id, request.dream_id) if request.dream_id else None
        if request.dream_id and dream is None:
            raise NotFound("There is no such dream in your journal.", code="dream_not_found")
        last = None
        if dreamer.consents.memory:
            last = await store.last_summary(conn, dreamer.user_id, request.interpreter_id)
        return _Plan(
            conversation_id=uuid4(),
            request=request,
            dreamer=dreamer,
            release=release,
            dream=dream,
            last_summary=last,
            language=self._language(request, dreamer),
            model=self._model(request, caller),
            transport=self._transport(request),
            text_only=request.text_only or not self._settings.voice_enabled,
        )

    async def _release(self, conn: Connection, dreamer: Dreamer, interpreter_id: str) -> Release:
        release = await interpreters.active_release(conn, interpreter_id)
        if release is not None and dreamer.may_talk_to(interpreter_id):
            return release
        open_to_her = [known for known in await interpreters.active_ids(conn) if dreamer.may_talk_to(known)]
        offered = f"You can talk to: {', '.join(open_to_her)}." if open_to_her else "No interpreter is active."
        if release is None:
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
        if wanted == "relay":
            raise _invalid("transport", "relay is not offered here; choose direct")
        if request.transport == "direct" and self._settings.transport != "direct" and not self._settings.allow_direct:
            raise SecurityError("The direct transport is closed here.")
        return wanted

    async def _open(self, conn: Connection, plan: _Plan) -> None:
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
                expires_at=self._clock() + CONNECT_WITHIN,
                metadata=plan.request.metadata,
            ),
        )
        data = {
            "interpreter_id": plan.release.interpreter_id,
            "release": plan.release.number,
            "transport": plan.transport,
        }
        await record(conn, plan.conversation_id, plan.dreamer.user_id, "conversation.requested", data)

    async def _reach(self, plan: _Plan) -> tuple[Provisioned, SignedUrl, int]:
        provisioned = await self._agents.ensure(plan.release, plan.language, plan.model)
        calls = provisioned.upstream_calls
        try:
            return provisioned, await self._platform.signed_url(provisioned.agent_id), calls + 1
        except PlatformLacks:
            # The platform has forgotten an agent that we knew: make it anew, once, within the same request.
            await self._agents.forget(provisioned.agent_id)
        provisioned = await self._agents.ensure(plan.release, plan.language, plan.model)
        calls += 1 + provisioned.upstream_calls
        return provisioned, await self._platform.signed_url(provisioned.agent_id), calls + 1

    async def _activate(
        self, conn: Connection, plan: _Plan, once: Once, provisioned: Provisioned, url: SignedUrl, calls: int
    ) -> Started:
        now = self._clock()
        held = await store.lock(conn, plan.dreamer.user_id, plan.conversation_id)
        if held is None or after(held.status, "start") is None:
            raise Conflict("The conversation was ended while it started.", code="conversation_ended")
        values = self._values(plan, now)
        told = disclosure(plan.release.document.name, plan.language, simulated=self._simulated)
        opened = store.Opened(
            agent_id=provisioned.agent_id,
            prompt_sha256=provisioned.prompt_sha256,
            variable_names=sorted(values),
            upstream_calls=calls,
            expires_at=url.expires_at,
        )
        await store.start(conn, plan.conversation_id, opened, now)
        data = {
            "agent_id": provisioned.agent_id,
            "prompt_sha256": provisioned.prompt_sha256,
            "upstream_calls": calls,
            "ms": provisioned.ms,
        }
        await record(conn, plan.conversation_id, plan.dreamer.user_id, "conversation.started", data)
        await record(conn, plan.conversation_id, plan.dreamer.user_id, "disclosure.given", {"disclosure": told.id})
        started = self._started(plan, provisioned, url, values, told)
        await once.keep(conn, started.model_dump(mode="json"))
        return started

    def _values(self, plan: _Plan, now: datetime) -> dict[str, str]:
        values = conversation_values(
            conversation_id=str(plan.conversation_id),
            now=now,
            user_name=plan.dreamer.name,
            dream=_material(plan.dream) if plan.dream else None,
            remembered=plan.last_summary or "",
        )
        return with_opening(plan.release.document, "follow_up" if plan.last_summary else "greeting", values)

    def _started(
        self, plan: _Plan, provisioned: Provisioned, url: SignedUrl, values: dict[str, str], told: Disclosure
    ) -> Started:
        rules = coverage(plan.language)
        lines = card(Tier.passive_ideation, plan.dreamer.region, plan.language) if rules == "none" else None
        return Started(
            conversation_id=plan.conversation_id,
            status="active",
            transport=plan.transport,
            text_only=plan.text_only,
            signed_url=url.url,
            expires_at=url.expires_at,
            agent_id=provisioned.agent_id,
            interpreter_name=plan.release.document.name,
            opening=values["opening"],
            dynamic_variables=values,
            disclosure=told,
            safety_coverage=rules,
            help_card=lines,
            demo=self._simulated,
        )

    async def _fail(self, plan: _Plan, once: Once, error: Exception) -> None:
        code = error.code if isinstance(error, OneiroError) else "internal_error"
        async with self._db.as_service() as conn:
            held = await store.lock(conn, plan.dreamer.user_id, plan.conversation_id)
            if held is not None and held.status == "initializing":
                await store.fail(conn, plan.conversation_id, code, self._clock())
                await record(conn, plan.conversation_id, plan.dreamer.user_id, "conversation.failed", {"code": code})
            await once.release(conn)


def _invalid(field: str, message: str) -> ValidationError:
    return ValidationError(f"{field} {message}.", errors=[{"field": field, "message": message}])


def _material(dream: Dream) -> DreamMaterial:
    return DreamMaterial(
        text=dream.content,
        title=dream.title,
        symbols=dream.symbols,
        interpretation=dream.interpretation,
        interpretation_date=dream.interpretation_date,
    )
