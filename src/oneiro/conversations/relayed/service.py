"""What the relay asks of a conversation: each is one transaction, and none waits for the network."""

from collections.abc import Callable, Container, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from oneiro.conversations import store as conversations
from oneiro.conversations.address import scoped_key
from oneiro.conversations.events import record
from oneiro.conversations.models import Sender
from oneiro.conversations.relayed import store
from oneiro.conversations.relayed.degrading import became
from oneiro.conversations.relayed.findings import Finding, Findings
from oneiro.conversations.relayed.models import Admission, Amendment, Elsewhere, Entry, Fault, Line, Outcome, Row
from oneiro.conversations.relayed.opening import closing_words, variables
from oneiro.conversations.slots import store as slots
from oneiro.conversations.slots.service import reserve
from oneiro.conversations.state import after, status
from oneiro.conversations.tickets import digest
from oneiro.conversations.transitions import store as transitions
from oneiro.database.pool import Connection, Database
from oneiro.dreamers import store as dreamers
from oneiro.errors import SecurityError
from oneiro.events.models import EventType
from oneiro.interpreters import store as interpreters
from oneiro.safety.crisis import Tier
from oneiro.safety.disclosure import Disclosure, provider, standing_in
from oneiro.settings import Settings
from oneiro.tracing import traced

LEASE: Final = timedelta(seconds=60)


