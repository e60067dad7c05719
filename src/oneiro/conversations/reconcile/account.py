"""One account of the platform, taken over in one transaction."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from oneiro.conversations import store as conversations
from oneiro.conversations.events import record
from oneiro.conversations.reconcile import store
from oneiro.conversations.reconcile.comparison import Comparison, Missing, compare
from oneiro.conversations.relayed import store as lines
from oneiro.conversations.relayed.models import Line
from oneiro.database.pool import Connection
from oneiro.events.models import EventType
from oneiro.platform.port import HeldConversation
from oneiro.safety.crisis import Tier, assess

SETTLED: Final = frozenset({"ended", "error", "paused"})
"""States of a session whose lines are written, but for those that the relay still owes: see `insert_lines`."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What an account brought: lines that were missing, and lines that were heard in part."""

    filled: int
    corrected: int


async def identify(conn: Connection, held: HeldConversation) -> store.Key | None:
    """The session that an account is of, known by the platform's id or by ours; None when it is none of ours."""
    key = await store.by_platform_id(conn, held.id)
    if key is not None or held.our_id is None or held.agent_id is None or held.started_at is None:
        return key
    try:
        ours = UUID(held.our_id)
    except ValueError:
        return None
    return await store.by_our_id(conn, ours, held.agent_id, held.started_at)


async def take_over(conn: Connection, key: store.Key, held: HeldConversation, now: datetime) -> Taken | None:
    """Fill in what is missing of a session; a repeat fills in nothing.

    None when the session is gone, or when the account is not of it: its id came from a client.
    """
    conversation = await conversations.lock(conn, None, key.conversation_id)
    session = await store.session(conn, key) if conversation else None
    if conversation is None or session is None or not _fits(held, key, session):
        return None
    if session.platform_id is None:
        await store.identify(conn, key, held.id)
    known = await store.lines(conn, key)
    span = (session.session_start_time, now)
    found = await asyncio.to_thread(compare, held.lines, known, session=key.session, span=span)
    filled = await _fill(conn, conversation, key, found)
    corrected = await _correct(conn, conversation, key, found)
    await store.settle(conn, key, _figures(held), _ended_at(held), now)
    if held.summary:
        silent = not any(line.sender == "user" for line in known) and conversation.message_count <= len(known)
        await store.set_summary(conn, key.conversation_id, held.summary, replace=silent)
    if session.reconciled_at is None or filled or corrected:
        data = {"filled": filled, "corrected": corrected, "session": key.session}
        await record(conn, key.conversation_id, conversation.user_id, "conversation.reconciled", data)
    return Taken(filled, corrected)


def _fits(held: HeldConversation, key: store.Key, session: store.Session) -> bool:
    return (
        session.platform_id in {None, held.id}
        and held.agent_id in {None, session.agent_id}
        and held.our_id in {None, str(key.conversation_id)}
    )


async def _fill(conn: Connection, conversation: conversations.Locked, key: store.Key, found: Comparison) -> int:
    if not found.missing:
        return 0
    gated = {each.event_id: _line(each, conversation.language) for each in found.missing}
    stored = await lines.insert_lines(conn, key.conversation_id, key.session, list(gated.values()))
    tiers = [Tier(conversation.safety_tier), *(gated[line.event_id].tier for line in stored)]
    await store.count(conn, key.conversation_id, len(stored), max(tiers, key=lambda tier: tier.rank))
    for line in stored:
        data: dict[str, object] = {"message_id": line.id, "sender": line.sender, "chars": line.chars}
        data |= {"session": key.session, "reconciled": True}
        await record(conn, key.conversation_id, conversation.user_id, "conversation.message_received", data)
        tier = gated[line.event_id].tier
        if tier.rank >= Tier.passive_ideation.rank:
            name: EventType = "safety.escalated" if tier is Tier.active_danger else "safety.flagged"
            data = {"tier": tier.value, "message_id": line.id, "conversation_id": str(key.conversation_id)}
            await record(conn, key.conversation_id, conversation.user_id, name, data)
    return len(stored)


def _line(missing: Missing, language: str) -> Line:
    """A missing line as it is stored; the crisis gate reads the dreamer's, late as it is."""
    held = missing.line
    return Line(
        event_id=missing.event_id,
        sender=held.sender,
        text=held.text,
        at=missing.at,
        metadata={"source": "platform"} | ({"interrupted": True} if held.interrupted else {}),
        tier=assess(held.text, language) if held.sender == "user" else Tier.none,
    )


async def _correct(conn: Connection, conversation: conversations.Locked, key: store.Key, found: Comparison) -> int:
    corrected = 0
    for cut in found.cuts:
        message_id = await lines.amend(conn, key.conversation_id, cut.event_id, cut.text)
        if message_id is not None:
            corrected += 1
            data = {"message_id": message_id}
            await record(conn, key.conversation_id, conversation.user_id, "conversation.message_corrected", data)
    return corrected


def _figures(held: HeldConversation) -> dict[str, Any]:
    """What the platform says of a session as a whole: figures and codes."""
    return {
        "seconds": held.seconds,
        "cost": held.cost,
        "termination_reason": held.termination_reason,
        "error_code": held.error_code,
        "successful": held.successful,
        "evaluation": dict(held.evaluation),
        "language": held.language,
    }


def _ended_at(held: HeldConversation) -> datetime | None:
    if held.started_at is None or held.seconds is None:
        return None
    return held.started_at + timedelta(seconds=held.seconds)
