"""Lines that a client reports (direct transport): checked, gated, stored once, each with its event."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from oneiro.auth import Identity
from oneiro.conversations import store
from oneiro.conversations.access import locked
from oneiro.conversations.events import record
from oneiro.conversations.models import NewMessage, Safety, Stored
from oneiro.conversations.state import after
from oneiro.database.pool import Connection, Database
from oneiro.dreamers import store as dreamers
from oneiro.errors import Conflict
from oneiro.events.models import EventType
from oneiro.safety.cards import card
from oneiro.safety.crisis import Tier, assess


class Ingest:
    """Stores messages; the crisis gate reads the dreamer's before anything else happens to them."""

    def __init__(self, db: Database, *, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._clock = clock

    async def report(self, caller: Identity, conversation_id: UUID, messages: list[NewMessage]) -> Stored:
        """Store the messages whose event ids are new, and answer with what the gate found in this report.

        Raises `ValidationError` for an empty or too long line, `Conflict` when the conversation has ended or when its
        lines come by the relay. The answer's card is there also when the lines were known already.
        """
        checked = [message.checked(place) for place, message in enumerate(messages)]
        now = self._clock()
        async with self._db.as_service() as conn:
            conversation = await locked(conn, caller, conversation_id)
            after(conversation.status, "report")
            if conversation.transport == "relay":
                raise Conflict("The relay reports the lines of this conversation.", code="relay_reports")
            tier = _worst(checked, conversation.language)
            new = await store.insert_messages(conn, conversation_id, checked, now)
            for message in new:
                data = {"message_id": message.id, "sender": message.sender, "chars": message.chars, "session": 1}
                await record(conn, conversation_id, caller.user_id, "conversation.message_received", data)
            if new:
                await self._note(conn, caller, conversation, len(new), tier, now)
            region = await _region(conn, caller, now)
        shown = Safety(tier=tier.value, card=card(tier, region, conversation.language)) if tier.rank else None
        return Stored(stored=len(new), duplicates=len(messages) - len(new), safety=shown)

    async def _note(
        self, conn: Connection, caller: Identity, conversation: store.Locked, stored: int, tier: Tier, now: datetime
    ) -> None:
        highest = max(tier, Tier(conversation.safety_tier), key=lambda known: known.rank)
        await store.note_activity(conn, conversation.conversation_id, stored, highest.value, now)
        if tier in {Tier.passive_ideation, Tier.active_danger}:
            event_type: EventType = "safety.escalated" if tier is Tier.active_danger else "safety.flagged"
            data = {"tier": tier.value, "conversation_id": str(conversation.conversation_id)}
            await record(conn, conversation.conversation_id, caller.user_id, event_type, data)


def _worst(messages: list[NewMessage], language: str) -> Tier:
    tiers = [assess(message.content, language) for message in messages if message.sender == "user"]
    return max(tiers, key=lambda tier: tier.rank, default=Tier.none)


async def _region(conn: Connection, caller: Identity, now: datetime) -> str | None:
    dreamer = await dreamers.find(conn, caller.dreamer(), now)
    return dreamer.region if dreamer else None