class Relayed:
    """Relayed sessions of one process, which `owner` names in its slots.

    kept, flagged: told of each new line's sender once it is committed, and of its tier when the gate flagged it.
    """

    def __init__(
        self,
        db: Database,
        *,
        settings: Settings,
        owner: str,
        clock: Callable[[], datetime],
        kept: Callable[[Sender], None] = lambda _sender: None,
        flagged: Callable[[str], None] = lambda _tier: None,
    ) -> None:
        self._db = db
        self._kept, self._flagged = kept, flagged
        self._settings = settings
        self._owner = owner
        self._clock = clock
        self.findings = Findings(self._tell)

    async def admit(self, ticket: str) -> Admission:
        """What a ticket opens, with a slot kept for it.

        Raises `SecurityError` (`ticket_…`, `conversation_ended`, `daily_minutes`, `duration`) and `TooMany`.
        """
        now = self._clock()
        async with self._db.as_service() as conn:
            row = await store.find(conn, digest(ticket))
            if row is None:
                raise _closed("ticket_unknown")
            if row.status not in {"initializing", "active"}:
                raise _closed("conversation_ended")
            if row.connected_at is not None or row.session_status != "active":
                raise _closed("ticket_used")
            if row.expires_at <= now:
                raise _closed("ticket_expired")
            admission = await self._admission(conn, row, now)
            # What was reserved at the start may have lapsed since.
            await reserve(conn, row.conversation_id, "high", self._settings.max_concurrent_calls, now)
            return admission

    async def _admission(self, conn: Connection, row: Row, now: datetime) -> Admission:
        dreamer = await dreamers.find(conn, row.user_id, now)
        if dreamer is None:
            raise _closed("conversation_ended")
        release = await interpreters.release(conn, row.interpreter_id, row.release)
        assert release is not None
        values = await variables(conn, row, dreamer, release.document, now)
        seconds: float = self._settings.max_call_seconds
        if row.started_at is not None:
            seconds -= (now - row.started_at).total_seconds()
        daily = self._settings.daily_minutes_per_dreamer
        today = (daily - dreamer.minutes_today) * 60 if daily is not None else seconds
        if today <= 0:
            raise _closed("daily_minutes")
        if seconds <= 0:
            raise _closed("duration")
        return Admission(
            conversation_id=row.conversation_id,
            user_id=row.user_id,
            session=row.session,
            agent_id=row.agent_id,
            release=release,
            language=row.language,
            model=row.model,
            text_only=row.text_only or not (self._settings.voice_enabled and dreamer.consents.voice),
            region=dreamer.region,
            variables=values,
            closing=closing_words(release.document, values),
            seconds=min(seconds, today),
            bound="daily_minutes" if today < seconds else "duration",
            session_key=scoped_key(self._settings, row.user_id, row.dream_id),
            traceparent=row.traceparent,
            degraded=row.degraded,
        )

    async def replace_agent(self, admission: Admission, agent_id: str) -> None:
        """Note another agent in place of one that the platform had forgotten."""
        async with self._db.as_service() as conn:
            await conversations.lock(conn, admission.user_id, admission.conversation_id)
            await store.set_agent(conn, admission.conversation_id, admission.session, agent_id)

    @traced("relay.connect")
    async def connect(self, admission: Admission, platform_id: str) -> bool:
        """Use the ticket up, as the platform has answered; false when another socket was faster or all is over.

        Of a degraded session no id is kept: the platform knows none of it, and has no account of it to give.
        """
        now, (conversation_id, session) = self._clock(), admission.key
        async with self._db.as_service() as conn:
            held = await conversations.lock(conn, admission.user_id, conversation_id)
            if held is None or held.status not in {"initializing", "active"}:
                # Its end may have come before the slot was taken.
                await slots.release(conn, conversation_id)
                return False
            if not await store.use_up(conn, conversation_id, session, now):
                return False
            if held.status == "initializing":
                after(held.state, "start")
                await store.begin(conn, conversation_id, now)
                await _started(conn, admission, now - held.created_at)
            known_as = None if admission.degraded else platform_id
            await transitions.connect(conn, conversation_id, session, known_as, now)
            await became(conn, conversation_id, admission.user_id, session, degraded=admission.degraded)
            await slots.lease(conn, conversation_id, self._owner, now + LEASE)
            if admission.degraded:
                told: dict[str, object] = {"disclosure": self.notice(admission).id}
                await record(conn, conversation_id, admission.user_id, "disclosure.given", told)
            data = {"session": session, "elevenlabs_conversation_id": known_as}
            await record(conn, conversation_id, admission.user_id, "conversation.connected", data)
        return True

    def notice(self, admission: Admission) -> Disclosure:
        """What a dreamer is told when somebody else than the platform gets her words."""
        return standing_in(admission.release.document.name, admission.language, provider(self._settings))

    async def write(self, admission: Admission, entries: list[Entry]) -> None:
        """Write lines, what remained of interrupted ones, and faults; what was said before an end is kept after it.

        What the gate found in lines that cannot be written is kept apart, and told when the database is back.
        """
        try:
            await self._write(admission, entries)
        except BaseException:
            self.keep_findings(admission, entries)
            raise
        self.findings.settle([finding.key for finding in _findings(admission, entries)])

    def keep_findings(self, admission: Admission, entries: Sequence[Entry]) -> None:
        """Keep what the gate found in lines that are not written: they may be given up, their findings are not."""
        self.findings.owe(_findings(admission, entries))

    @traced("ingest.relayed")
    async def _write(self, admission: Admission, entries: list[Entry]) -> None:
        now, (conversation_id, session) = self._clock(), admission.key
        async with self._db.as_service() as conn:
            held = await conversations.lock(conn, admission.user_id, conversation_id)
            if held is None:
                return
            lines = [entry for entry in entries if isinstance(entry, Line)]
            told = frozenset(line.event_id for line in lines if self.findings.told((conversation_id, line.event_id)))
            stored: list[Line] = []
            if lines:
                stored = await _write_lines(conn, admission, Tier(held.safety_tier), lines, now, told)
            for entry in entries:
                if isinstance(entry, Amendment):
                    await _amend(conn, admission, entry)
                elif isinstance(entry, Fault):
                    await store.note_fault(conn, conversation_id, session, entry, now)
                    data = {"phase": entry.phase, "code": entry.code, "session": session}
                    await record(conn, conversation_id, admission.user_id, "conversation.error", data)
        # Counted once it is committed.
        for line in stored:
            self._kept(line.sender)
            if line.tier.rank >= Tier.passive_ideation.rank and line.event_id not in told:
                self._flagged(line.tier.value)

    async def _tell(self, finding: Finding) -> None:
        """Tell a finding without its line, unless the line was stored meanwhile or the conversation is gone."""
        async with self._db.as_service() as conn:
            held = await conversations.lock(conn, finding.user_id, finding.conversation_id)
            if held is None or await store.has_line(conn, finding.conversation_id, finding.event_id):
                return
            worst = max(Tier(held.safety_tier), finding.tier, key=lambda tier: tier.rank)
            await store.set_tier(conn, finding.conversation_id, worst)
            data = {"tier": finding.tier.value, "conversation_id": str(finding.conversation_id)}
            await record(conn, finding.conversation_id, finding.user_id, _flag(finding.tier), data)
        self._flagged(finding.tier.value)

    @traced("relay.close")
    async def close(self, admission: Admission, outcome: Outcome) -> None:
        """Note how a session is over; a repeat, and what others settled before, change nothing."""
        now, (conversation_id, session) = self._clock(), admission.key
        async with self._db.as_service() as conn:
            held = await conversations.lock(conn, admission.user_id, conversation_id)
            if held is None:
                return
            over = "error" if outcome.fault else "ended" if outcome.reason else "paused"
            current = held.session == session and held.state == "active"
            await store.close_session(conn, conversation_id, session, over, outcome.close_code, now)
            if outcome.fault is not None:
                await store.note_fault(conn, conversation_id, session, Fault(outcome.fault), now)
                data: dict[str, object] = {"phase": "relay", "code": outcome.fault, "session": session}
                await record(conn, conversation_id, admission.user_id, "conversation.error", data)
            if not current:
                return
            await slots.release(conn, conversation_id)
            if outcome.reason is None:
                await transitions.pause(conn, conversation_id, now)
                await record(conn, conversation_id, admission.user_id, "conversation.paused", {"session": session})
                return
            state = after(held.state, "end")
            assert state is not None
            await transitions.end(conn, conversation_id, status(state), outcome.reason, now)
            seconds = round((now - (held.started_at or now)).total_seconds())
            data = {"reason": outcome.reason, "seconds": seconds, "messages": held.message_count}
            if outcome.reason == "timeout":
                await record(conn, conversation_id, admission.user_id, "conversation.timed_out", {"seconds": seconds})
            await record(conn, conversation_id, admission.user_id, "conversation.ended", data)

    async def elsewhere(self, keys: list[tuple[UUID, int]]) -> list[Elsewhere]:
        """Those of our sessions that others have ended or continued."""
        async with self._db.as_service() as conn:
            return await store.elsewhere(conn, [one for one, _ in keys], [session for _, session in keys])

    async def renew(self, conversation_ids: list[UUID]) -> None:
        """Keep the slots of open calls for another minute."""
        async with self._db.as_service() as conn:
            await slots.renew(conn, conversation_ids, self._owner, self._clock() + LEASE)


