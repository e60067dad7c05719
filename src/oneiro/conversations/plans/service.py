"""Who may start what with whom: the plan of a conversation, from one read."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from oneiro.auth import Identity
from oneiro.conversations.models import StartRequest, Transport
from oneiro.conversations.plans import store
from oneiro.conversations.plans.models import Asked, Found, Plan
from oneiro.database.pool import Connection
from oneiro.dreamers import store as dreamers
from oneiro.dreamers.models import Dreamer
from oneiro.errors import Conflict, NotFound, OneiroError, SecurityError, TooMany, ValidationError
from oneiro.interpreters import store as interpreters
from oneiro.interpreters.experiments.models import Chosen
from oneiro.interpreters.experiments.service import choose
from oneiro.interpreters.words.recall import remember
from oneiro.settings import Settings


class Plans:
    """Settles what a start is going to be, in the caller's transaction."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime]) -> None:
        self._settings, self._clock = settings, clock

    async def look(self, conn: Connection, caller: Identity, request: StartRequest) -> Found:
        """What the rows say; the dreamer's own is made on her first request. Raises `Conflict` if it is gone again."""
        languages, models = self._settings.languages, self._settings.models
        language, model = request.options.language, request.options.model
        # What is not offered is refused, once it is known that nothing weighs more.
        asked = Asked(
            user_id=caller.dreamer(),
            interpreter_id=request.interpreter_id,
            dream_id=request.dream_id,
            wanted=language if language in languages else None,
            offered=tuple(languages),
            model=model if model in models else models[0],
        )
        found = await store.find(conn, asked, self._clock())
        if found is None:
            await dreamers.insert(conn, asked.user_id)
            found = await store.find(conn, asked, self._clock())
        if found is None:
            raise Conflict("The profile was deleted just now.", retryable=True)
        return found

    async def settle(
        self, conn: Connection, caller: Identity, request: StartRequest, found: Found, began: float
    ) -> Plan:
        """The plan; raises what `Starts.start` names for what may not be."""
        dreamer = found.dreamer
        self._within_budget(dreamer)
        self._offered(request)
        chosen = await self._chosen(conn, found, request.interpreter_id)
        if request.dream_id and found.dream is None:
            raise NotFound("There is no such dream in your journal.", code="dream_not_found")
        memory = None
        if dreamer.consents.memory:
            memory = await remember(conn, dreamer.user_id, request.interpreter_id)
        return Plan(
            conversation_id=uuid4(),
            request=request,
            dreamer=dreamer,
            release=chosen.release,
            arm_id=chosen.arm_id,
            arm=chosen.arm,
            dream=found.dream,
            memory=memory,
            language=found.language,
            model=self._model(request, caller),
            transport=self._transport(request),
            text_only=self._text_only(request, dreamer),
            # Whoever is drawn for an arm just now is led by another release than was read.
            agent=found.agent if found.release and found.release.id == chosen.release.id else None,
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

    async def _chosen(self, conn: Connection, found: Found, interpreter_id: str) -> Chosen:
        dreamer, release = found.dreamer, found.release
        if release is None or not dreamer.may_talk_to(interpreter_id):
            raise await _refusal(conn, dreamer, interpreter_id)
        if found.undrawn:
            return await choose(conn, release, dreamer.user_id, found.language)
        return Chosen(release, found.arm_id, found.arm)

    def _offered(self, request: StartRequest) -> None:
        wanted, offered = request.options.language, self._settings.languages
        if wanted is not None and wanted not in offered:
            raise _invalid("options.language", f"is not offered; choose from: {', '.join(offered)}")

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


async def _refusal(conn: Connection, dreamer: Dreamer, interpreter_id: str) -> OneiroError:
    """Why she cannot talk to this one, and to whom she can."""
    active = await interpreters.active_ids(conn)
    open_to_her = [known for known in active if dreamer.may_talk_to(known)]
    offered = f"You can talk to: {', '.join(open_to_her)}." if open_to_her else "No interpreter is active."
    if interpreter_id not in active:
        return NotFound(f"There is no such interpreter. {offered}", code="interpreter_not_found")
    return SecurityError(f"This interpreter is not open to you. {offered}", code="interpreter_not_allowed")


def _invalid(field: str, message: str) -> ValidationError:
    return ValidationError(f"{field} {message}.", errors=[{"field": field, "message": message}])
