"""Who may do what to which table, tried with the real roles."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from oneiro.database.embedded import Server
from oneiro.database.migrate import migrate

ANA = "00000000-0000-4000-8000-00000000000a"
BEA = "00000000-0000-4000-8000-00000000000b"
TALK = "00000000-0000-4000-8000-0000000000c1"
DREAM = "00000000-0000-4000-8000-0000000000d1"

ROWS = f"""
INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('carl', 'Carl', 'Carl Jung', 'x');
INSERT INTO interpreter_configs (id, name, full_name, description, is_active) VALUES ('old', 'Old', 'Old', 'x', false);
INSERT INTO interpreter_personalities (interpreter_id, approach, conversation_style) VALUES ('carl', 'jungian', '{{}}');
INSERT INTO interpreter_voices (interpreter_id) VALUES ('carl');
INSERT INTO interpreter_prompts (interpreter_id, type, name, template) VALUES ('carl', 'system', 'default', 'secret');
INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by)
VALUES ('carl', 1, '{{}}', 'aa', 'seed');
INSERT INTO platform_agents (interpreter_id, release_id, language, model)
SELECT 'carl', id, 'en', 'gpt-4o' FROM interpreter_releases;
INSERT INTO platform_voices (description_sha256) VALUES ('aa');
INSERT INTO profiles (user_id, name) VALUES ('{ANA}', 'Ana'), ('{BEA}', 'Bea');
INSERT INTO experiments (interpreter_id, name, created_by) VALUES ('carl', 'warmer', 'operator');
INSERT INTO experiment_arms (experiment_id, name, release_id, weight)
SELECT e.id, 'a', r.id, 1 FROM experiments AS e, interpreter_releases AS r;
INSERT INTO experiment_assignments (experiment_id, user_id, arm_id)
SELECT experiment_id, '{ANA}', id FROM experiment_arms;
INSERT INTO dreams (id, user_id, title, content) VALUES ('{DREAM}', '{ANA}', 'Stairs', 'A staircase made of water');
INSERT INTO conversations (id, user_id, interpreter_id, dream_id) VALUES ('{TALK}', '{ANA}', 'carl', '{DREAM}');
INSERT INTO messages (conversation_id, sender, content) VALUES ('{TALK}', 'user', 'The steps were warm');
INSERT INTO conversation_sessions (conversation_id) VALUES ('{TALK}');
INSERT INTO conversation_slots (conversation_id, owner, leased_until) VALUES ('{TALK}', 'x', now());
INSERT INTO conversation_analytics (conversation_id, user_id) VALUES ('{TALK}', '{ANA}');
INSERT INTO agent_metrics (agent_id, conversation_id, metric_type) VALUES ('agent_1', '{TALK}', 'response_time');
INSERT INTO rollups_hourly (hour, interpreter_id, counts) VALUES (now(), 'carl', '{{}}');
INSERT INTO rollups_daily (day, interpreter_id, counts) VALUES (now(), 'carl', '{{}}');
INSERT INTO rollups_dirty (hour) VALUES (now());
INSERT INTO idempotency_keys (user_id, route, key, body_sha256) VALUES ('{ANA}', '/', 'k', 'x');
INSERT INTO system_events (event_type, event_data, user_id) VALUES ('disclosure.given', '{{}}', '{ANA}');
INSERT INTO safety_flags (id, user_id, conversation_id, tier, flagged_at)
VALUES (gen_random_uuid(), '{ANA}', '{TALK}', 'active_danger', now());
INSERT INTO event_cursors (consumer) VALUES ('sequencer');
INSERT INTO parked_events (consumer, position, event_id) SELECT 'analytics', 1, id FROM system_events;
INSERT INTO jobs (kind) VALUES ('retire_agent');
INSERT INTO webhook_inbox (delivery_key, event_type) VALUES ('k', 'post_call_transcription');
INSERT INTO webhook_endpoints (url, secret, created_by) VALUES ('https://example.org', 'whsec_x', 'operator');
INSERT INTO webhook_deliveries (endpoint_id, event_id)
SELECT w.id, e.id FROM webhook_endpoints AS w, system_events AS e;
"""

# A column of each table that the update of the matrix writes back unchanged.
TABLES = {
    "profiles": "name",
    "dreams": "title",
    "conversations": "summary",
    "messages": "content",
    "conversation_sessions": "session_status",
    "conversation_slots": "owner",
    "safety_flags": "acknowledged_at",
    "conversation_analytics": "message_count",
    "agent_metrics": "metric_value",
    "rollups_hourly": "counts",
    "rollups_daily": "counts",
    "rollups_dirty": "hour",
    "idempotency_keys": "response",
    "interpreter_configs": "name",
    "interpreter_personalities": "approach",
    "interpreter_voices": "voice_id",
    "interpreter_prompts": "template",
    "interpreter_releases": "note",
    "experiments": "note",
    "experiment_arms": "name",
    "experiment_assignments": "assigned_at",
    "platform_agents": "drift",
    "platform_voices": "voice_id",
    "system_events": "event_type",
    "event_cursors": "position",
    "parked_events": "attempts",
    "jobs": "kind",
    "webhook_inbox": "body",
    "webhook_endpoints": "url",
    "webhook_deliveries": "state",
}
ACTORS = {
    "anonymous": ("anon", {"role": "anon"}),
    "owner": ("authenticated", {"role": "authenticated", "sub": ANA}),
    "other": ("authenticated", {"role": "authenticated", "sub": BEA}),
    "no claims": ("authenticated", {}),
    "service": ("service_role", {"role": "service_role"}),
}
VERBS = ("select", "insert", "update", "delete")

# (actor, table) → the verbs that reach a row; "-" means: allowed to try, and it meets no row. Anything not named
# here is refused.
NOTHING = "select:-"
ALLOWED = {
    ("anonymous", "interpreter_configs"): "select",
    ("owner", "interpreter_configs"): "select",
    ("other", "interpreter_configs"): "select",
    ("no claims", "interpreter_configs"): "select",
    ("owner", "profiles"): "select update",
    ("other", "profiles"): "select update",  # her own row; a test below tells it from Ana's
    ("no claims", "profiles"): "select:- update:-",
    ("owner", "dreams"): "select insert update delete",
    ("other", "dreams"): "select:- update:- delete:-",
    ("no claims", "dreams"): "select:- update:- delete:-",
}
for child in ("conversations", "messages", "conversation_sessions", "conversation_analytics"):
    ALLOWED |= {("owner", child): "select", ("other", child): NOTHING, ("no claims", child): NOTHING}


def expected(actor: str, table: str, verb: str) -> str:
    """What the matrix promises: row, none or refused."""
    if actor == "service":
        return "row"
    words = ALLOWED.get((actor, table), "").split()
    return "row" if verb in words else "none" if f"{verb}:-" in words else "refused"


def statement(table: str, verb: str) -> str:
    """A try at a verb; the insert of a dream is one that would be hers."""
    if verb == "insert" and table == "dreams":
        return f"INSERT INTO dreams (user_id, content) VALUES ('{ANA}', 'A door in the sea')"
    column = TABLES[table]
    return {
        "select": f"SELECT 1 FROM {table}",
        "insert": f"INSERT INTO {table} DEFAULT VALUES",
        "update": f"UPDATE {table} SET {column} = {column}",
        "delete": f"DELETE FROM {table}",
    }[verb]


@pytest.fixture(scope="session")
def address(cluster: Server) -> Iterator[str]:
    """A migrated database with a row in every table."""
    with psycopg.connect(cluster.admin_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE rights")
    url = cluster.url("rights")
    migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(ROWS.encode())
    yield url
    with psycopg.connect(cluster.admin_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE rights WITH (FORCE)")


@pytest.fixture(scope="session")
def login(address: str) -> Iterator[psycopg.Connection]:
    """A connection of the service's own login."""
    with psycopg.connect(make_conninfo(address, user="oneiro_service"), autocommit=True) as connection:
        yield connection


