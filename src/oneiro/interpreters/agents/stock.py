"""Taking stock: what is on the platform under this installation's marks and no row knows is removed there.

An agent is left over when its answer was lost or a process died before it wrote its row; a voice likewise. Removed is
only what bears our mark and is older than a day, and an agent that was talked to only if its row is retired: whatever
else stands in the workspace, another installation's agents among it, is none of our business.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from oneiro.database.pool import Database
from oneiro.errors import PlatformUnavailable
from oneiro.interpreters.agents import home_store, stock_store, traces
from oneiro.interpreters.agents.marks import every, prefix, voice_sha
from oneiro.platform.errors import PlatformRefused
from oneiro.platform.port import OWNER_TAG, HeldAgent, VoicePlatform

OLD: Final = timedelta(days=1)
"""Younger ones may be on their way into a row."""
REMOVED_AT_ONCE: Final = 50

log = structlog.get_logger(__name__)


class StockTaking:
    """Removes from the platform what no row knows."""

    def __init__(self, db: Database, platform: VoicePlatform, *, clock: Callable[[], datetime]) -> None:
        self._db = db
        self._platform = platform
        self._clock = clock

    async def take(self) -> int:
        """Compare agents and voices with the rows, and remove what is left over; how many went.

        Raises `PlatformUnavailable` and `PlatformRefused` when a list cannot be read; what cannot be deleted is told by
        `agent.cleanup_failed` and found again the next time. A copy of the database removes nothing, and no voice goes
        while an agent of ours is there that no row knows: it may speak with it.
        """
        async with self._db.as_service() as conn:
            if not await home_store.here(conn):
                log.warning("stock.kept", reason="database_copied")
                return 0
            mark = prefix(await stock_store.installation(conn))
        removed, unknown = await self._agents(mark)
        if unknown:
            log.warning("voices.kept", reason="agents_unknown", agents=unknown)
            return removed
        return removed + await self._voices(mark)

    async def _agents(self, mark: str) -> tuple[int, int]:
        """Remove agents with a tag of ours whose row does not know them; how many went, and how many are left."""
        old = self._clock() - OLD
        listed: dict[str, tuple[UUID, bool]] = {}
        young: list[str] = []
        async for agent in every(lambda cursor: self._platform.list_agents(OWNER_TAG, cursor)):
            row_id = _row_of(agent, mark)
            if row_id is not None and agent.created_at is not None and agent.created_at <= old:
                listed[agent.id] = row_id, agent.called
            elif row_id is not None:
                young.append(agent.id)
        async with self._db.as_service() as conn:
            left_over = await stock_store.left_over(conn, listed)
            unknown = set(await stock_store.unknown_agents(conn, [*listed, *young]))
        removed = {agent_id for agent_id, of in left_over[:REMOVED_AT_ONCE] if await self._remove_agent(agent_id, of)}
        return len(removed), len(unknown - removed)

    async def _remove_agent(self, agent_id: str, interpreter_id: str | None) -> bool:
        try:
            await self._platform.delete_agent(agent_id)
        except (PlatformUnavailable, PlatformRefused) as error:
            async with self._db.as_service() as conn:
                await traces.cleanup_failed(conn, agent_id, interpreter_id, error.code)
            return False
        async with self._db.as_service() as conn:
            await traces.retired(conn, agent_id, interpreter_id, "orphan")
        return True

    async def _voices(self, mark: str) -> int:
        """Voices with a name of ours that no row, agent or release knows."""
        old = self._clock() - OLD
        listed: dict[str, str] = {}
        async for voice in every(self._platform.list_voices):
            sha = voice_sha(voice.name, mark)
            if sha is not None and voice.created_at is not None and voice.created_at <= old:
                listed[voice.id] = sha
        async with self._db.as_service() as conn:
            unknown = await stock_store.unknown_voices(conn, listed)
        return sum([await self._remove_voice(voice_id) for voice_id in unknown[:REMOVED_AT_ONCE]])

    async def _remove_voice(self, voice_id: str) -> bool:
        try:
            await self._platform.delete_voice(voice_id)
        except (PlatformUnavailable, PlatformRefused) as error:
            log.warning("voice.cleanup_failed", voice_id=voice_id, code=error.code)
            return False
        log.info("voice.removed", voice_id=voice_id)
        return True


def _row_of(agent: HeldAgent, mark: str) -> UUID | None:
    """The row that an agent was made for, by its tag; None when the tag is none of this installation's."""
    for tag in agent.tags:
        if tag.startswith(mark):
            try:
                return UUID(tag.removeprefix(mark))
            except ValueError:
                return None
    return None
