"""What leads back to a dreamer, on a database of before it went with what she deletes."""

from pathlib import Path

import psycopg

from oneiro.database.migrate import available, migrate

BEFORE = """
INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('carl', 'Carl', 'Carl Jung', 'x');
INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by)
VALUES ('carl', 1, '{}', 'aa', 'seed');
INSERT INTO profiles (user_id) VALUES ('00000000-0000-4000-8000-00000000000a');
INSERT INTO conversations (user_id, interpreter_id) SELECT user_id, 'carl' FROM profiles;
INSERT INTO agent_metrics (agent_id, metric_type)
VALUES ('a', 'agent_cache_hit'), ('a', 'response_time'), ('a', 'completion_rate'), ('a', 'user_satisfaction'),
       ('a', 'agent_creation');
INSERT INTO agent_metrics (conversation_id, metric_type) SELECT id, 'response_time' FROM conversations;
INSERT INTO platform_agents (interpreter_id, release_id, language, model, scope, session_key, agent_id, state)
SELECT 'carl', id, 'en', 'm', 'session', 'made of her', 'agent_' || state, state
FROM interpreter_releases, unnest(ARRAY['retired', 'ready']) AS state
"""


def test_what_was_measured_in_deleted_conversations_and_keys_of_old_agents_are_forgotten(
    empty: str, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for migration in available():
        if migration.version < "20261123001900":
            (folder / f"{migration.file}.sql").write_text(migration.sql)
    migrate(empty, folder=folder)
    with psycopg.connect(empty) as connection:
        connection.execute(BEFORE)

    migrate(empty)

    with psycopg.connect(empty) as connection:
        measured = "SELECT metric_type, conversation_id IS NULL FROM agent_metrics ORDER BY metric_type"
        assert connection.execute(measured).fetchall() == [("agent_creation", True), ("response_time", False)]
        keyed = "SELECT agent_id FROM platform_agents WHERE session_key = 'made of her'"
        assert connection.execute(keyed).fetchall() == [("agent_ready",)]
        connection.execute("UPDATE platform_agents SET state = 'retiring' WHERE agent_id = 'agent_ready'")
        assert connection.execute(keyed).fetchall() == []
        connection.execute("DELETE FROM conversations")
        assert connection.execute(measured).fetchall() == [("agent_creation", True)]
