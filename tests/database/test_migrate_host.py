"""Databases that are not empty: dressed as Supabase, or with a host application's own tables."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from oneiro.database.embedded import Server
from oneiro.database.migrate import available, migrate
from oneiro.errors import SetupError

EVERYTHING = [migration.file for migration in available()]
ANA = "00000000-0000-4000-8000-00000000000a"
BEA = "00000000-0000-4000-8000-00000000000b"

# As on Supabase: `auth` belongs to another role, everything made in `public` is open to the API's roles, and the
# project's administrator is no superuser.
SUPABASE_ROLES = """
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF to_regrole(wanted) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
        END IF;
    END LOOP;
    ALTER ROLE service_role BYPASSRLS;
    IF to_regrole('authenticator') IS NULL THEN
        CREATE ROLE supabase_auth_admin LOGIN NOINHERIT CREATEROLE;
        CREATE ROLE authenticator LOGIN NOINHERIT;
        GRANT anon, authenticated, service_role TO authenticator;
        CREATE ROLE project_admin LOGIN CREATEROLE CREATEDB BYPASSRLS;
        GRANT anon, authenticated, service_role TO project_admin WITH ADMIN OPTION;
    END IF;
END
$$;
"""
SUPABASE_DATABASE = """
GRANT USAGE ON SCHEMA public TO anon, authenticated, service_role;
GRANT ALL ON SCHEMA public TO project_admin;
ALTER DEFAULT PRIVILEGES FOR ROLE project_admin IN SCHEMA public
    GRANT ALL ON TABLES TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE project_admin IN SCHEMA public
    GRANT ALL ON FUNCTIONS TO anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE project_admin IN SCHEMA public
    GRANT ALL ON SEQUENCES TO anon, authenticated, service_role;
