from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import psycopg
import pytest

from oneiro.database.embedded import Server
from oneiro.database.migrate import migrate

Run = Callable[..., CompletedProcess[str]]


def test_without_an_option_it_says_what_it_does(oneiro: Run) -> None:
    done = oneiro("load")
    assert "--history" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("args", [("--history", "5", "--remove"), ("--days", "3"), ("--history", "0")])
def test_it_is_either_written_or_removed(oneiro: Run, args: tuple[str, ...]) -> None:
    assert oneiro("load", *args).returncode == 2


def test_a_database_that_is_not_embedded_needs_a_yes(oneiro: Run, db_url: str) -> None:
    for args in (("--history", "5"), ("--remove",)):
        done = oneiro("load", *args, ONEIRO_DATABASE_URL=db_url)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "--yes" in done.stderr


def test_a_database_without_interpreters_is_one_line(oneiro: Run, db_url: str) -> None:
    done = oneiro("load", "--history", "5", "--yes", ONEIRO_MIGRATE_DATABASE_URL=db_url)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "interpreter" in done.stderr


def test_a_database_without_the_schema_is_one_line(oneiro: Run, postgres: Server) -> None:
    done = oneiro("load", "--history", "5", "--yes", ONEIRO_MIGRATE_DATABASE_URL=postgres.admin_url)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "oneiro migrate" in done.stderr


def test_a_database_that_is_not_there_is_one_line_without_its_password(oneiro: Run) -> None:
    url = "postgresql://someone:hush@127.0.0.1:9/none"
    done = oneiro("load", "--history", "5", "--yes", ONEIRO_DATABASE_URL=url)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert "hush" not in done.stderr
    assert "someone" not in done.stderr


@pytest.mark.parametrize("login", ["db_url", "service_url"])
def test_a_database_that_is_named_gets_its_history_with_a_yes(
    oneiro: Run, db_url: str, login: str, request: pytest.FixtureRequest
) -> None:
    with psycopg.connect(db_url, autocommit=True) as conn:
        conn.execute("INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('a', 'A', 'A', 'a')")
        conn.execute(
            "INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by,"
            " activated_at) VALUES ('a', 1, '{}', 'aa', 'seed', now())"
        )
        named = {"ONEIRO_DATABASE_URL": request.getfixturevalue(login)}
        done = oneiro("load", "--history", "50", "--yes", **named)
        assert done.returncode == 0, done.stderr
        assert conn.execute("SELECT count(*) FROM conversations").fetchone() == (50,)
        assert oneiro("load", "--remove", "--yes", **named).returncode == 0
        assert conn.execute("SELECT count(*) FROM conversations").fetchone() == (0,)
    assert migrate(db_url) == []


def test_this_machine_s_database_is_made_filled_and_emptied(oneiro: Run, environment: dict[str, str]) -> None:
    done = oneiro("load", "--history", "200", "--days", "5", "--messages", "2", seconds=110)
    assert done.returncode == 0, done.stderr
    assert "200 conversations" in done.stdout
    removed = oneiro("load", "--remove", seconds=110)
    assert "200 conversations removed" in removed.stdout
    assert not (Path(environment["ONEIRO_DATA_DIR"]) / "server.json").exists()
