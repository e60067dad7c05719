"""What tests of made-up histories share: a house whose interpreters have releases and arms, and a plan."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from oneiro.analytics.history.models import Plan

House = Any
UNTIL = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
TABLES = (
    "profiles",
    "conversations",
    "conversation_sessions",
    "messages",
    "conversation_analytics",
    "agent_metrics",
    "rollups_hourly",
    "rollups_daily",
    "system_events",
    "jobs",
    "experiment_assignments",
)
Held = dict[str, list[str]]


@pytest.fixture
async def furnished(house: House) -> House:
    """A house in which Carl had two releases and an experiment with the second."""
    await house.look(
        "INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by)"
        " VALUES ('carl', 2, '{}', 'bb', 'op')"
    )
    await house.look("UPDATE interpreter_releases SET activated_at = now()")
    await house.look(
        "INSERT INTO experiments (interpreter_id, name, created_by, started_at) VALUES ('carl', 'Warmer', 'op', now())"
    )
    await house.look(
        "INSERT INTO experiment_arms (experiment_id, name, release_id, weight) SELECT e.id, 'warm', r.id, 1"
        " FROM experiments AS e, interpreter_releases AS r WHERE r.interpreter_id = 'carl' AND r.number = 2"
    )
    return house


@pytest.fixture
def plan() -> Callable[..., Plan]:
    """Makes a plan of a few conversations in ten days, unless others are asked for."""
    return lambda **changes: Plan(**{"conversations": 400, "until": UNTIL, "days": 10, **changes})


@pytest.fixture
def held(house: House) -> Callable[[], Awaitable[Held]]:
    """Reads every row of the tables that a history touches, without what only says in which order rows arrived."""

    async def read() -> Held:
        return {
            table: [
                row["row"]
                for row in await house.look(
                    f"SELECT (to_jsonb(t) - 'ordinal')::text AS row FROM {table} AS t ORDER BY 1"
                )
            ]
            for table in TABLES
        }

    return read
