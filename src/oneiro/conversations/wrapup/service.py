"""Wrapping up: read what was said, think about it outside any transaction, write summary and draft once."""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from oneiro.conversations import store
from oneiro.conversations.models import Sender
from oneiro.conversations.wrapup import store as rows
from oneiro.conversations.wrapup.telling import Draft, draft
from oneiro.database.pool import Connection, Database
from oneiro.dreamwork.summary import summarise
from oneiro.events.models import Event
from oneiro.interpreters import store as interpreters
from oneiro.safety.crisis import Tier, assess


@dataclass(frozen=True, slots=True)
class Closing:
    """What is to stay of a conversation."""

    summary: str
    draft: Draft | None

    def with_summary(self, given: str | None) -> "Closing":
        """The same with the summary that the client gave, if it gave one."""
        return replace(self, summary=given) if given else self


@dataclass(frozen=True, slots=True)
class Material:
    """A conversation as it was held."""

    lines: list[tuple[Sender, str]]
    name: str
    seconds: int
    language: str
    about_journal: bool

    @property
    def quotable(self) -> list[tuple[Sender, str]]:
        """The lines that a summary may be made of: what the crisis gate flagged is not quoted back to her."""
        return [line for line in self.lines if line[0] != "user" or not _grave(line[1], self.language)]

    def close(self) -> Closing:
        """Sum it up; a dream that was told becomes a draft unless the talk was about a dream of the journal."""
        told = None
        if not self.about_journal:
            told = draft([content for sender, content in self.lines if sender == "user"], self.language)
        return Closing(summarise(self.quotable, name=self.name, seconds=self.seconds), told)


def _grave(said: str, language: str) -> bool:
    return assess(said, language).rank >= Tier.passive_ideation.rank


async def closing(conn: Connection, conversation: store.Locked, ended_at: datetime) -> Material:
    """Read what a conversation is to be closed with; `ended_at` is when it ends or ended."""
    return Material(
        lines=await store.transcript(conn, conversation.conversation_id),
        name=await interpreters.name(conn, conversation.interpreter_id),
        seconds=round((ended_at - (conversation.started_at or ended_at)).total_seconds()),
        language=conversation.language,
        about_journal=conversation.dream_id is not None,
    )


async def write(conn: Connection, conversation_id: UUID, user_id: UUID, closed: Closing, now: datetime) -> bool:
    """Write summary and draft, once for each conversation, so that a draft that was dropped does not come back."""
    if not await rows.mark(conn, conversation_id, closed.summary, now):
        return False
    if closed.draft is not None:
        await rows.insert_draft(conn, user_id, conversation_id, closed.draft)
    return True


async def summarise_ended(conn: Connection, event: Event) -> None:
    """Handle `conversation.ended`: wrap up a conversation that something other than its client ended.

    For a durable consumer; the sweeper does the same for what no consumer came to. A repeat changes nothing.
    """
    if event.conversation_id is not None:
        await _wrap_up(conn, event.conversation_id, event.time)


async def _wrap_up(conn: Connection, conversation_id: UUID, now: datetime) -> bool:
    conversation = await store.lock(conn, None, conversation_id)
    if conversation is None or conversation.status != "completed" or conversation.wrapped_up_at is not None:
        return False
    material = await closing(conn, conversation, conversation.ended_at or now)
    closed = await asyncio.to_thread(material.close)
    return await write(conn, conversation_id, conversation.user_id, closed, now)


async def wrap_up_waiting(db: Database, now: datetime, limit: int = 100) -> int:
    """Wrap up ended conversations that nobody has wrapped up yet, each in a transaction of its own; how many."""
    async with db.as_service() as conn:
        waiting = await rows.waiting(conn, limit)
    done = 0
    for conversation_id in waiting:
        async with db.as_service() as conn:
            done += await _wrap_up(conn, conversation_id, now)
    return done
