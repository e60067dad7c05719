import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from oneiro.database.embedded import Server
from oneiro.database.migrate import Migration, available, migrate, pending, script
from oneiro.errors import SetupError

EVERYTHING = [migration.file for migration in available()]

GUIDE_TABLES = {
    "interpreter_configs": "id name full_name description is_active version created_at updated_at",
    "interpreter_personalities": "id interpreter_id approach traits conversation_style expertise response_patterns"
    " version is_active created_at",
    "interpreter_voices": "id interpreter_id voice_id voice_description stability similarity_boost style speaking_rate"
    " use_speaker_boost version is_active created_at",
    "interpreter_prompts": "id interpreter_id type name template variables version is_active created_at",
    "conversation_sessions": "id conversation_id elevenlabs_conversation_id signed_url_expires_at session_start_time"
    " session_end_time session_status connection_count last_activity_at session_metadata error_log",
    "agent_metrics": "id agent_id interpreter_id conversation_id metric_type metric_value metadata recorded_at",
    "conversation_analytics": "id conversation_id user_id interpreter_id session_duration_seconds message_count"
    " user_satisfaction_score completion_reason topics_discussed sentiment_analysis created_at",
    "system_events": "id event_type entity_type entity_id event_data user_id created_at",
}
GUIDE_INDEXES = {
    "idx_interpreter_personalities_interpreter",
    "idx_interpreter_voices_interpreter",
    "idx_interpreter_prompts_interpreter_type",
    "idx_conversation_sessions_conversation",
    "idx_agent_metrics_agent_time",
    "idx_conversation_analytics_user_time",
    "idx_system_events_type_time",
}


def rows(url: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), parameters or None)
        return cursor.fetchall() if cursor.description else []


