"""The invariants themselves: each finds what it is there for, and nothing in a database that is well."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import psycopg
import pytest
from tests.chaos.invariants import TO_BE_DONE, VIOLATIONS, found

Deed = Callable[..., Awaitable[dict[str, list[Any]]]]
Look = Callable[..., Awaitable[list[dict[str, Any]]]]

ONE = "'00000000-0000-4000-8000-000000000001'"
"""The conversation of these deeds, which is whole: two places, one line, ended once."""
WHOLE = f"""
    DELETE FROM system_events; DELETE FROM event_cursors;
    INSERT INTO conversations (id, user_id, interpreter_id, status, message_count)
        VALUES ({ONE}, gen_random_uuid(), 'carl', 'completed', 1);
    INSERT INTO messages (id, conversation_id, event_id, sender, content, occurred_at)
        VALUES ({ONE}, {ONE}, 'line 0', 'user', 'A heron.', now());
    INSERT INTO system_events (event_type, conversation_id, event_data, position) VALUES
        ('conversation.message_received', {ONE}, jsonb_build_object('message_id', {ONE}), 1),
        ('conversation.ended', {ONE}, '{{}}', 2);
    INSERT INTO event_cursors (consumer, position) VALUES ('sequencer', 2), ('one', 2);
"""
LINE = f"""
    INSERT INTO messages (conversation_id, event_id, sender, content, occurred_at)
        VALUES ({ONE}, 'line 1', 'user', '%s', now());
"""
PARKED = f"""
    INSERT INTO parked_events (consumer, position, event_id, conversation_id, attempts, error, retry_at)
        VALUES ('one', %s, gen_random_uuid(), {ONE}, %s, 'ArithmeticError', %s);
"""

BREACHES = {
    "a line twice": LINE % "A heron.",
    "a count of lines that is wrong": "UPDATE conversations SET message_count = 2",
    "a line without its one event": LINE % "A lake.",
    "an event of a line that is not there": "DELETE FROM messages",
    "a conversation that is not final": "UPDATE conversations SET status = 'active'",
    "a conversation that did not end once": "DELETE FROM system_events WHERE position = 2",
    "a session that is open": f"""
        INSERT INTO conversation_sessions (conversation_id, session, session_status) VALUES ({ONE}, 1, 'active')
    """,
    "an event without a place": "UPDATE system_events SET position = NULL",
    "a gap between the places": "UPDATE system_events SET position = 3 WHERE position = 2",
    "events of a conversation out of order": "UPDATE system_events SET position = 4 - position",
    "a slot that is taken": f"INSERT INTO conversation_slots VALUES ({ONE}, 'a replica', now())",
    "a job that is stuck or dead": "INSERT INTO jobs (kind, state) VALUES ('a kind', 'dead')",
    "a consumer that is behind": "UPDATE event_cursors SET position = 1 WHERE consumer = 'one'",
    "an event that is parked": PARKED % (1, 6, "NULL"),
}


@pytest.fixture
async def after(db_url: str) -> AsyncIterator[Deed]:
    """What is found after a deed in a database that was well: `after(asked, "UPDATE …")`; all deeds are undone."""
    async with await psycopg.AsyncConnection.connect(db_url) as conn:
        # Rows need not fit together here: neither keys of other tables nor triggers are looked at.
        await conn.execute("SET session_replication_role = replica")
        await conn.execute(WHOLE.encode())
        await conn.commit()

        async def after(asked: Mapping[str, str], *deeds: str) -> dict[str, list[Any]]:
            for deed in deeds:
                await conn.execute(deed.encode())
            told = await found(conn, asked)
            await conn.rollback()
            return told

        yield after


async def test_each_invariant_finds_its_breach_and_nothing_where_all_is_well(after: Deed) -> None:
    assert await after(VIOLATIONS) == {}
    assert BREACHES.keys() == VIOLATIONS.keys()
    for name, deed in BREACHES.items():
        assert name in await after(VIOLATIONS, deed)


async def test_what_is_parked_is_at_rest_only_when_nobody_will_try_it_again(after: Deed) -> None:
    given_up, waits, again = PARKED % (1, 6, "NULL"), PARKED % (2, 0, "NULL"), PARKED % (1, 1, "now() + '1 hour'")
    to_be_tried = {"a parked event that is to be tried"}
    assert await after(TO_BE_DONE) == {}
    assert await after(TO_BE_DONE, given_up) == {}, "it waits for an operator"
    assert await after(TO_BE_DONE, given_up, waits) == {}, "it waits for one that waits for an operator"
    assert (await after(TO_BE_DONE, again, waits)).keys() == to_be_tried
    assert (await after(TO_BE_DONE, waits)).keys() == to_be_tried, "what it waited for is gone"


@pytest.mark.parametrize(
    ("deed", "name"),
    [
        ("INSERT INTO jobs (kind) VALUES ('a kind')", "a job that runs or is due"),
        ("INSERT INTO jobs (kind, state) VALUES ('a kind', 'running')", "a job that runs or is due"),
        (BREACHES["a consumer that is behind"], "a consumer that is behind"),
        (BREACHES["an event without a place"], "an event without a place"),
    ],
)
async def test_what_goes_on_by_itself_is_not_at_rest(after: Deed, deed: str, name: str) -> None:
    assert name in await after(TO_BE_DONE, deed)


async def test_who_looks_sees_rows_without_columns(look: Look) -> None:
    assert len(await look("SELECT FROM generate_series(1, 2)")) == 2
    assert await look("SELECT FROM pg_class WHERE false") == []
    assert await look("UPDATE jobs SET kind = kind") == []


async def test_a_job_of_another_day_is_at_rest(after: Deed) -> None:
    later = "INSERT INTO jobs (kind, run_at) VALUES ('a kind', now() + interval '1 day')"
    assert await after(TO_BE_DONE, later) == {}
