"""The consumer that computes a conversation when it is over, and again when something of it comes later.

What it tells of its agent is written at once: nothing reads the transcript a second time.
"""

import asyncio
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from oneiro.analytics.agents.service import measure_talk
from oneiro.analytics.conversations import store
from oneiro.analytics.conversations.service import analyse
from oneiro.database.pool import Connection
from oneiro.events.consumers import Consumer
from oneiro.events.models import Event

_TYPES: Final = (
    "conversation.ended",
    "conversation.failed",
    "conversation.rated",
    "conversation.message_received",
    "conversation.message_corrected",
    "conversation.reconciled",
    "conversation.error",
)


async def compute(conn: Connection, event: Event) -> None:
    """Compute the event's conversation if it is over and the event is not in its row yet; a repeat changes nothing.

    A conversation that goes on is left alone: its end is an event as well.
    """
    if event.conversation_id is None:
        return
    known = await store.known(conn, event.conversation_id)
    if known is None or not known.over or event.position <= known.computed_to:
        return
    if not await store.hold(conn, event.conversation_id):
        return
    facts = await store.facts(conn, event.conversation_id)
    if facts is None:
        return
    lines = await store.lines(conn, event.conversation_id)
    sessions = await store.sessions(conn, event.conversation_id)
    # A lexicon takes a millisecond a line: not on the loop that carries calls.
    analysis = await asyncio.to_thread(analyse, facts, lines, sessions)
    computed_to = max(known.head, event.position)
    await store.upsert(conn, analysis, source_event=event.id, computed_to=computed_to, now=event.time)
    await measure_talk(
        conn,
        event.conversation_id,
        completion=analysis.completion_reason,
        times=analysis.snapshot["response_time"],
        source_event=event.id,
        at=facts.ended_at,
    )


async def of_what_is_over(conn: Connection, events: Sequence[Event]) -> set[UUID]:
    """Ids of the events whose conversation is over; nearly all are of conversations that go on."""
    over = await store.over(conn, {event.conversation_id for event in events if event.conversation_id})
    return {event.id for event in events if event.conversation_id in over}


CONSUMER: Final = Consumer("analytics", _TYPES, compute, together=50, concerned=of_what_is_over)
