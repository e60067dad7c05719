"""Going on: a new session of a conversation that was paused, or whose client lost its socket."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from oneiro.auth import Identity
from oneiro.conversations import continuing, store
from oneiro.conversations.access import locked, missing
from oneiro.conversations.address import Address, Wish, scoped_key
from oneiro.conversations.events import record
from oneiro.conversations.models import Sender, Started
from oneiro.conversations.relayed.degrading import planned
from oneiro.conversations.slots.service import reserve
from oneiro.conversations.start import material
from oneiro.conversations.state import after
from oneiro.conversations.transitions import store as transitions
from oneiro.conversations.wiring import Known, Wiring, opened
from oneiro.database.pool import Connection
from oneiro.dreamers import store as dreamers
from oneiro.dreamers.models import Dreamer
from oneiro.dreams import store as dreams
from oneiro.dreams.models import Dream
from oneiro.errors import Conflict
from oneiro.interpreters import store as interpreters
from oneiro.interpreters.models import Release
from oneiro.interpreters.variables import conversation_values, neutral
from oneiro.safety.disclosure import Disclosure


@dataclass(frozen=True, slots=True)
class _Past:
    """What is known of the conversation that goes on."""

    conversation: store.Locked
    dreamer: Dreamer
    release: Release
    dream: Dream | None
    lines: list[tuple[Sender, str]]


class Resumes:
    """Resumes conversations with the release, language and model they began with."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self._db, self._settings, self._clock = wiring.db, wiring.settings, wiring.clock

    async def resume(self, caller: Identity, conversation_id: UUID, *, at: str) -> Started:
        """Give a conversation a new session with an address of its own; `at` is where this service was asked.

        While the latest session waits for its client, a repeat gives another address for that session. Raises
        `NotFound`, `Conflict` (it has ended, or is starting), `TooMany` (`no_slot`), and `PlatformUnavailable`,
        after which the conversation stands as before.
        """
        async with self._db.as_service() as conn:
            past = await self._past(conn, caller, conversation_id)
        address = await self._wiring.addresses.of(self._wish(past, at))
        now = self._clock()
        values = self._values(past, now)
        async with self._db.as_service() as conn:
            held = await locked(conn, caller, conversation_id)
            return await self._reopen(conn, held, past, address, values, now)

    def _wish(self, past: _Past, at: str) -> Wish:
        known = past.conversation
        key = scoped_key(self._settings, known.user_id, known.dream_id)
        return Wish(known.transport or "direct", past.release, known.language, known.model, key, at)

    async def _past(self, conn: Connection, caller: Identity, conversation_id: UUID) -> _Past:
        known = await store.look(conn, caller.dreamer(), conversation_id)
        if known is None:
            raise missing()
        _check(known)
        dreamer = await dreamers.find(conn, known.user_id, self._clock())
        release = await interpreters.release(conn, known.interpreter_id, known.release)
        if dreamer is None or release is None:
            raise Conflict("The profile was deleted just now.", retryable=True)
        dream = await dreams.find(conn, known.user_id, known.dream_id) if known.dream_id else None
        return _Past(known, dreamer, release, dream, await store.latest_lines(conn, conversation_id))

    async def _reopen(
        self,
        conn: Connection,
        held: store.Locked,
        past: _Past,
        address: Address,
        values: dict[str, str],
        now: datetime,
    ) -> Started:
        _check(held)
        told = self._wiring.disclosed(past.release, held.language)
        session = held.session
        if held.state == "paused" or held.session_connected_at is not None:
            session += 1
            await transitions.resume(conn, held.conversation_id, session, opened(address, values), now)
            await record(conn, held.conversation_id, held.user_id, "conversation.resumed", {"session": session})
            await record(conn, held.conversation_id, held.user_id, "disclosure.given", {"disclosure": told.id})
        else:
            await transitions.readdress(conn, held.conversation_id, session, opened(address, values), now)
        await planned(conn, held.conversation_id, held.user_id, session, degraded=address.degraded)
        # Who is in the middle of a dream is let in up to the last slot.
        await reserve(conn, held.conversation_id, "high", self._settings.max_concurrent_calls, now)
        return self._started(past, address, values, told)

    def _values(self, past: _Past, now: datetime) -> dict[str, str]:
        name = past.release.document.name
        values = conversation_values(
            conversation_id=str(past.conversation.conversation_id),
            now=now,
            user_name=past.dreamer.name,
            dream=material(past.dream) if past.dream else None,
            remembered=continuing.story(past.lines, name),
        )
        spoken = continuing.opening(past.lines, past.conversation.language, past.conversation.safety_tier)
        return {**values, "opening": neutral(spoken)}

    def _started(self, past: _Past, address: Address, values: dict[str, str], told: Disclosure) -> Started:
        conversation = past.conversation
        known = Known(
            conversation_id=conversation.conversation_id,
            status="initializing" if conversation.status == "initializing" else "active",
            transport=conversation.transport or "direct",
            text_only=conversation.text_only,
            release=past.release,
            language=conversation.language,
            region=past.dreamer.region,
        )
        return self._wiring.started(known, address, values, told)


def _check(conversation: store.Locked) -> None:
    # A relayed conversation that nobody has opened yet only gets another address.
    if conversation.status != "initializing" or conversation.session == 0:
        after(conversation.state, "resume")