Run = Callable[[str, str], "psycopg.Cursor[tuple[Any, ...]]"]


@pytest.fixture
def run(login: psycopg.Connection) -> Iterator[Run]:
    """Run a statement as an actor, in a transaction that is rolled back at the end."""

    def perform(actor: str, query: str) -> psycopg.Cursor[tuple[Any, ...]]:
        role, claims = ACTORS[actor]
        login.execute(
            "SELECT set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
            (role, json.dumps(claims) if claims else ""),
        )
        return login.execute(query.encode())

    with login.transaction(force_rollback=True):
        yield perform


def outcome(run: Run, actor: str, query: str) -> str:
    try:
        done = run(actor, query)
    except psycopg.errors.InsufficientPrivilege:
        return "refused"
    except psycopg.IntegrityError:
        return "row"  # The right was there; the empty row was not acceptable.
    return "row" if done.rowcount > 0 else "none"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("table", TABLES)
def test_matrix(run: Run, table: str, actor: str, verb: str) -> None:
    assert outcome(run, actor, statement(table, verb)) == expected(actor, table, verb)


def test_the_matrix_names_every_table(address: str) -> None:
    with psycopg.connect(address) as connection:
        found = connection.execute(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert {name for (name,) in found} == set(TABLES)


def test_the_reference_describes_every_table() -> None:
    text = (Path(__file__).parents[2] / "docs/reference/tables.md").read_text()
    assert set(re.findall(r"^### (\w+)$", text, flags=re.MULTILINE)) == set(TABLES)


def test_the_reference_names_what_a_dreamer_may_do(address: str) -> None:
    text = (Path(__file__).parents[2] / "docs/reference/tables.md").read_text()
    sections = dict(re.findall(r"^### (\w+)\n(.+)$", text, flags=re.MULTILINE))
    opened = {table for (actor, table) in ALLOWED if actor == "owner"} - {"interpreter_configs"}
    assert {table for table, words in sections.items() if "Dreamer:" in words} == opened
    with psycopg.connect(address) as connection:
        writable = connection.execute(
            "SELECT DISTINCT table_name, column_name FROM information_schema.column_privileges"
            " WHERE grantee = 'authenticated' AND privilege_type IN ('INSERT', 'UPDATE')"
        ).fetchall()
    assert writable
    for table, column in writable:
        assert f"`{column}`" in sections[table], (table, column)


FORGERIES = {
    "a message as the interpreter": f"INSERT INTO messages (conversation_id, sender, content)"
    f" VALUES ('{TALK}', 'interpreter', 'Stop your treatment')",
    "a message of her own": f"INSERT INTO messages (conversation_id, sender, content) VALUES ('{TALK}', 'user', 'x')",
    "another wording of what was said": "UPDATE messages SET content = 'x'",
    "a conversation past the budget": f"INSERT INTO conversations (user_id, interpreter_id) VALUES ('{ANA}', 'carl')",
    "a conversation of someone else": f"INSERT INTO conversations (user_id, interpreter_id) VALUES ('{BEA}', 'carl')",
    "a harmless safety tier": "UPDATE conversations SET safety_tier = 'none'",
    "a status": "UPDATE conversations SET status = 'completed'",
    "a rating past the service": "UPDATE conversations SET rating = 5",
    "minutes that were never talked": "UPDATE conversations SET started_at = NULL",
    "a session": f"INSERT INTO conversation_sessions (conversation_id) VALUES ('{TALK}')",
    "a slot": f"INSERT INTO conversation_slots VALUES ('{TALK}', 'x', 'infinity')",
    "a dream for someone else": f"INSERT INTO dreams (user_id, content) VALUES ('{BEA}', 'x')",
    "a dream given away": f"UPDATE dreams SET user_id = '{BEA}'",
    "a dream told in a conversation": f"INSERT INTO dreams (user_id, content, source_conversation_id)"
    f" VALUES ('{ANA}', 'x', '{TALK}')",
    "a dream from long ago": "UPDATE dreams SET created_at = '2000-01-01'",
    "all interpreters": "UPDATE profiles SET allowed_interpreters = NULL",
    "another identity": f"UPDATE profiles SET user_id = '{BEA}'",
    "a profile": "INSERT INTO profiles (user_id) VALUES (gen_random_uuid())",
    "a profile deleted past the erasure": "DELETE FROM profiles",
    "an event": "INSERT INTO system_events (event_type, event_data) VALUES ('dreamer.erased', '{}')",
    "a job": "INSERT INTO jobs (kind) VALUES ('x')",
    "an analysis": "UPDATE conversation_analytics SET user_satisfaction_score = 5",
    "a look at a prompt": "SELECT template FROM interpreter_prompts",
    "a look at a release": "SELECT document FROM interpreter_releases",
    "a look at another's key": "SELECT response FROM idempotency_keys",
    "a look at a webhook secret": "SELECT secret FROM webhook_endpoints",
    "an emptied journal": "TRUNCATE dreams",
    "a trigger": "CREATE TRIGGER t BEFORE INSERT ON dreams FOR EACH ROW EXECUTE FUNCTION oneiro.touch()",
    "a table": "CREATE TABLE public.mine (id integer)",
    "a look at the migrations": "SELECT * FROM oneiro.schema_migrations",
    "a closed table opened": "SELECT oneiro.close('dreams')",
    "row security off": "ALTER TABLE dreams DISABLE ROW LEVEL SECURITY",
    "another's role": "SET LOCAL ROLE postgres",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_dreamer_with_direct_access_cannot_forge(run: Run, forgery: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run("owner", FORGERIES[forgery])


def test_a_dreamer_reads_and_changes_her_own_profile_only(run: Run) -> None:
    changed = run(
        "other",
        "UPDATE profiles SET name = 'Beatriz', language = 'pt', region = 'PT', birth_year = 1990,"
        """ consents = '{"voice": true, "memory": true, "analytics": false}' RETURNING user_id""",
    )
    assert [str(user) for (user,) in changed] == [BEA]
    assert run("other", "SELECT name FROM profiles").fetchall() == [("Beatriz",)]


def test_a_dreamer_keeps_her_journal_directly(run: Run) -> None:
    run("owner", f"INSERT INTO dreams (user_id, title, content, symbols) VALUES ('{ANA}', 'Sea', 'A door', '{{sea}}')")
    run("owner", "UPDATE dreams SET content = 'A door in the sea', interpretation = 'A way out' WHERE title = 'Sea'")
    assert run("owner", "DELETE FROM dreams WHERE title = 'Sea'").rowcount == 1


@pytest.mark.parametrize(
    "change",
    [
        """UPDATE profiles SET consents = '{"voice": "yes"}'""",
        """UPDATE profiles SET consents = '{"admin": true}'""",
        "UPDATE profiles SET consents = '[]'",
        "UPDATE profiles SET region = 'Germany'",
        "UPDATE profiles SET name = repeat('x', 201)",
        "UPDATE dreams SET content = repeat('x', 5001)",
        "UPDATE dreams SET content = ''",
        "UPDATE dreams SET symbols = array_fill('x'::text, ARRAY[101])",
        "UPDATE dreams SET interpretation = repeat('x', 20001)",
    ],
)
def test_values_written_past_the_service_are_bounded(run: Run, change: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        run("owner", change)


def test_retired_interpreters_are_not_public(run: Run) -> None:
    assert run("anonymous", "SELECT id FROM interpreter_configs").fetchall() == [("carl",)]


def test_the_login_role_alone_can_do_nothing(login: psycopg.Connection) -> None:
    for table in TABLES:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            login.execute(f"SELECT 1 FROM {table}".encode())


def test_the_service_needs_no_bypass_of_row_security(address: str) -> None:
    with psycopg.connect(address) as connection:
        connection.execute("ALTER ROLE service_role NOBYPASSRLS; SET LOCAL ROLE service_role")
        for table in TABLES:
            assert connection.execute(f"SELECT 1 FROM {table}".encode()).fetchone() == (1,), table
        connection.rollback()


def test_every_table_has_row_security(address: str) -> None:
    with psycopg.connect(address) as connection:
        bare = connection.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relrowsecurity"
            " AND relnamespace IN ('public'::regnamespace, 'oneiro'::regnamespace)"
        ).fetchall()
    assert bare == []


def test_every_policy_names_a_role_and_asks_for_the_dreamer_once(address: str) -> None:
    with psycopg.connect(address) as connection:
        policies = connection.execute(
            "SELECT tablename, policyname, roles, coalesce(qual, '') || coalesce(with_check, '') FROM pg_policies"
        ).fetchall()
    assert len(policies) > len(TABLES)
    for table, policy, roles, text in policies:
        assert set(roles) <= {"anon", "authenticated", "service_role"}, (table, policy)
        asked = len(re.findall(r"auth\.\w+\(\)", text))
        assert asked == len(re.findall(r"SELECT auth\.\w+\(\)", text)), (table, policy)
        if "authenticated" in roles and table != "interpreter_configs":
            assert asked, (table, policy)


@pytest.mark.parametrize("table", ["conversations", "messages", "conversation_sessions"])
def test_row_security_asks_once_for_a_statement_and_not_for_each_row(run: Run, table: str) -> None:
    plan = "\n".join(line for (line,) in run("owner", f"EXPLAIN SELECT 1 FROM {table}"))
    assert "InitPlan" in plan
    assert "auth.uid()" not in plan.replace("auth.uid() AS", "")


def test_no_function_of_ours_can_be_called_by_a_dreamer(address: str) -> None:
    with psycopg.connect(address) as connection:
        open_functions = connection.execute(
            """
            SELECT p.oid::regprocedure::text, r.role
            FROM pg_proc AS p, unnest(ARRAY['anon', 'authenticated']) AS r (role)
            WHERE p.pronamespace IN ('public'::regnamespace, 'oneiro'::regnamespace)
                AND has_function_privilege(r.role, p.oid, 'EXECUTE')
            """
        ).fetchall()
        loose = connection.execute(
            "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'oneiro'::regnamespace"
            " AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=\"\"']"
        ).fetchall()
    assert open_functions == []
    assert loose == []


def test_no_sequence_is_open(address: str) -> None:
    with psycopg.connect(address) as connection:
        open_sequences = connection.execute(
            """
            SELECT c.oid::regclass::text FROM pg_class AS c, unnest(ARRAY['anon', 'authenticated']) AS r (role)
            WHERE c.relkind = 'S' AND c.relnamespace = 'public'::regnamespace
                AND has_sequence_privilege(r.role, c.oid, 'USAGE, SELECT, UPDATE')
            """
        ).fetchall()
    assert open_sequences == []