def _closed(code: str) -> SecurityError:
    return SecurityError("This ticket opens nothing.", code=code)


async def _started(conn: Connection, admission: Admission, took: timedelta) -> None:
    prepared = await store.prepared(conn, admission.conversation_id)
    opened_after_ms = round(took.total_seconds() * 1000)
    data = {"agent_id": admission.agent_id, **prepared, "opened_after_ms": opened_after_ms}
    await record(conn, admission.conversation_id, admission.user_id, "conversation.started", data)


def _findings(admission: Admission, entries: Sequence[Entry]) -> list[Finding]:
    return [
        Finding(admission.conversation_id, admission.user_id, entry.event_id, entry.tier)
        for entry in entries
        if isinstance(entry, Line) and entry.tier.rank >= Tier.passive_ideation.rank
    ]


def _flag(tier: Tier) -> EventType:
    return "safety.escalated" if tier is Tier.active_danger else "safety.flagged"


async def _write_lines(
    conn: Connection, admission: Admission, known: Tier, lines: list[Line], now: datetime, told: Container[str]
) -> list[Line]:
    """Write new lines with their events and return these; findings of `told` lines were told before."""
    conversation_id, session = admission.key
    tiers = {line.event_id: line.tier for line in lines}
    stored = await store.insert_lines(conn, conversation_id, session, lines, late=True)
    if not stored:
        return []
    worst = max([known, *(tiers[line.event_id] for line in stored)], key=lambda tier: tier.rank)
    await store.count(conn, conversation_id, session, len(stored), worst, now)
    for line in stored:
        data: dict[str, object] = {
            "message_id": line.id,
            "sender": line.sender,
            "chars": line.chars,
            "session": session,
        }
        await record(conn, conversation_id, admission.user_id, "conversation.message_received", data)
        tier = tiers[line.event_id]
        if tier.rank >= Tier.passive_ideation.rank and line.event_id not in told:
            data = {"tier": tier.value, "message_id": line.id, "conversation_id": str(conversation_id)}
            await record(conn, conversation_id, admission.user_id, _flag(tier), data)
    new = {line.event_id for line in stored}
    return [line for line in lines if line.event_id in new]


async def _amend(conn: Connection, admission: Admission, amendment: Amendment) -> None:
    message_id = await store.amend(conn, admission.conversation_id, amendment.event_id, amendment.text)
    if message_id is not None:
        data = {"message_id": message_id}
        await record(conn, admission.conversation_id, admission.user_id, "conversation.message_corrected", data)
