"""Ingest: the crisis gate reads the dreamer's lines first, then they are written and acknowledged."""

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from json import dumps
from typing import Final
from uuid import UUID

from oneiro.auth import Identity
from oneiro.conversations.access import missing
from oneiro.conversations.ingest import store
from oneiro.conversations.ingest.models import Facts, Line, Outcome
from oneiro.conversations.ingest.writer import Writer
from oneiro.conversations.models import NewMessage, Safety, Sender, Stored
from oneiro.conversations.state import after, state
from oneiro.database.pool import Database
from oneiro.errors import Conflict
from oneiro.safety.cards import card
from oneiro.safety.crisis import Tier, assess
from oneiro.settings import Settings
from oneiro.tracing import continued

_REMEMBERED: Final = 10_000


class Ingest:
    """Stores messages; the crisis gate reads the dreamer's before anything else happens to them.

    kept, flagged: told of each new line's sender once it is committed, and of its tier when the gate flagged it.
    """

    def __init__(
        self,
        db: Database,
        *,
        settings: Settings,
        clock: Callable[[], datetime],
        kept: Callable[[Sender], None] = lambda _sender: None,
        flagged: Callable[[str], None] = lambda _tier: None,
    ) -> None:
        self._db = db
        self._kept, self._flagged = kept, flagged
        self._idle = timedelta(seconds=settings.idle_timeout_seconds)
        self._clock = clock
        self._facts: OrderedDict[UUID, Facts] = OrderedDict()
        self._writer = Writer(self._write)

    async def report(self, caller: Identity, conversation_id: UUID, messages: list[NewMessage]) -> Stored:
        """Store the messages whose event ids are new, amend those that are corrected, and say what the gate found.

        Raises `ValidationError` for an empty or too long line, `Conflict` when the conversation has ended or when its
        lines come by the relay, `IngestBusy` when too much is waiting. The answer's card is there also when the lines
        were known already.
        """
        checked = [message.checked(place) for place, message in enumerate(messages)]
        facts = await self._known(caller, conversation_id)
        lines = [_line(message, conversation_id, facts, self._clock()) for message in checked]
        with continued("ingest.reported", facts.traceparent, conversation_id=conversation_id, lines=len(lines)):
            outcomes = await self._writer.submit(lines)
        _refuse(outcomes[0])
        stored = sum(outcome.stored for outcome in outcomes)
        tier = max((line.tier for line in lines), key=lambda found: found.rank)
        shown = card(tier, outcomes[0].region, facts.language) if tier.rank else None
        return Stored(
            stored=stored - sum(outcome.corrected for outcome in outcomes),
            duplicates=len(lines) - stored,
            corrected=sum(outcome.corrected for outcome in outcomes),
            safety=Safety(tier=tier.value, card=shown) if tier.rank else None,
        )

    async def _known(self, caller: Identity, conversation_id: UUID) -> Facts:
        """What never changes of the caller's conversation; `_write` checks all that may."""
        user_id = caller.dreamer()
        facts = self._facts.get(conversation_id)
        if facts is None:
            async with self._db.as_service() as conn:
                facts = await store.facts(conn, user_id, conversation_id)
            if facts is None:
                raise missing()
            self._facts[conversation_id] = facts
            if len(self._facts) > _REMEMBERED:
                self._facts.popitem(last=False)
        if facts.user_id != user_id:
            raise missing()
        return facts

    async def _write(self, lines: list[Line]) -> list[Outcome]:
        """Write lines in one transaction; a key that comes again waits for the next statement."""
        outcomes: dict[int, Outcome] = {}
        left = list(enumerate(lines))
        async with self._db.as_service() as conn:
            while left:
                once: dict[tuple[UUID, str], tuple[int, Line]] = {}
                for place, line in left:
                    once.setdefault(line.key, (place, line))
                now = self._clock()
                written = await store.write(conn, [line for _, line in once.values()], now, now + self._idle)
                outcomes |= {place: outcome for (place, _), outcome in zip(once.values(), written, strict=True)}
                left = [(place, line) for place, line in left if place not in outcomes]
        found = [outcomes[place] for place in range(len(lines))]
        self._measure(lines, found)
        return found

    def _measure(self, lines: list[Line], outcomes: list[Outcome]) -> None:
        for line, outcome in zip(lines, outcomes, strict=True):
            if outcome.stored and not outcome.corrected:
                self._kept(line.sender)
            if outcome.stored and line.tier.rank >= Tier.passive_ideation.rank:
                self._flagged(line.tier.value)


def _line(message: NewMessage, conversation_id: UUID, facts: Facts, now: datetime) -> Line:
    """A checked message as a line; a clock that is wrong cannot put it before the conversation or into the future."""
    return Line(
        conversation_id=conversation_id,
        user_id=facts.user_id,
        event_id=message.event_id,
        sender=message.sender,
        content=message.content,
        occurred_at=max(min(message.timestamp or now, now), facts.created_at),
        # Who told a line is ours to say: `source` marks what came from the platform.
        metadata=dumps({key: value for key, value in message.metadata.items() if key != "source"}),
        tier=assess(message.content, facts.language) if message.sender == "user" else Tier.none,
    )


def _refuse(outcome: Outcome) -> None:
    if outcome.status is None:
        raise missing()
    after(state(outcome.status, paused=outcome.paused), "report")
    if outcome.transport == "relay":
        raise Conflict("The relay reports the lines of this conversation.", code="relay_reports")
