"""The safety queue on a database that had flagged lines before there was one."""

from pathlib import Path

import psycopg

from oneiro.database.migrate import available, migrate

FLAGGED = """
INSERT INTO profiles (user_id) VALUES ('00000000-0000-4000-8000-00000000000a');
INSERT INTO system_events (event_type, event_data, user_id, conversation_id)
SELECT e.type, '{"tier": "x", "message_id": "m1"}', p.user_id, gen_random_uuid()
FROM profiles AS p, (VALUES ('safety.flagged'), ('safety.escalated'), ('conversation.ended')) AS e (type);
INSERT INTO system_events (event_type, event_data) VALUES ('safety.escalated', '{}')
"""


def test_what_was_flagged_before_waits_in_the_queue(empty: str, tmp_path: Path) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for migration in available():
        if migration.version < "20261123001700":
            (folder / f"{migration.file}.sql").write_text(migration.sql)
    migrate(empty, folder=folder)
    with psycopg.connect(empty) as connection:
        connection.execute(FLAGGED)

    migrate(empty)

    with psycopg.connect(empty) as connection:
        found = connection.execute(
            """
            SELECT e.event_type, f.tier, f.message_id, f.flagged_at = e.created_at, f.acknowledged_at
            FROM safety_flags AS f JOIN system_events AS e USING (id, user_id, conversation_id) ORDER BY e.event_type
            """
        ).fetchall()
    # One that names nobody is nobody's: it belongs to a dreamer who was erased.
    assert found == [
        ("safety.escalated", "active_danger", "m1", True, None),
        ("safety.flagged", "passive_ideation", "m1", True, None),
    ]