CREATE SCHEMA auth AUTHORIZATION supabase_auth_admin;
GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role, project_admin;
SET ROLE supabase_auth_admin;
CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS
    $f$ SELECT (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $f$;
CREATE FUNCTION auth.role() RETURNS text LANGUAGE sql STABLE AS
    $f$ SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role' $f$;
CREATE FUNCTION auth.jwt() RETURNS jsonb LANGUAGE sql STABLE AS
    $f$ SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb $f$;
RESET ROLE;
"""
HOST = f"""
CREATE TABLE profiles (user_id uuid PRIMARY KEY, name text, favourite_colour text);
CREATE TABLE conversations (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id uuid NOT NULL REFERENCES profiles (user_id),
    interpreter_id text NOT NULL,
    mood text DEFAULT 'calm',
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE messages (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversations (id),
    sender text NOT NULL,
    content text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO profiles VALUES ('{ANA}', 'Ana', 'green'), ('{BEA}', 'Bea', 'blue');
INSERT INTO conversations (user_id, interpreter_id, mood)
SELECT user_id, 'freud', 'stormy' FROM profiles, generate_series(1, 3);
INSERT INTO messages (conversation_id, sender, content, created_at)
SELECT id, 'user', 'a house without doors', '2024-03-01 05:00Z' FROM conversations;
ALTER TABLE profiles ENABLE ROW LEVEL SECURITY;
CREATE POLICY "everyone may look" ON profiles FOR SELECT USING (true);
CREATE POLICY profiles_service_role ON profiles FOR ALL TO service_role USING (true);
CREATE POLICY "everyone may write" ON conversations FOR ALL USING (true);
GRANT ALL ON ALL TABLES IN SCHEMA public TO anon, authenticated, service_role;
GRANT INSERT (content), UPDATE (content) ON messages TO authenticated, PUBLIC;
"""


def rows(url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


def as_dreamer(url: str, user: str, statement: str) -> list[tuple[Any, ...]]:
    """What a dreamer gets who reaches the database by the open API."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)",
            (f'{{"sub": "{user}", "role": "authenticated"}}',),
        )
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def supabase(cluster: Server, new_database: Callable[[], str]) -> str:
    """The project administrator's address of a database dressed as Supabase."""
    rows(cluster.admin_url, SUPABASE_ROLES)
    url = new_database()
    name = conninfo_to_dict(url)["dbname"]
    rows(url, f'ALTER DATABASE "{name}" OWNER TO project_admin;' + SUPABASE_DATABASE)
    return make_conninfo(url, user="project_admin")


@pytest.fixture
def host(supabase: str) -> str:
    """A dream journal on Supabase with tables of its own and rights that are too wide."""
    rows(supabase, HOST)
    return supabase


def open_doors(url: str) -> set[tuple[str, str, str]]:
    """Every right of the API's roles on a table or sequence of ours, columns apart."""
    return set(
        rows(
            url,
            """
            SELECT DISTINCT c.relname, CASE a.grantee WHEN 0 THEN 'public' ELSE a.grantee::regrole::text END,
                a.privilege_type
            FROM pg_class AS c, aclexplode(c.relacl) AS a
            WHERE c.relnamespace IN ('public'::regnamespace, 'oneiro'::regnamespace)
                AND (a.grantee = 0 OR a.grantee::regrole::text IN ('anon', 'authenticated'))
            """,
        )
    )


def open_columns(url: str) -> dict[tuple[str, str], set[str]]:
    """The columns that the API's roles may write."""
    found: dict[tuple[str, str], set[str]] = {}
    for table, verb, grantee, column in rows(
        url,
        """
        SELECT c.relname, a.privilege_type, a.grantee::regrole::text, t.attname
        FROM pg_class AS c
        JOIN pg_attribute AS t ON t.attrelid = c.oid
        CROSS JOIN aclexplode(t.attacl) AS a
        WHERE c.relnamespace IN ('public'::regnamespace, 'oneiro'::regnamespace)
        """,
    ):
        assert grantee == "authenticated"
        found.setdefault((table, verb), set()).add(column)
    return found


DREAM_COLUMNS = {"title", "content", "symbols", "interpretation", "interpretation_date", "status"}
WRITABLE = {
    ("profiles", "UPDATE"): {"name", "language", "region", "birth_year", "consents"},
    ("dreams", "INSERT"): DREAM_COLUMNS | {"user_id"},
    ("dreams", "UPDATE"): DREAM_COLUMNS,
}
READABLE = {
    ("profiles", "authenticated", "SELECT"),
    ("dreams", "authenticated", "SELECT"),
    ("dreams", "authenticated", "DELETE"),
    ("conversations", "authenticated", "SELECT"),
    ("messages", "authenticated", "SELECT"),
    ("conversation_sessions", "authenticated", "SELECT"),
    ("conversation_analytics", "authenticated", "SELECT"),
    ("interpreter_configs", "authenticated", "SELECT"),
    ("interpreter_configs", "anon", "SELECT"),
}
SUPABASE_OWN = """
SELECT p.proname, p.proowner::regrole::text, p.proacl::text, p.prosrc, p.proconfig
FROM pg_proc AS p WHERE p.pronamespace = 'auth'::regnamespace ORDER BY 1
"""
ROLES = """
SELECT rolname, rolcanlogin, rolinherit, rolbypassrls, rolconfig FROM pg_roles
WHERE rolname IN ('anon', 'authenticated', 'service_role', 'authenticator') ORDER BY 1
"""


def test_supabase_takes_everything_without_a_superuser(supabase: str) -> None:
    assert rows(supabase, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]
    assert migrate(supabase) == EVERYTHING
    assert migrate(supabase) == []


def test_supabases_default_grants_open_nothing_of_ours(supabase: str) -> None:
    migrate(supabase)
    assert open_doors(supabase) == READABLE
    assert open_columns(supabase) == WRITABLE


def test_what_belongs_to_supabase_is_not_altered(supabase: str) -> None:
    before = rows(supabase, SUPABASE_OWN), rows(supabase, ROLES)
    migrate(supabase)
    assert (rows(supabase, SUPABASE_OWN), rows(supabase, ROLES)) == before


def test_a_missing_function_alone_is_supplied(empty: str) -> None:
    rows(empty, "CREATE SCHEMA auth; CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'")
    before = dict(rows(empty, "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'auth'::regnamespace"))
    migrate(empty)
    after = dict(rows(empty, "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'auth'::regnamespace"))
    assert after["uid"] == before["uid"]
    assert set(after) == {"uid", "role", "jwt"}


def test_a_host_applications_rows_and_columns_are_kept(host: str) -> None:
    before = rows(host, "SELECT user_id, name, favourite_colour FROM profiles ORDER BY 1")
    migrate(host)
    assert rows(host, "SELECT user_id, name, favourite_colour FROM profiles ORDER BY 1") == before
    assert rows(host, "SELECT DISTINCT mood, interpreter_id, release_id IS NULL FROM conversations") == [
        ("stormy", "freud", True)
    ]
    assert rows(host, "SELECT count(*), count(DISTINCT event_id), count(DISTINCT ordinal) FROM messages") == [(6, 6, 6)]


def test_a_host_applications_old_conversations_are_over_and_its_messages_keep_their_time(host: str) -> None:
    migrate(host)
    assert rows(host, "SELECT DISTINCT status FROM conversations") == [("completed",)]
    assert rows(host, "SELECT DISTINCT occurred_at = created_at FROM messages") == [(True,)]
    rows(host, f"INSERT INTO conversations (user_id, interpreter_id) VALUES ('{ANA}', 'freud')")
    assert rows(host, "SELECT count(*) FROM conversations WHERE status = 'initializing'") == [(1,)]


def test_a_host_application_can_still_write_as_it_did(host: str) -> None:
    migrate(host)
    rows(host, f"INSERT INTO conversations (user_id, interpreter_id, mood) VALUES ('{ANA}', 'freud', 'bright')")
    rows(host, "INSERT INTO messages (conversation_id, sender, content) SELECT id, 'user', 'x' FROM conversations")


def test_adopted_tables_get_our_rights_however_wide_theirs_were(host: str) -> None:
    assert len(as_dreamer(host, ANA, "SELECT user_id FROM profiles")) == 2
    migrate(host)
    assert open_doors(host) == READABLE
    assert open_columns(host) == WRITABLE
    assert [str(user) for (user,) in as_dreamer(host, ANA, "SELECT user_id FROM profiles")] == [ANA]
    assert as_dreamer(host, ANA, "SELECT count(*) FROM conversations") == [(3,)]
    assert as_dreamer(host, ANA, "SELECT count(*) FROM messages") == [(3,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_dreamer(host, ANA, f"INSERT INTO conversations (user_id, interpreter_id) VALUES ('{ANA}', 'carl')")


def test_a_host_applications_misfits_are_listed_at_once_and_nothing_is_touched(supabase: str) -> None:
    rows(
        supabase,
        """
        CREATE TABLE profiles (id uuid PRIMARY KEY, user_id uuid, consents text);
        CREATE TABLE dreams (id uuid PRIMARY KEY, user_id uuid, title text NOT NULL, symbols jsonb);
        CREATE TABLE conversations (id text PRIMARY KEY, user_id uuid, rating text, tenant text NOT NULL);
        CREATE VIEW messages AS SELECT 1 AS id;
        CREATE TABLE jobs (id uuid)
        """,
    )
    columns = (
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
    )
    before = rows(supabase, columns)
    with pytest.raises(SetupError) as refusal:
        migrate(supabase)
    said = str(refusal.value)
    assert "\n" not in said
    assert said.removeprefix("20261123000100_foundation was not applied: tables that exist already do not fit: ").split(
        "; "
    ) == [
        "conversations.id is NOT NULL without a default",
        "conversations.id is text (expected uuid)",
        "conversations.rating is text (expected smallint or integer)",
        "conversations.tenant is NOT NULL without a default",
        "dreams.content is missing (expected text)",
        "dreams.id is NOT NULL without a default",
        "dreams.symbols is jsonb (expected text[])",
        "dreams.title is NOT NULL (expected to allow NULL)",
        "jobs exists already",
        "messages is not a table",
        "profiles.consents is text (expected jsonb)",
        "profiles.id is NOT NULL without a default",
        "profiles.user_id is not unique",
    ]
    assert rows(supabase, columns) == before
    assert rows(supabase, "SELECT to_regnamespace('oneiro')") == [(None,)]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            "UPDATE messages SET sender = 'assistant'",
            "messages.sender has other values than user, interpreter in 6 rows",
        ),
        (
            "ALTER TABLE conversations ADD COLUMN status text DEFAULT 'archived'",
            "conversations.status has other values than initializing, active, completed, failed in 6 rows",
        ),
    ],
)
def test_values_that_we_could_not_read_are_refused(host: str, change: str, complaint: str) -> None:
    rows(host, change)
    with pytest.raises(SetupError, match=complaint):
        migrate(host)


def test_a_host_application_may_leave_columns_empty_that_we_read_as_filled(host: str) -> None:
    rows(
        host,
        f"""
        ALTER TABLE profiles ADD COLUMN language text;
        ALTER TABLE conversations ALTER COLUMN interpreter_id DROP NOT NULL, ADD COLUMN status text,
            ADD COLUMN metadata jsonb, ADD COLUMN last_activity_at timestamptz;
        CREATE TABLE dreams (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid, content text, symbols text[],
            created_at timestamptz DEFAULT now()
        );
        INSERT INTO dreams (user_id, content) VALUES ('{ANA}', 'A lamp under the lake');
        """,
    )
    migrate(host)
    later = f"""
        INSERT INTO conversations (user_id, interpreter_id, metadata) VALUES ('{ANA}', NULL, NULL);
        INSERT INTO dreams (user_id, symbols, created_at) VALUES ('{ANA}', NULL, NULL);
        UPDATE profiles SET language = NULL;
    """
    for statement in ("SELECT 1", later):
        rows(host, statement)
        assert rows(host, "SELECT DISTINCT language FROM profiles") == [("en",)]
        assert rows(host, "SELECT count(*) FROM dreams WHERE (symbols, content, created_at) IS NOT NULL") == rows(
            host, "SELECT count(*) FROM dreams"
        )
        unread = "NOT ((interpreter_id, status, metadata, last_activity_at) IS NOT NULL)"
        assert rows(host, f"SELECT count(*) FROM conversations WHERE {unread}") == [(0,)]
    assert rows(host, "SELECT status, count(*) FROM conversations GROUP BY 1 ORDER BY 1") == [
        ("completed", 6),
        ("initializing", 1),
    ]