def files(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may change."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for migration in available():
        (folder / f"{migration.file}.sql").write_text(migration.sql)
    return folder


def test_an_empty_database_gets_everything_once(empty: str) -> None:
    assert pending(empty) == EVERYTHING
    assert migrate(empty) == EVERYTHING
    assert pending(empty) == []
    assert migrate(empty) == []


def test_the_guides_tables_stand_with_its_columns_and_indexes(empty: str) -> None:
    migrate(empty)
    found: dict[str, set[str]] = {}
    for table, column in rows(
        empty, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'"
    ):
        found.setdefault(table, set()).add(column)
    for table, columns in GUIDE_TABLES.items():
        assert set(columns.split()) <= found[table], table
    assert {name for (name,) in rows(empty, "SELECT indexname FROM pg_indexes")} >= GUIDE_INDEXES


def test_the_guides_own_inserts_work(empty: str) -> None:
    migrate(empty)
    rows(
        empty,
        """
        INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('carl', 'Carl', 'Carl Jung', 'x');
        INSERT INTO interpreter_personalities (interpreter_id, approach, traits, conversation_style, expertise)
        VALUES ('carl', 'jungian', '["wise"]', '{"greeting": "thoughtful_welcome"}', '["archetypes"]');
        INSERT INTO interpreter_voices (interpreter_id, voice_description, stability, similarity_boost, style,
            speaking_rate) VALUES ('carl', 'A calm voice', 0.85, 0.75, 0.3, 0.85);
        """,
    )
    assert rows(empty, "SELECT is_active, version FROM interpreter_configs") == [(True, 1)]


def test_every_foreign_key_has_an_index_behind_it(empty: str) -> None:
    migrate(empty)
    bare = rows(
        empty,
        """
        SELECT c.conrelid::regclass::text, c.conname FROM pg_constraint AS c
        WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND NOT EXISTS (
            SELECT FROM pg_index AS i
            WHERE i.indrelid = c.conrelid AND i.indkey[0] = ANY (c.conkey)
        )
        """,
    )
    assert bare == []


def test_a_changed_file_is_refused_in_one_line(empty: str, tmp_path: Path) -> None:
    migrate(empty)
    folder = files(tmp_path)
    changed = folder / f"{EVERYTHING[2]}.sql"
    changed.write_text(changed.read_text() + "\n-- later thought\n")
    for command in (migrate, pending):
        with pytest.raises(SetupError, match=f"{EVERYTHING[2]} was changed after it was applied") as refusal:
            command(empty, folder=folder)
        assert "\n" not in str(refusal.value)


def test_other_line_ends_are_no_change(empty: str, tmp_path: Path) -> None:
    migrate(empty)
    folder = files(tmp_path)
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert migrate(empty, folder=folder) == []


def test_a_new_file_is_applied_alone(empty: str, tmp_path: Path) -> None:
    migrate(empty)
    folder = files(tmp_path)
    (folder / "20991231000000_nights.sql").write_text(
        "CREATE TABLE nights (id integer); SELECT oneiro.close('nights');"
    )
    assert pending(empty, folder=folder) == ["20991231000000_nights"]
    assert migrate(empty, folder=folder) == ["20991231000000_nights"]


def test_older_code_runs_on_a_newer_schema(empty: str, tmp_path: Path) -> None:
    folder = files(tmp_path)
    (folder / "20991231000000_nights.sql").write_text("CREATE TABLE nights (id integer);")
    migrate(empty, folder=folder)
    assert pending(empty) == []
    assert migrate(empty) == []


def test_a_migration_of_another_branch_is_refused(empty: str, tmp_path: Path) -> None:
    folder = files(tmp_path)
    (folder / "20261123000250_moon.sql").write_text("CREATE TABLE moon (id integer);")
    migrate(empty, folder=folder)
    with pytest.raises(SetupError, match="20261123000250_moon, which this release does not know"):
        migrate(empty)


def test_a_failing_file_leaves_nothing_behind_and_the_ones_before_it_stay(empty: str, tmp_path: Path) -> None:
    folder = files(tmp_path)
    broken = folder / "20991231000000_broken.sql"
    broken.write_text("CREATE TABLE half (id integer); SELECT 1 / 0;")
    with pytest.raises(SetupError, match=r"^20991231000000_broken was not applied: division by zero$"):
        migrate(empty, folder=folder)
    assert rows(empty, "SELECT to_regclass('half')") == [(None,)]
    broken.write_text("CREATE TABLE whole (id integer);")
    assert migrate(empty, folder=folder) == ["20991231000000_broken"]


def test_many_at_once_apply_each_file_once(empty: str) -> None:
    applied: list[str] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            applied.extend(migrate(empty))
        except SetupError as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert sorted(applied) == EVERYTHING


async def test_databases_of_a_new_cluster_can_be_migrated_at_the_same_moment(fresh_cluster: Server) -> None:
    names = ["one", "two", "three"]
    for name in names:
        rows(fresh_cluster.admin_url, f"CREATE DATABASE {name}")
    applied = await asyncio.gather(*(asyncio.to_thread(migrate, fresh_cluster.url(name)) for name in names))
    assert applied == [EVERYTHING] * 3


def test_an_administrator_without_superuser_rights_can_set_up_a_plain_server(fresh_cluster: Server) -> None:
    rows(fresh_cluster.admin_url, "CREATE ROLE administrator LOGIN CREATEROLE")
    rows(fresh_cluster.admin_url, "CREATE DATABASE managed OWNER administrator")
    url = fresh_cluster.url("managed", user="administrator")
    assert migrate(url) == EVERYTHING
    assert rows(url, "SELECT rolbypassrls FROM pg_roles WHERE rolname = 'service_role'") == [(False,)]
    with psycopg.connect(fresh_cluster.url("managed", user="oneiro_service")) as connection:
        connection.execute("SET LOCAL ROLE service_role")
        connection.execute("INSERT INTO profiles (user_id) VALUES (gen_random_uuid())")
        assert connection.execute("SELECT count(*) FROM profiles").fetchone() == (1,)


def test_the_printed_script_does_the_same(empty: str) -> None:
    rows(empty, script())
    assert pending(empty) == []
    assert migrate(empty) == []


def test_what_the_supabase_cli_applied_is_not_applied_again(new_database: Callable[[], str]) -> None:
    prepared = new_database()
    migrate(prepared)  # makes the cluster's roles
    url = new_database()
    rows(url, script().partition("-- 2026")[0])  # the bootstrap
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA supabase_migrations")
        connection.execute("CREATE TABLE supabase_migrations.schema_migrations (version text, name text)")
        for migration in available()[:-1]:
            connection.execute(migration.sql.encode())
            connection.execute(
                "INSERT INTO supabase_migrations.schema_migrations VALUES (%s, %s)", (migration.version, migration.name)
            )
    assert pending(url) == EVERYTHING[-1:]
    assert migrate(url) == EVERYTHING
    assert rows(url, "SELECT count(*) FROM oneiro.schema_migrations") == [(len(EVERYTHING),)]
    assert migrate(url) == []


def test_a_database_that_cannot_be_reached_is_one_line_without_the_password(cluster: Server) -> None:
    unknown = cluster.url("no_such_database").replace("postgresql://postgres@", "postgresql://postgres:geheim@")
    for url in (unknown, "postgresql://u:geheim@127.0.0.1:9/x", "postgresql://u:geheim@[broken/x"):
        with pytest.raises(SetupError) as refusal:
            migrate(url)
        assert "\n" not in str(refusal.value)
        assert "geheim" not in str(refusal.value)


def test_a_checksum_is_of_the_text() -> None:
    assert (
        Migration("1", "x", "SELECT 1;\n").checksum
        == "b4e0497804e46e0a0b0b8c31975b062152d551bac49c3c2e80932567b4085dcd"
    )


def test_a_published_release_is_frozen(empty: str) -> None:
    migrate(empty)
    rows(
        empty,
        """
        INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('carl', 'Carl', 'Carl Jung', 'x');
        INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by)
        VALUES ('carl', 1, '{"id": "carl"}', 'aa', 'seed')
        """,
    )
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="release 1 of carl is frozen"):
        rows(empty, "UPDATE interpreter_releases SET document = '{}'")
    rows(empty, "UPDATE interpreter_releases SET activated_at = now(), note = 'first'")


def test_updated_at_follows_a_change(empty: str) -> None:
    migrate(empty)
    user = uuid4()
    rows(empty, "INSERT INTO profiles (user_id, updated_at) VALUES (%s, '2020-01-01')", user)
    rows(empty, "UPDATE profiles SET name = 'Ana'")
    assert rows(empty, "SELECT updated_at > now() - interval '1 minute' FROM profiles") == [(True,)]


def test_erasing_a_dreamer_takes_all_of_hers_and_leaves_events_without_her(empty: str) -> None:
    migrate(empty)
    rows(
        empty,
        """
        INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('carl', 'Carl', 'Carl Jung', 'x');
        INSERT INTO profiles (user_id) SELECT ('00000000-0000-4000-8000-00000000000' || n)::uuid
        FROM generate_series(1, 2) AS n;
        INSERT INTO dreams (user_id, content) SELECT user_id, 'A staircase made of water' FROM profiles;
        INSERT INTO conversations (user_id, interpreter_id, dream_id) SELECT user_id, 'carl', id FROM dreams;
        UPDATE dreams AS d SET source_conversation_id = c.id FROM conversations AS c WHERE c.dream_id = d.id;
        INSERT INTO messages (conversation_id, sender, content) SELECT id, 'user', 'hello' FROM conversations;
        INSERT INTO conversation_sessions (conversation_id) SELECT id FROM conversations;
        INSERT INTO conversation_slots (conversation_id, owner, leased_until) SELECT id, 'x', now() FROM conversations;
        INSERT INTO conversation_analytics (conversation_id, user_id) SELECT id, user_id FROM conversations;
        INSERT INTO agent_metrics (conversation_id, metric_type) SELECT id, 'response_time' FROM conversations;
        INSERT INTO idempotency_keys (user_id, route, key, body_sha256) SELECT user_id, '/', 'k', 'x' FROM profiles;
        INSERT INTO system_events (event_type, event_data, user_id)
        SELECT 'dreamer.exported', '{}', user_id FROM profiles;
        DELETE FROM profiles WHERE user_id = '00000000-0000-4000-8000-000000000001';
        """,
    )
    tables = "dreams conversations messages conversation_sessions conversation_slots conversation_analytics"
    for table in [*tables.split(), "idempotency_keys", "agent_metrics"]:
        assert rows(empty, f"SELECT count(*) FROM {table}") == [(1,)], table
    assert rows(empty, "SELECT count(*), count(user_id) FROM system_events") == [(2, 1)]


def test_of_two_provisioners_one_wins_and_a_retired_agent_makes_room(empty: str) -> None:
    migrate(empty)
    rows(
        empty,
        """
        INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('carl', 'Carl', 'Carl Jung', 'x');
        INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by)
        VALUES ('carl', 1, '{}', 'aa', 'seed')
        """,
    )
    provision = """
        INSERT INTO platform_agents (interpreter_id, release_id, language, model, lease_owner, lease_until)
        SELECT 'carl', id, 'en', 'gpt-4o', 'replica', now() + interval '1 minute' FROM interpreter_releases
    """
    rows(empty, provision)
    with pytest.raises(psycopg.errors.UniqueViolation):
        rows(empty, provision)
    rows(empty, "UPDATE platform_agents SET state = 'retired'")
    rows(empty, provision)
    with pytest.raises(psycopg.errors.CheckViolation):
        rows(empty, "UPDATE platform_agents SET state = 'ready' WHERE state = 'provisioning'")
